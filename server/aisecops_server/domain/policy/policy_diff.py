"""What changed between two policy trees, as unified diffs. Pure text; says nothing about what it means."""

from __future__ import annotations

import difflib

from aisecops_server.domain.bundles.bundle import PolicyTree

CONTEXT_LINES = 3
_NOTHING = "/dev/null"


def policy_diff(before: PolicyTree, after: PolicyTree, *, most_lines: int = 0) -> dict[str, str]:
    """Return a unified diff for each file that differs, by path.

    With ``most_lines`` it is empty for a file that has more, because the time it takes grows with their square, and for
    those that come when five times as many were compared.
    """
    found, room = {}, 5 * most_lines
    for path in sorted(before.files.keys() | after.files.keys()):
        old, new = before.files.get(path), after.files.get(path)
        if old == new:
            continue
        sides = _lines(old), _lines(new)
        longest = max(map(len, sides))
        if most_lines and longest > min(most_lines, room):
            found[path] = ""
            continue
        room -= longest
        names = (f"a/{path}" if old is not None else _NOTHING, f"b/{path}" if new is not None else _NOTHING)
        found[path] = "\n".join(difflib.unified_diff(*sides, *names, n=CONTEXT_LINES, lineterm=""))
    return found


def _lines(content: bytes | None) -> list[str]:
    return (content or b"").decode("utf-8", "replace").splitlines()
