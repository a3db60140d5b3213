"""A report on drift is read back from the event that tells of it."""

from __future__ import annotations

import json

import pytest
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.replays.drift import DriftReport, PolicyDrift, Reproduced, report_in
from aisecops_server.domain.replays.fidelity import Check, Fidelity
from aisecops_server.domain.replays.recorded_decision import Doubt
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.text("abcdef0123456789", min_size=1, max_size=8)
COUNTS = st.integers(0, 500)
CHECKS = st.builds(Check, NAMES, st.sampled_from(["", "c" * 40, "d" * 40]), st.none() | st.sampled_from(Doubt), NAMES)
POLICIES = st.builds(
    PolicyDrift,
    st.sampled_from(["live", "next"]),
    NAMES,
    COUNTS,
    COUNTS,
    COUNTS,
    COUNTS,
    COUNTS,
    COUNTS,
    st.lists(NAMES, max_size=5).map(tuple),
    st.sampled_from(["", "gone"]),
)
ROWS = st.builds(Reproduced, NAMES, NAMES, COUNTS, COUNTS)
REPORTS = st.builds(
    lambda at, checks, rows, policies: DriftReport(at * 1000, 604_800, Fidelity(checks), rows, policies),
    st.integers(0, 2**50),
    st.lists(CHECKS, max_size=30).map(tuple),
    st.lists(ROWS, max_size=5).map(tuple),
    st.lists(POLICIES, max_size=2).map(tuple),
)


@given(report=REPORTS)
def test_a_report_that_went_through_the_log_says_the_same(report: DriftReport) -> None:
    told = json.loads(canonical_bytes({"principal": "auditor", **report.as_json()}))
    again = report_in(told)
    assert again.as_json() == report.as_json()
    assert (again.found, again.rows, again.policies) == (report.found, report.rows, report.policies)


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        report_in({"principal": "auditor"})
