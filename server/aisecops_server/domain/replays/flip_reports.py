"""What a replay changes and what reviewers said of it, for other programs: test results, and entries to accept.

Only what somebody expects is accepted: a group that a reviewer finds unexpected, as a whole or in one decision, and a
group that nobody judged, fails, and is written as a remark only. Nothing here reads a clock: an entry counts from the
day of the verdict, so that an old verdict accepts nothing new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from aisecops_server.domain.display.visible_text import visible
from aisecops_server.domain.display.words import outcome_sign
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.policy.accepted_flips import Flip
from aisecops_server.domain.policy.check_reports import attribute

Json = Mapping[str, Any]

# How long after the verdict an entry counts; a pull request that waits longer is looked at anew.
ACCEPTED_DAYS = 30


@dataclass(frozen=True, slots=True)
class Word:
    """What a reviewer said: on which day (UTC), why, and which event of the log tells of it."""

    expected: bool
    reviewer: str
    day: date
    reason: str
    event_id: str


@dataclass(frozen=True, slots=True)
class ReviewedGroup:
    """A group of changes: how many decisions, by which rules, and what reviewers said, those who saw it only left out.

    ``words`` are on the group as a whole, in the order of the log; ``refused`` are decisions of it, each judged alone,
    that somebody did not expect.
    """

    group_id: str
    title: str
    rules: tuple[str, ...]
    count: int
    words: tuple[Word, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def expected(self) -> bool:
        """Return whether somebody expects it, and nobody says otherwise of it or of one of its decisions."""
        return bool(self.words) and all(word.expected for word in self.words) and not self.refused


def reviewed_groups(groups: Sequence[Json], verdicts: Sequence[Json]) -> list[ReviewedGroup]:
    """Return groups with what was said about them, in their order, of the API's JSON for both."""
    said = [one for one in verdicts if one["judgement"] != "JUDGEMENT_SEEN"]
    return [_reviewed(group, [one for one in said if one["groupId"] == group["groupId"]]) for group in groups]


def accepted_entries(groups: Sequence[tuple[ReviewedGroup, Sequence[Flip]]], *, about: str) -> str:
    """Return entries for ``accepted-flips.yaml``, one a rule and direction of each group that is expected.

    ``about`` is the replay; each group comes with its flips, of which only those of expected groups are read. Who
    expected it last answers for it.
    """
    lines = [
        f"# What reviewers of {about} expect. An entry counts {ACCEPTED_DAYS} days from the verdict, and only in the",
        "# pull request that adds it.",
    ]
    entries = [line for group, flips in groups if group.expected for line in _entries(group, flips)]
    lines += [f"# Not accepted: {_remark(group)}" for group, _ in groups if not group.expected]
    return "\n".join([*lines, *(entries or ["[]"])]) + "\n"


def junit(groups: Sequence[ReviewedGroup], *, name: str, compared: int, left_out: int = 0) -> str:
    """Return a JUnit suite: each group a case that passes when it is expected, and all that stayed one passed case.

    ``left_out`` groups are not told one by one, so that together they are one failed case.
    """
    cases = "".join(map(_case, groups))
    failures = sum(not group.expected for group in groups) + bool(left_out)
    if left_out:
        told = attribute(f"{left_out} more groups are not listed")
        cases += f'  <testcase name="not listed" classname="replay"><failure message={told}/></testcase>\n'
    told = f"of {compared} decisions, what is in no group stays as it was"
    cases += f'  <testcase name={attribute(told)} classname="replay"/>\n'
    tests = len(groups) + bool(left_out) + 1
    head = f'<testsuite name={attribute(name)} tests="{tests}" failures="{failures}" skipped="0">'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n{cases}</testsuite>\n'


def _reviewed(group: Json, said: Sequence[Json]) -> ReviewedGroup:
    ways = " to ".join(outcome_sign(str(group[side])).word for side in ("before", "after"))
    return ReviewedGroup(
        group_id=str(group["groupId"]),
        title=ways,
        rules=tuple(map(str, (*group["firesNow"], *group["noLonger"]))),
        count=int(group["count"]),
        words=tuple(_word(one) for one in said if not one["decisionId"]),
        refused=tuple(
            str(one["decisionId"]) for one in said if one["decisionId"] and one["judgement"] == "JUDGEMENT_UNEXPECTED"
        ),
    )


def _word(verdict: Json) -> Word:
    return Word(
        expected=verdict["judgement"] == "JUDGEMENT_EXPECTED",
        reviewer=str(verdict["judgedBy"]),
        day=date.fromisoformat(str(verdict["judgedAt"])[:10]),
        reason=str(verdict["reason"]),
        event_id=str(verdict["eventId"]),
    )


def _entries(group: ReviewedGroup, flips: Sequence[Flip]) -> Iterator[str]:
    word = group.words[-1]
    expires = (word.day + timedelta(days=ACCEPTED_DAYS)).isoformat()
    counts = Counter((flip.direction, rule) for flip in flips for rule in flip.rules)
    for (direction, rule), count in sorted(counts.items()):
        yield f"- rule: {_yaml(rule)}"
        yield f"  direction: {direction}"
        yield f"  max_count: {count}"
        yield f"  owner: {_yaml(word.reviewer)}"
        # The event is where the verdict can be found and proved.
        yield f"  reason: {_yaml(f'{word.reason} ({group.group_id}, {word.event_id})')}"
        yield f"  expires: {_yaml(expires)}"


def _remark(group: ReviewedGroup) -> str:
    return visible(f"{group.group_id}, {group.count} decisions, {_why(group)}").replace("\n", " ")


def _why(group: ReviewedGroup) -> str:
    refusing = [word for word in group.words if not word.expected]
    if refusing:
        return "unexpected: " + "; ".join(f"{word.reviewer}: {word.reason}" for word in refusing)
    if group.refused:
        return f"unexpected of it: {', '.join(group.refused)}"
    return "nobody judged it"


def _case(group: ReviewedGroup) -> str:
    place = f"{group.title}.{group.rules[0] if group.rules else 'policy'}"
    told = f"{group.group_id}: {group.count} decisions"
    head = f"  <testcase name={attribute(told)} classname={attribute(place)}"
    return f"{head}/>\n" if group.expected else f"{head}><failure message={attribute(_why(group))}/></testcase>\n"


def _yaml(text: str) -> str:
    # As JSON, which every reader of YAML reads as the text that it is.
    return canonical_bytes(visible(text)).decode()
