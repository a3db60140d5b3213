"""The engine's evaluation trace, folded to the lines that answer "which rules ran, and how did they end".

The engine's ``pretty`` trace has one line an event, such as ``rules/x.rego:12   | | Exit data.a.b``; thousands of
them for one decision. What people read are the entries and exits of rules, and the expression at which one failed.
"""

from __future__ import annotations

import re2

# A source location, the tree's bars, the kind of event, and its text.
_LINE = re2.compile(
    r"^(?P<place>\S+:\d+)\s+(?P<bars>[| ]*)(?P<kind>Enter|Exit|Fail|Note|Redo|Eval|Index)\s(?P<text>.*)$"
)
_KEPT = frozenset({"Enter", "Exit", "Fail"})
LONGEST_LINES = 4000


def fold(trace: str) -> str:
    """Return the lines of ``trace`` about rules of the library: entries, exits, and where they failed."""
    kept: list[str] = []
    for line in trace.splitlines():
        match = _LINE.match(line)
        if match is None or match["kind"] not in _KEPT or "aisecops" not in match["place"]:
            continue
        kept.append(f"{match['place']}  {match['bars']}{match['kind']} {match['text']}".rstrip())
    if len(kept) > LONGEST_LINES:
        hidden = len(kept) - LONGEST_LINES
        kept = [*kept[:LONGEST_LINES], f"… {hidden} more lines"]
    return "\n".join(kept)
