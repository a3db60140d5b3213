"""An engine's answer that can be read in two ways, or that leaves something out, is no decision."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from aisecops_server.domain.decisions.decision import Conclusion, Effect, Mode, Outcome, PolicyMode, Verdict, conclude
from aisecops_server.domain.errors import NoDecisionError
from aisecops_server.domain.plans.plan import StepId

from tests.fakes.verdicts import whole

FINDING = {
    **dict.fromkeys(("title", "message", "remedy"), ""),
    "rule": "capability.capability_not_granted",
    "effect": "warn",
    "would_effect": "deny",
    "severity": "high",
    "step": "s1",
    "facts": [],
}
CHARGE = {
    "subject": "agent",
    "id": "a",
    "metric": "calls",
    "window": "day",
    "amount": 3,
    "spent": 2,
    "steps": {"s1": 1},
    "limit": 5,
    "enforced": True,
}
ALLOWED = whole({"outcome": "ALLOW", "steps": [{"id": "s1", "outcome": "ALLOW"}]})
OBSERVED = {**ALLOWED, "mode": "observe", "findings": [FINDING], "would_outcome": "DENY"}
HELD = whole(
    {
        "outcome": "REQUIRE_APPROVAL",
        "findings": [{**FINDING, "effect": "require_approval", "would_effect": "require_approval"}],
        "steps": [{"id": "s1", "outcome": "REQUIRE_APPROVAL"}],
    }
)


def concluded(result: dict[str, Any]) -> Conclusion:
    return conclude(Verdict(result, "r", "v", 1), step_ids=[StepId("s1")], expected_revision="r")


def settled(*sources: tuple[str, str]) -> Conclusion:
    return concluded({**ALLOWED, "sources": [{"id": source, "trust": trust} for source, trust in sources]})


def test_the_trust_of_a_source_is_settled_once() -> None:
    assert len(settled(("prompt", "trusted"), ("page", "external")).sources) == 2
    with pytest.raises(NoDecisionError, match="trust of a source twice"):
        settled(("page", "external"), ("prompt", "trusted"), ("page", "trusted"))


@pytest.mark.parametrize("answer", [ALLOWED, OBSERVED, HELD], ids=["allowed", "observed", "held"])
def test_an_answer_without_one_of_its_parts_is_none(answer: dict[str, Any]) -> None:
    assert concluded(answer)
    for part in answer:
        with pytest.raises(NoDecisionError):
            concluded({name: value for name, value in answer.items() if name != part})
    for part in ("would_effect", "effect", "rule"):
        for finding in answer["findings"]:
            with pytest.raises(NoDecisionError):
                concluded({**answer, "findings": [{name: finding[name] for name in finding if name != part}]})


def test_what_is_observed_counts_as_a_warning_and_says_what_it_would_have_been() -> None:
    observed = concluded(OBSERVED)
    assert (observed.outcome, observed.would_outcome) == (Outcome.ALLOW, Outcome.DENY)
    assert (observed.findings[0].effect, observed.findings[0].would_effect) == (Effect.WARN, Effect.DENY)


@pytest.mark.parametrize(
    "parts",
    [
        {"would_outcome": "ALLOW"},
        {"would_outcome": "REQUIRE_APPROVAL"},
        {"mode": "off"},
        {"mode": None},
        {"findings": [{**FINDING, "would_effect": "warn"}]},
        {"findings": [{**FINDING, "rule": "identity.agent_unregistered"}]},
        {"findings": [{**FINDING, "rule": "plan.malformed"}]},
        {"findings": [{**FINDING, "effect": "require_approval"}]},
    ],
)
def test_modes_that_disagree_with_the_findings_are_no_decision(parts: dict[str, Any]) -> None:
    with pytest.raises(NoDecisionError):
        concluded({**OBSERVED, **parts})


@pytest.mark.parametrize("effects", [*itertools.combinations_with_replacement(Effect, 2)], ids=" ".join)
@pytest.mark.parametrize("outcome", Outcome)
def test_of_all_outcomes_only_that_of_the_worst_finding_is_a_decision(
    effects: tuple[Effect, Effect], outcome: Outcome
) -> None:
    findings = [{**FINDING, "effect": effect.value, "would_effect": effect.value} for effect in effects]
    steps = [{**HELD["steps"][0], "outcome": outcome.value}]
    approval = HELD["approval"] if outcome is Outcome.REQUIRE_APPROVAL else None
    answer = {**HELD, "findings": findings, "steps": steps, "approval": approval}
    answer |= {"outcome": outcome.value, "would_outcome": outcome.value}
    worst = next(effect for effect in (Effect.DENY, Effect.REQUIRE_APPROVAL, Effect.WARN) if effect in effects)
    if outcome.value == {"warn": "ALLOW"}.get(worst.value, worst.value.upper()):
        assert concluded(answer).outcome is outcome
    else:
        with pytest.raises(NoDecisionError):
            concluded(answer)


def test_a_finding_cannot_count_for_less_without_a_warning() -> None:
    finding = {**FINDING, "effect": "require_approval"}
    answer = {**HELD, "findings": [finding], "would_outcome": "DENY"}
    with pytest.raises(NoDecisionError, match="counts as require_approval"):
        concluded(answer)


@pytest.mark.parametrize(
    ("answer", "approval"),
    [
        (ALLOWED, HELD["approval"]),
        (HELD, None),
        (HELD, {**HELD["approval"], "approvers_required": 0}),
        (HELD, {**HELD["approval"], "approvers_required": True}),
        (HELD, {**HELD["approval"], "expires_seconds": 901}),
        (HELD, {**HELD["approval"], "expires_seconds": 0}),
        (HELD, {**HELD["approval"], "steps": ["s2"]}),
        (HELD, {**HELD["approval"], "groups": "finance"}),
        (HELD, []),
    ],
)
def test_what_an_approval_takes_is_told_whole_and_only_when_one_is_required(
    answer: dict[str, Any], approval: object
) -> None:
    with pytest.raises(NoDecisionError):
        concluded({**answer, "approval": approval})


@pytest.mark.parametrize(
    "charges",
    [
        None,
        [CHARGE, {**CHARGE, "limit": 500}],
        [{**CHARGE, "amount": -1}],
        [{**CHARGE, "amount": 4}],
        [{**CHARGE, "spent": -1, "amount": 0}],
        [{**CHARGE, "steps": {"s2": 1}}],
        [{**CHARGE, "steps": {"s1": 0.5}}],
        [{**CHARGE, "steps": [1]}],
        [{**CHARGE, "amount": 1.5}],
        [{**CHARGE, "limit": True}],
        [{**CHARGE, "limit": 2**53}],
        [{**CHARGE, "metric": "cents"}],
        [{**CHARGE, "subject": "planet"}],
        [{**CHARGE, "window": "year"}],
        [{**CHARGE, "enforced": "yes"}],
        [{name: CHARGE[name] for name in CHARGE if name != "enforced"}],
    ],
)
def test_charges_that_cannot_be_booked_are_no_decision(charges: object) -> None:
    assert concluded({**ALLOWED, "charges": [CHARGE, {**CHARGE, "window": "hour"}]}).charges[1].window == "hour"
    with pytest.raises(NoDecisionError):
        concluded({**ALLOWED, "charges": charges})


def test_an_agent_that_policy_only_tries_is_never_decided_for_real() -> None:
    tried = concluded({**ALLOWED, "mode": "dry_run"})
    assert tried.mode is PolicyMode.DRY_RUN
    assert {tried.mode_of(asked) for asked in Mode} == {Mode.DRY_RUN, Mode.SHADOW}
    assert {concluded(ALLOWED).mode_of(asked) for asked in Mode} == set(Mode)
