from __future__ import annotations

import pytest
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.record import TraceFilter
from aisecops_server.domain.trace_query import LONGEST, read_query
from hypothesis import given
from hypothesis import strategies as st

DAY_NS = 86_400 * 1_000_000_000


def test_terms_become_the_filter_of_the_list() -> None:
    query = read_query("agent:spiffe://corp.example/agent/x outcome:blocked tool:email/send rule:a.b trust:external")
    assert query.narrow == TraceFilter(
        agent_id="spiffe://corp.example/agent/x", outcome="DENY", tool="email/send", rule="a.b", trust="external"
    )


def test_words_that_people_read_stand_for_the_values_that_travel() -> None:
    assert read_query("outcome:allowed mode:dry-run").narrow == TraceFilter(outcome="ALLOW", mode="DRY_RUN")
    assert read_query("outcome:escalated revision:abc").narrow == TraceFilter(
        outcome="REQUIRE_APPROVAL", revision="abc"
    )


def test_times_are_utc_and_days_begin_at_midnight() -> None:
    narrow = read_query("from:1970-01-02 to:1970-01-03T00:00:00+00:00").narrow
    assert (narrow.from_ns, narrow.to_ns) == (DAY_NS, 2 * DAY_NS)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("blocked", "'blocked'"),
        ("outcome:blocked outcom:x", "'outcom:x'"),
        ("outcome:DENY", "outcome:DENY"),
        ("trust:high", "trust:high"),
        ("from:yesterday", "from:yesterday"),
        ("tool:a tool:b", "'tool' stands twice"),
        ("tool:", "'tool:' has no value"),
        ('tool:"a', "quotation"),
        ("-outcome:DENY", "outcome:DENY"),
        ("-from:2026-01-01", "cannot be left out"),
        ("-tool:", "'-tool:' has no value"),
        ("--tool:a", "'--tool:a'"),
        (" ".join(f"-tool:{number}" for number in range(17)), "more than 16"),
        ("x" * (LONGEST + 1), "characters"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read_query(text)
    assert named in refused.value.message


def test_a_term_takes_the_place_of_the_one_before_and_goes_with_an_empty_value() -> None:
    query = read_query("outcome:blocked tool:a/b")
    assert query.with_term("outcome", "allowed").written() == "tool:a/b outcome:allowed"
    assert query.with_term("tool", "").written() == "outcome:blocked"


def test_terms_that_leave_out_stand_beside_those_that_narrow() -> None:
    query = read_query("tool:a/b -tool:c/d -outcome:blocked -agent:x")
    assert query.narrow == TraceFilter(tool="a/b", without=(("tool", "c/d"), ("outcome", "DENY"), ("agent_id", "x")))
    assert query.value("outcome") == ""
    assert query.written() == "tool:a/b -tool:c/d -outcome:blocked -agent:x"


def test_what_is_left_out_is_not_wanted_any_more_and_the_other_way_round() -> None:
    query = read_query("outcome:blocked tool:a/b").leaving_out("tool", "a/b")
    assert query.written() == "outcome:blocked -tool:a/b"
    assert query.leaving_out("tool", "a/b") == query
    assert query.with_term("tool", "a/b").written() == "outcome:blocked tool:a/b"
    assert query.with_term("tool", "c/d").written() == "outcome:blocked -tool:a/b tool:c/d"


@given(st.text(min_size=1, max_size=50).filter(lambda text: "\0" not in text))
def test_whatever_a_cell_holds_can_be_left_out(value: str) -> None:
    written = read_query("outcome:blocked").leaving_out("tool", value).written()
    assert read_query(written).narrow.without == (("tool", value),)


@given(st.text(min_size=1, max_size=50).filter(lambda text: "\0" not in text))
def test_whatever_a_cell_holds_can_be_asked_for(value: str) -> None:
    written = read_query("outcome:blocked").with_term("tool", value).written()
    assert read_query(written).value("tool") == value
