"""The verifier as one file, put together from its modules in the order in which they stand on each other."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parents[2] / "clients" / "aisecops_verify"
ONE_FILE = HERE / "one_file.py"
MODULES = ("package", "notes", "record", "evidence_keys", "reproduction", "__init__")
_OWN = "aisecops_verify"
_NOTICE = "# Written by `make docs` from the modules of clients/aisecops_verify; edit those instead.\n"


def page() -> str:
    """Return the whole verifier.

    Raises:
        ValueError: two modules define the same name.
    """
    sources = [(HERE / f"{name}.py").read_text(encoding="utf-8") for name in MODULES]
    trees = [ast.parse(source) for source in sources]
    _require_distinct(trees)
    docstring = ast.get_docstring(trees[-1], clean=False)
    imports = sorted({line for tree in trees for line in _imports(tree)}, key=lambda line: (_is_foreign(line), line))
    bodies = [_body(source, tree) for source, tree in zip(sources, trees, strict=True)]
    opening = f'{_NOTICE}"""{docstring}"""\n\nfrom __future__ import annotations\n\n'
    return opening + "\n".join(imports) + "\n\n\n" + "\n\n\n".join(bodies) + "\n"


def _is_foreign(line: str) -> bool:
    return "cryptography" in line


def _imports(tree: ast.Module) -> list[str]:
    lines = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            lines += [f"import {alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith((_OWN, "__future__")):
            lines += [f"from {node.module} import {alias.name}" for alias in node.names]
    return lines


def _body(source: str, tree: ast.Module) -> str:
    """Return a module without its docstring, imports and list of public names, comments and all."""
    dropped: set[int] = set()
    for at, node in enumerate(tree.body):
        names = [getattr(target, "id", "") for target in getattr(node, "targets", ())]
        if isinstance(node, ast.Import | ast.ImportFrom) or (at == 0 and ast.get_docstring(tree)) or "__all__" in names:
            dropped.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    kept = [line for number, line in enumerate(source.splitlines(), 1) if number not in dropped]
    return "\n".join(kept).strip("\n")


def _require_distinct(trees: list[ast.Module]) -> None:
    names = Counter(
        name
        for tree in trees
        for node in tree.body
        for name in (
            [node.name]
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            else [target.id for target in getattr(node, "targets", ()) if isinstance(target, ast.Name)]
        )
    )
    twice = sorted(name for name, count in names.items() if count > 1)
    if twice:
        raise ValueError(f"the verifier's modules define {', '.join(twice)} twice")
