"""Reviews for other programs: only what is expected passes, and is accepted; nothing can be forged in them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import date
from typing import Any

import pytest
import yaml
from aisecops_server.domain.display.visible_text import visible
from aisecops_server.domain.policy.accepted_flips import Accepted, AcceptedFlips, Flip, Gates, judged
from aisecops_server.domain.replays.flip_reports import ReviewedGroup, Word, accepted_entries, junit, reviewed_groups
from hypothesis import given
from hypothesis import strategies as st

DAY = date(2026, 3, 2)
WORDS = st.builds(
    Word,
    expected=st.booleans(),
    reviewer=st.text(min_size=1, max_size=12),
    day=st.just(DAY),
    reason=st.text(min_size=1, max_size=12),
    event_id=st.text(min_size=4, max_size=12),
)
GROUPS = st.lists(
    st.builds(
        ReviewedGroup,
        group_id=st.text(min_size=4, max_size=12),
        title=st.text(max_size=12),
        rules=st.lists(st.text(min_size=1, max_size=12), max_size=3, unique=True).map(tuple),
        count=st.integers(1, 9),
        words=st.lists(WORDS, max_size=2).map(tuple),
        refused=st.lists(st.text(max_size=12), max_size=1).map(tuple),
    ),
    max_size=5,
)


def group(name: str, *verdicts: tuple[str, str]) -> ReviewedGroup:
    said: list[dict[str, Any]] = [
        {
            "groupId": name,
            "decisionId": decision,
            "judgement": f"JUDGEMENT_{judgement}",
            "judgedBy": "rita",
            "judgedAt": "2026-03-02T10:00:00Z",
            "reason": "It is meant.",
            "eventId": "evt-1",
        }
        for judgement, decision in verdicts
    ]
    found = {"groupId": name, "before": "DENY", "after": "ALLOW", "firesNow": [], "noLonger": ["a.b"], "count": "2"}
    return reviewed_groups([found], [*said, {**said[0], "groupId": "grp-other"}] if said else [])[0]


def flips(*names: str) -> list[Flip]:
    return [Flip(name, "ab12", "looser", risky=True, rules=("a.b",)) for name in names]


@pytest.mark.parametrize(
    ("verdicts", "passes"),
    [
        ((), False),
        ((("SEEN", ""),), False),
        ((("EXPECTED", ""),), True),
        ((("EXPECTED", ""), ("SEEN", "")), True),
        ((("UNEXPECTED", ""),), False),
        ((("EXPECTED", ""), ("UNEXPECTED", "")), False),
        ((("EXPECTED", ""), ("UNEXPECTED", "dec-1")), False),
        ((("EXPECTED", "dec-1"),), False),
        ((("EXPECTED", ""), ("EXPECTED", "dec-1")), True),
    ],
)
def test_a_group_passes_when_it_is_expected_and_nobody_says_otherwise(
    *, verdicts: tuple[tuple[str, str], ...], passes: bool
) -> None:
    one = group("grp-1", *verdicts)
    suite = ET.fromstring(junit([one], name="r", compared=3))
    assert (len(suite.findall("testcase/failure")) == 0) == passes == (suite.attrib["failures"] == "0")
    entries = yaml.safe_load(accepted_entries([(one, flips("d1", "d2"))], about="r"))
    assert bool(entries) == passes


def test_the_gate_accepts_what_is_expected_until_it_is_too_old_and_nothing_more() -> None:
    expected, other = group("grp-1", ("EXPECTED", "")), group("grp-2")
    text = accepted_entries([(expected, flips("d1", "d2")), (other, flips("d3"))], about="replay rpl-1")
    entries = AcceptedFlips.model_validate(yaml.safe_load(text)).root
    [entry] = entries
    assert (entry.rule, entry.direction, entry.max_count) == ("a.b", "looser", 2)
    assert (entry.owner, entry.reason) == ("rita", "It is meant. (grp-1, evt-1)")
    assert "# Not accepted: grp-2, 2 decisions, nobody judged it" in text

    def refused(found: list[Flip], today: date) -> set[str]:
        problems = judged(found, Gates(), Accepted(entries), severities={"a.b": "critical"}, today=today)
        return {problem.code for problem in problems}

    assert refused(flips("d1", "d2"), DAY) == set()
    assert refused(flips("d1", "d2", "d3"), DAY) == {"flips.exceeded", "flips.risky"}
    assert refused(flips("d1", "d2"), date(2026, 4, 2)) == {"flips.unusable", "flips.risky"}


@given(GROUPS)
def test_entries_are_the_flips_of_what_is_expected_whatever_anybody_wrote(groups: list[ReviewedGroup]) -> None:
    given_flips = [(one, [Flip("d", "t", "looser", risky=False, rules=one.rules or ("policy",))]) for one in groups]
    read = AcceptedFlips.model_validate(yaml.safe_load(accepted_entries(given_flips, about="x"))).root
    wanted = [(visible(rule), 1) for one, found in given_flips if one.expected for rule in set(found[0].rules)]
    assert sorted((entry.rule, entry.max_count) for entry in read) == sorted(wanted)


@given(GROUPS, st.integers(0, 3))
def test_a_suite_has_a_case_for_each_group_whatever_anybody_wrote(groups: list[ReviewedGroup], left: int) -> None:
    suite = ET.fromstring(junit(groups, name="replay <x>", compared=70, left_out=left))
    failures = sum(not one.expected for one in groups) + bool(left)
    assert suite.attrib["failures"] == str(failures) == str(len(suite.findall("testcase/failure")))
    assert len(suite.findall("testcase")) == int(suite.attrib["tests"]) == len(groups) + bool(left) + 1
