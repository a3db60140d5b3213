"""What flips in a replay, for other programs: test results that continuous integration shows, and entries to accept.

Nothing is accepted by what is written here: owner, reason and day are left for a person to fill in, and the gates
refuse an entry without them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from aisecops_server.domain.accepted_flips import Flip
from aisecops_server.domain.canonical import canonical_bytes
from aisecops_server.domain.check_reports import attribute
from aisecops_server.domain.visible_text import visible

_MOST_CASES = 2_000


def accepted_entries(flips: Sequence[Flip], *, about: str) -> str:
    """Return entries for ``accepted-flips.yaml``, one a rule and direction, looser first, for a person to complete.

    ``about`` is the replay that they were counted in.
    """
    counts = Counter((flip.direction, rule) for flip in flips for rule in flip.rules)
    lines = [
        f"# Flips of {about}, counted. Keep what is meant, and say who answers for it, why, and until when;",
        "# without that the gates refuse an entry.",
    ]
    for (direction, rule), count in sorted(counts.items()):
        # As JSON, which every reader of YAML reads as the text that it is.
        lines += [
            f"- rule: {canonical_bytes(visible(rule)).decode()}",
            f"  direction: {direction}",
            f"  max_count: {count}",
            '  owner: ""',
            '  reason: ""',
            '  expires: ""',
        ]
    return "\n".join([*lines, *([] if counts else ["[]"])]) + "\n"


def junit(flips: Sequence[Flip], *, name: str, compared: int) -> str:
    """Return a JUnit suite: each flip a failed case under its rules, and all decisions that stayed one passed case."""
    shown = sorted(flips, key=lambda flip: (flip.direction, flip.rules, flip.decision_id))[:_MOST_CASES]
    cases = "".join(map(_case, shown))
    left = len(flips) - len(shown)
    if left:
        told = attribute(f"{left} more flips are not listed")
        cases += f'  <testcase name="not listed" classname="replay"><failure message={told}/></testcase>\n'
    kept = compared - len(flips)
    cases += f'  <testcase name={attribute(f"{kept} decisions keep their outcome")} classname="replay"/>\n'
    failures = len(shown) + bool(left)
    head = f'<testsuite name={attribute(name)} tests="{failures + 1}" failures="{failures}" skipped="0">'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n{cases}</testsuite>\n'


def _case(flip: Flip) -> str:
    risky = "; it was blocked and would be allowed" if flip.risky else ""
    message = attribute(f"{flip.direction} by {', '.join(flip.rules)}{risky}")
    return (
        f"  <testcase name={attribute(flip.decision_id)} classname={attribute(flip.direction + '.' + flip.rules[0])}>"
        f"<failure message={message}>trace {flip.trace_id if flip.trace_id.isalnum() else '?'}</failure></testcase>\n"
    )
