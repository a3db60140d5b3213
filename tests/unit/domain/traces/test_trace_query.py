from __future__ import annotations

import pytest
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.log.record import TraceFilter
from aisecops_server.domain.log.trace_match import NumberMatch, Relation, WordMatch, prefix_range, words_of
from aisecops_server.domain.traces.trace_query import (
    LATEST_NS,
    LONGEST,
    Term,
    TraceQuery,
    of_decisions,
    read_query,
    written_matches,
)
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


def test_what_is_later_than_a_log_can_tell_is_as_late_as_it_can() -> None:
    narrow = read_query("from:2262-04-12 to:9999-12-31T23:59:59").narrow
    assert (narrow.from_ns, narrow.to_ns) == (LATEST_NS, LATEST_NS)


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
        (" ".join(f"-tool:{number}" for number in range(33)), "more than 32"),
        ("tool:*/send", "'tool:*/send': a * stands only at the end"),
        ("tool:kb*x*", "only at the end"),
        ("tool:" + "x" * 257, "256 characters"),
        ("outcome:block*", "outcome is one of allowed"),
        ("trust:<high", "trust is one of trusted"),
        ("trust:>", "trust is one of"),
        ("plans:many", "'plans:many' is no number of plans"),
        ("plans:>1.5", "no number of plans"),
        ("plans:>-1", "no number"),
        ("plans:>\u0661", "no number"),
        ("plans:>" + "9" * 13, "no number"),
        ("lasted:>3d", "no number of seconds"),
        ("lasted:5s", "very nanosecond"),
        ("plans:>1 plans:>=2", "'plans' stands twice on the same side"),
        ("plans:>1 plans:2", "'plans' stands twice"),
        ("tool:a/* tool:b/c", "'tool' stands twice"),
        ("stepss:>3", "'stepss:>3' is no field"),
        ("steps:>1.5", "no number of steps"),
        ("effect:writing", "effect is one of read, write"),
        ("effect:write effect:send", "'effect' stands twice"),
        ("budget:>80", "no number of percent"),
        ("budget:>0.001%", "no number of percent"),
        ("cost:>$5", "no number of US dollars"),
        ("cost:>0.0000001", "no number of US dollars"),
        ("tokens:>5g", "no number of tokens"),
        ("to:1970-01-01", "'to:1970-01-01' is no time since 1970"),
        ("from:1969-12-31", "'from:1969-12-31' is no time since 1970"),
        ("tool:a\0b", "a character that no name has"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read_query(text)
    assert named in refused.value.message


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("blocked", "Write outcome:blocked"),
        ("-external", "Write trust:external"),
        ("outcom:blocked", "Write outcome:blocked"),
        ("tools:crm/*", "Write tool:crm/*"),
        ("tool:*/send", "Write tool:crm/*"),
        ("plans:many", "plans:>3"),
        ("lasted:5s", "lasted:>90s"),
        ("trust:<high", "trust:<internal"),
        ("write", "effect:write"),
        ("budget:>0.8", "budget:>80%"),
        ("what", "fields are agent, outcome, tool, rule, trust, revision, mode, effect, plans, lasted"),
    ],
)
def test_what_is_refused_says_what_to_write_instead(text: str, instead: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read_query(text)
    assert instead in refused.value.hint


def test_beginnings_comparisons_and_numbers_are_what_more_a_trace_must_fit() -> None:
    query = read_query("tool:crm/* -tool:kb/* trust:<internal plans:>3 plans:<=10 -lasted:>1.5m -rule:*")
    assert query.narrow == TraceFilter(
        words=(
            WordMatch("tool", Relation.BEGINS, "crm/"),
            WordMatch("tool", Relation.BEGINS, "kb/", leaves_out=True),
            WordMatch("trust", Relation.LESS, "internal"),
            WordMatch("rule", Relation.BEGINS, "", leaves_out=True),
        ),
        numbers=(
            NumberMatch("plans", Relation.MORE, 3),
            NumberMatch("plans", Relation.AT_MOST, 10),
            NumberMatch("lasted", Relation.MORE, 90 * 10**9, leaves_out=True),
        ),
    )
    assert query.written() == "tool:crm/* -tool:kb/* trust:<internal plans:>3 plans:<=10 -lasted:>1.5m -rule:*"
    assert read_query("lasted:>999999999999h").narrow.numbers[0].amount == 2**63 - 1


def test_less_trust_is_what_deserves_less_of_it() -> None:
    texts = ("<internal", ">=internal", "<=trusted")
    asked = {text: words_of(read_query(f"trust:{text}").narrow.words[0]) for text in texts}
    assert asked == {
        "<internal": ("external", "unverified"),
        ">=internal": ("trusted", "internal"),
        "<=trusted": ("trusted", "internal", "external", "unverified"),
    }
    assert words_of(read_query("trust:<unverified").narrow.words[0]) == ()


@given(st.text(min_size=1, max_size=9), st.text(max_size=9))
def test_exactly_what_begins_so_stands_in_the_range_of_a_beginning(prefix: str, rest: str) -> None:
    first, behind = prefix_range(prefix)
    for text in (prefix + rest, rest, prefix[:-1] + rest):
        raw = text.encode("utf-8", "surrogatepass")
        inside = first.encode() <= raw and (not behind or raw < behind.encode())
        assert inside == text.startswith(prefix)


def test_a_term_is_turned_into_its_contrary_and_back() -> None:
    query = read_query("tool:crm/* plans:>3 outcome:blocked")
    once = query.turned(query.terms[0])
    assert once.written() == "plans:>3 outcome:blocked -tool:crm/*"
    assert once.turned(once.terms[-1]).written() == "plans:>3 outcome:blocked tool:crm/*"
    both = read_query("tool:a -tool:b/*")
    assert both.turned(both.terms[1]).written() == "tool:b/*"


def test_what_a_filter_asks_for_beside_words_is_written_as_it_was_read() -> None:
    text = "agent:spiffe://* -trust:<=external plans:>3 -lasted:<0.25s"
    assert " ".join(written_matches(read_query(text).narrow)) == text


def test_numbers_are_not_asked_of_decisions() -> None:
    with pytest.raises(InvalidRequestError, match="'-plans:>3' is asked of traces"):
        of_decisions(read_query("tool:a/* -plans:>3"))


@given(st.text(alphabet="ab*\\' ", min_size=0, max_size=8))
def test_a_beginning_is_read_as_it_was_written(word: str) -> None:
    terms = (Term("tool", word, relation=Relation.BEGINS), Term("rule", word, True, Relation.BEGINS))
    assert read_query(TraceQuery(terms).written()).terms == terms


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


def test_numbers_have_the_units_in_which_people_read_them() -> None:
    narrow = read_query("steps:>20 tokens:>5k tokens:<=1.5m cost:>0.5 budget:>80% budget:<=99.95%").narrow
    assert narrow.numbers == (
        NumberMatch("steps", Relation.MORE, 20),
        NumberMatch("tokens", Relation.MORE, 5000),
        NumberMatch("tokens", Relation.AT_MOST, 1_500_000),
        NumberMatch("cost", Relation.MORE, 500_000),
        NumberMatch("budget", Relation.MORE, 8000),
        NumberMatch("budget", Relation.AT_MOST, 9995),
    )
    written = " ".join(written_matches(narrow))
    assert written == "steps:>20 tokens:>5000 tokens:<=1500000 cost:>0.5 budget:>80% budget:<=99.95%"
    assert read_query(written).narrow == narrow


def test_one_word_stands_for_every_effect_but_reading() -> None:
    query = read_query("effect:changing -effect:delete")
    wanted, unwanted = query.narrow.words
    assert words_of(wanted) == ("write", "delete", "send", "spend", "execute")
    assert (words_of(unwanted), unwanted.leaves_out) == (("delete",), True)
    assert [wanted.fits(("read",)), wanted.fits(("read", "send")), wanted.fits(())] == [False, True, False]
    assert [query.value("effect"), query.wanted.written()] == ["changing", ""]
    assert query.beyond.written() == query.written() == "effect:changing -effect:delete"
