"""The tree as the house's tests see it: files that are, or would be, committed, and the Python in them."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVER = "server/aisecops_server"
GENERATED = "proto/gen/"
# The verifier put together from its modules, which are read instead.
ONE_FILE = "clients/aisecops_verify/one_file.py"


@functools.cache
def files() -> tuple[str, ...]:
    """Return every path that Git tracks or would track, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    return tuple(sorted(path for path in set(listed.split("\0")) if path and (ROOT / path).is_file()))


def under(*prefixes: str, suffix: str = "") -> list[str]:
    """Return the paths below any of ``prefixes`` that end with ``suffix``; nothing generated."""
    return [
        path
        for path in files()
        if path.startswith(prefixes) and path.endswith(suffix) and not path.startswith((GENERATED, ONE_FILE))
    ]


def text(path: str) -> str:
    """Return a file's content."""
    return (ROOT / path).read_text(encoding="utf-8")


@functools.cache
def parsed(path: str) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(text(path), filename=path)


@dataclass(frozen=True, slots=True)
class Function:
    """A function with where it stands; ``lines`` counts its statements' lines, without docstring and comments."""

    where: str
    node: ast.FunctionDef | ast.AsyncFunctionDef
    lines: int


def functions(path: str) -> Iterator[Function]:
    """Yield every function of a Python file."""
    source = text(path).splitlines()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            span = range(body[0].lineno - 1, node.end_lineno or 0) if body else range(0)
            lines = sum(1 for number in span if source[number].strip() and not source[number].lstrip().startswith("#"))
            yield Function(f"{path}:{node.lineno} {node.name}", node, lines)


def imported(path: str) -> set[str]:
    """Return the full names of all modules that a Python file imports."""
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def called(path: str) -> Iterator[tuple[str, int]]:
    """Yield the dotted name and line of every call whose name can be read off, with import aliases resolved."""
    aliases = _aliases(parsed(path))
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            head, _, rest = _dotted(node.func).partition(".")
            name = ".".join(part for part in (aliases.get(head, head), rest) if part)
            if name:
                yield name, node.lineno


def _aliases(module: ast.Module) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found.update({alias.asname: alias.name for alias in node.names if alias.asname})
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return found


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""
