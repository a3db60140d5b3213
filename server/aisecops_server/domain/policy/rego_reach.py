"""Which Rego files some others can depend on, by every mention of a package in their text: rather one too many.

Compiling a hundred files to test two of them takes most of the time of a check. A mention inside a comment counts too;
a reference whose path is computed counts as one to everything below what is constant of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

_ROOT = "data.aisecops"
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.")


def reachable(files: Mapping[str, bytes], chosen: Iterable[str]) -> dict[str, bytes]:
    """Return ``chosen`` of ``files`` with everything that they can depend on."""
    packages = {path: _package(content) for path, content in files.items()}
    found: set[str] = set()
    waiting = [path for path in chosen if path in files]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        mentioned = set(_mentions(files[path]))
        # A package stands in the file of its name and, with its tests, may stand in others.
        waiting += [
            other
            for other, package in packages.items()
            if other not in found and (package == packages[path] or any(_meet(package, name) for name in mentioned))
        ]
    return {path: files[path] for path in sorted(found)}


def _package(content: bytes) -> str:
    for line in content.decode("utf-8", "replace").splitlines():
        if line.startswith("package "):
            return f"data.{line.removeprefix('package ').split()[0]}"
    return ""


def _mentions(content: bytes) -> Iterator[str]:
    text = content.decode("utf-8", "replace")
    at = text.find(_ROOT)
    while at >= 0:
        end = at
        while end < len(text) and text[end] in _NAME:
            end += 1
        yield text[at:end].rstrip(".")
        at = text.find(_ROOT, end)


def _meet(package: str, name: str) -> bool:
    return package == name or package.startswith(f"{name}.") or name.startswith(f"{package}.")
