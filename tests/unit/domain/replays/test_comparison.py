from __future__ import annotations

import pytest
from aisecops_server.domain.decisions.decision import Outcome
from aisecops_server.domain.decisions.decision_json import CONCLUSION_FIELDS, conclusion_details
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.replays.comparison import Firing, compare, error, indeterminate, recorded_conclusion, same
from aisecops_server.domain.replays.recorded_decision import RecordedDecision
from aisecops_server.domain.replays.replay import Direction, VerdictClass
from hypothesis import example, given
from hypothesis import strategies as st

from tests.scenes.log.records import Records

SCALARS = (
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, -0.0, 1.0, 0.5, 1e-7, 1e21, 2.0**53])
) | st.text("aé\U0001f600", max_size=2)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=1), inner)
)


def finding(rule: str, effect: str = "deny", step: str = "s1", **more: object) -> dict[str, object]:
    return {"rule": rule, "effect": effect, "step": step, "message": "m", "facts": [], **more}


def conclusion(outcome: str = "ALLOW", *findings: dict[str, object], **more: object) -> dict[str, object]:
    base = {
        "outcome": outcome,
        "findings": list(findings),
        "steps": [{"id": "s1", "outcome": outcome, "capability": "c"}],
        "obligations": [],
        "trust": {"u1": "trusted"},
        "risk_score_milli": 100,
    }
    return {**base, **more}


def test_equal_conclusions_are_the_same():
    compared = compare(conclusion(), conclusion())
    assert (compared.verdict_class, compared.parts, compared.direction) == (VerdictClass.SAME, (), None)


@given(VALUES, VALUES)
@example(1, True)
@example([0], [False])
@example({"a": 1}, {"a": 1.0})
@example([-0.0], [0])
def test_values_are_the_same_exactly_when_they_have_the_same_canonical_form(one: object, other: object) -> None:
    # In an object of their own, because an entry of a list may have fields that are no difference.
    before, after = conclusion(risk_score_milli={"is": one}), conclusion(risk_score_milli={"is": other})
    alike = canonical_bytes(one) == canonical_bytes(other)
    assert (compare(before, after).verdict_class is VerdictClass.SAME) == alike == same(before, after)


def test_a_field_that_older_records_do_not_have_is_no_difference_and_another_value_beside_it_is() -> None:
    older = conclusion("DENY", finding("a.one"))
    assert compare(older, conclusion("DENY", finding("a.one", remedy="r"))).verdict_class is VerdictClass.SAME
    assert compare(older, conclusion("DENY", finding("a.one", remedy="r", message="n"))).parts == ("findings",)
    assert compare(older, conclusion("DENY", finding("a.one", facts=[True]))).parts == ("findings",)


@pytest.mark.parametrize(
    ("before", "after", "direction", "risky"),
    [
        ("DENY", "ALLOW", Direction.LOOSER, True),
        ("DENY", "REQUIRE_APPROVAL", Direction.LOOSER, False),
        ("REQUIRE_APPROVAL", "ALLOW", Direction.LOOSER, False),
        ("ALLOW", "REQUIRE_APPROVAL", Direction.STRICTER, False),
        ("ALLOW", "DENY", Direction.STRICTER, False),
        ("REQUIRE_APPROVAL", "DENY", Direction.STRICTER, False),
    ],
)
def test_another_outcome_is_a_flip_with_its_direction_and_only_deny_to_allow_is_risky(before, after, direction, risky):
    compared = compare(conclusion(before), conclusion(after))
    assert (compared.verdict_class, compared.direction, compared.risky) == (VerdictClass.OUTCOME_FLIP, direction, risky)
    assert (compared.before, compared.after) == (before, after)


def test_an_outcome_that_nobody_knows_is_never_looser():
    assert compare(conclusion("DENY"), conclusion("PERHAPS")).direction is Direction.STRICTER


def test_a_flip_names_the_rules_that_fire_now_and_no_longer():
    before = conclusion("DENY", finding("a.gone"), finding("a.both"))
    after = conclusion("REQUIRE_APPROVAL", finding("a.both", "require_approval"), finding("a.come", step=""))
    compared = compare(before, after)
    assert compared.fires_now == (Firing("a.both", "s1", "require_approval"), Firing("a.come", "", "deny"))
    assert compared.no_longer == (Firing("a.both", "s1", "deny"), Firing("a.gone", "s1", "deny"))


def test_another_reason_for_the_same_outcome_is_reason_only_and_says_which_part():
    compared = compare(conclusion("DENY", finding("a.one")), conclusion("DENY", finding("a.two")))
    assert (compared.verdict_class, compared.parts) == (VerdictClass.REASON_ONLY, ("findings",))
    scored = compare(conclusion(), conclusion(risk_score_milli=101))
    assert (scored.verdict_class, scored.parts) == (VerdictClass.REASON_ONLY, ("risk_score_milli",))


def test_another_obligation_is_more_than_a_reason():
    compared = compare(conclusion(), conclusion(obligations=[{"kind": "notify", "step": "s1"}], risk_score_milli=1))
    assert (compared.verdict_class, compared.parts) == (
        VerdictClass.OBLIGATION_CHANGE,
        ("obligations", "risk_score_milli"),
    )


def test_the_outcome_counts_before_obligations():
    assert (
        compare(conclusion(), conclusion("DENY", obligations=[{"kind": "notify"}])).verdict_class
        is VerdictClass.OUTCOME_FLIP
    )


def test_true_is_not_one():
    before = conclusion("DENY", finding("a.one", facts=[{"pointer": "/x", "value": True}]))
    after = conclusion("DENY", finding("a.one", facts=[{"pointer": "/x", "value": 1}]))
    assert not same(before, after)
    assert compare(before, after).verdict_class is VerdictClass.REASON_ONLY


def test_what_an_older_record_cannot_have_is_no_difference():
    old = {"outcome": "DENY", "findings": [{"rule": "a.one", "effect": "deny", "step": ""}], "steps": []}
    new = conclusion("DENY", finding("a.one", step="")) | {"steps": []}
    assert same(old, new)
    assert compare(old, new).verdict_class is VerdictClass.SAME


def test_what_a_newer_candidate_leaves_out_is_a_difference():
    assert compare(conclusion(), {"outcome": "ALLOW", "findings": [], "steps": []}).parts == (
        "steps",
        "obligations",
        "trust",
        "risk_score_milli",
    )


def test_nothing_fires_on_what_cannot_be_compared():
    assert error("DENY", "NO_DECISION").verdict_class is VerdictClass.ERROR
    unknown = indeterminate("DENY", "document_missing")
    assert (unknown.verdict_class, unknown.reason, unknown.risky) == (
        VerdictClass.INDETERMINATE,
        "document_missing",
        False,
    )


def test_what_is_compared_is_what_a_conclusion_has():
    record = Records().record(rules=("a.rule",), outcome=Outcome.DENY)
    assert tuple(conclusion_details(record.decision.conclusion)) == CONCLUSION_FIELDS


def test_a_record_gives_what_it_has_and_nothing_more():
    decision = RecordedDecision(3, {"outcome": "DENY", "decision_id": "d", "explanation": "because"}, b"{}", {})
    assert recorded_conclusion(decision) == {"outcome": "DENY"}
    assert decision.missing_fields == ("findings", "steps")
