"""Flips for other programs: counted entries that accept nothing by themselves, and a suite that nothing can forge."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
import yaml
from aisecops_server.domain.accepted_flips import AcceptedFlips, Flip
from aisecops_server.domain.flip_reports import accepted_entries, junit
from aisecops_server.domain.visible_text import visible
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

FLIPS = st.lists(
    st.builds(
        Flip,
        decision_id=st.text(max_size=12),
        trace_id=st.text(max_size=12),
        direction=st.sampled_from(["looser", "stricter"]),
        risky=st.booleans(),
        rules=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=3).map(tuple),
    ),
    max_size=6,
)


def flip(name: str, direction: str, *rules: str) -> Flip:
    return Flip(name, "ab12", direction, risky=direction == "looser", rules=rules)


def test_entries_count_each_rule_and_direction_and_lack_what_a_person_has_to_say() -> None:
    flips = [flip("d1", "stricter", "a.b"), flip("d2", "stricter", "a.b", "c.d"), flip("d3", "looser", "a.b")]
    read = yaml.safe_load(accepted_entries(flips, about="replay rpl-1"))
    assert [(one["rule"], one["direction"], one["max_count"]) for one in read] == [
        ("a.b", "looser", 1),
        ("a.b", "stricter", 2),
        ("c.d", "stricter", 1),
    ]
    with pytest.raises(ValidationError):
        AcceptedFlips.model_validate(read)
    said = [{**one, "owner": "me", "reason": "It is meant so.", "expires": "2026-12-31"} for one in read]
    assert len(AcceptedFlips.model_validate(said).root) == 3


@given(FLIPS)
def test_entries_are_yaml_whatever_rules_are_called(flips: list[Flip]) -> None:
    read = yaml.safe_load(accepted_entries(flips, about="x")) or []
    assert {(one["rule"], one["direction"]) for one in read} == {
        (visible(rule), one.direction) for one in flips for rule in one.rules
    }


@given(FLIPS)
def test_a_suite_has_a_failure_for_each_flip_and_one_case_for_all_that_stays(flips: list[Flip]) -> None:
    suite = ET.fromstring(junit(flips, name="replay <x>", compared=len(flips) + 7))
    assert suite.attrib["failures"] == str(len(flips)) == str(len(suite.findall("testcase/failure")))
    assert len(suite.findall("testcase")) == int(suite.attrib["tests"]) == len(flips) + 1
    assert suite.findall("testcase")[-1].attrib["name"] == "7 decisions keep their outcome"


def test_what_is_not_listed_is_counted() -> None:
    flips = [flip(f"d{number}", "stricter", "a.b") for number in range(2_100)]
    suite = ET.fromstring(junit(flips, name="r", compared=2_100))
    assert suite.findall("testcase/failure")[-1].attrib["message"] == "100 more flips are not listed"
