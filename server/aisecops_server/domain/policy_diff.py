"""What changed between two policy trees, as unified diffs. Pure text; says nothing about what it means."""

from __future__ import annotations

import difflib

from aisecops_server.domain.bundle import PolicyTree

CONTEXT_LINES = 3


def policy_diff(before: PolicyTree, after: PolicyTree) -> dict[str, str]:
    """Return a unified diff for each file that differs, by path."""
    paths = sorted(before.files.keys() | after.files.keys())
    return {
        path: _file_diff(path, before.files.get(path), after.files.get(path))
        for path in paths
        if before.files.get(path) != after.files.get(path)
    }


def _file_diff(path: str, before: bytes | None, after: bytes | None) -> str:
    return "\n".join(
        difflib.unified_diff(
            _lines(before),
            _lines(after),
            fromfile=f"a/{path}" if before is not None else "/dev/null",
            tofile=f"b/{path}" if after is not None else "/dev/null",
            n=CONTEXT_LINES,
            lineterm="",
        )
    )


def _lines(content: bytes | None) -> list[str]:
    return (content or b"").decode("utf-8", "replace").splitlines()
