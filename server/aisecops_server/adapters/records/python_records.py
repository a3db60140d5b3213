"""Reads the scalars of Python literals, which many tools return by printing a value. Nothing is evaluated."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Sequence

from aisecops_server.domain.grounding.source_text import Scalar

LONGEST_LITERAL = 64 * 1024


def python_scalars(text: str) -> Sequence[Scalar] | None:
    """Return the scalars and keys of a printed list, tuple or dictionary, or nothing. Repeated keys are all kept."""
    if len(text) > LONGEST_LITERAL or text.lstrip()[:1] not in {"{", "[", "("}:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval").body
        tops = tree.elts if isinstance(tree, (ast.List, ast.Tuple)) else [tree]
        return [Scalar(number, leaf) for number, top in enumerate(tops) for leaf in _leaves(top)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _leaves(node: ast.expr | None) -> Iterator[str]:
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            yield from _leaves(key)
            yield from _leaves(value)
    elif isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        for item in node.elts:
            yield from _leaves(item)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield from (f"-{leaf}" for leaf in _leaves(node.operand))
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, (str, int, float)) and not isinstance(node.value, bool):
            yield str(node.value)
    else:
        raise ValueError("not a literal")  # noqa: TRY004 - whatever is no literal is simply no record
