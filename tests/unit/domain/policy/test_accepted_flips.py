"""What a pull request says that it means, and what of that counts."""

from __future__ import annotations

from datetime import date

import pytest
from aisecops_server.domain.policy.accepted_flips import (
    Accepted,
    AcceptedFlip,
    ChannelGate,
    Flip,
    Gates,
    RolloutGate,
    judged,
)
from aisecops_server.domain.policy.policy_check import Level
from aisecops_server.domain.policy.policy_erosion import opened_gates

TODAY = date(2026, 6, 1)
RULE = "capability.capability_not_granted"


def entry(**changed: object) -> AcceptedFlip:
    fields = {"rule": RULE, "direction": "looser", "max_count": 1, "owner": "workplace", "expires": "2026-06-30"}
    return AcceptedFlip.model_validate({**fields, "reason": "The summer project is an agent now.", **changed})


def flips(count: int, *rules: str, direction: str = "looser", risky: bool = True) -> list[Flip]:
    return [Flip(f"dec-{number}", f"t-{number}", direction, risky, rules or (RULE,)) for number in range(count)]


def told(found: list[Flip], *entries: AcceptedFlip, gates: Gates | None = None) -> dict[str, Level]:
    accepted = Accepted(entries)
    problems = judged(found, gates or Gates(), accepted, severities={RULE: "high"}, today=TODAY)
    return {problem.code: problem.level for problem in problems}


@pytest.mark.parametrize(
    "tricky",
    [
        entry(rule=f"{RULE} "),
        entry(rule=RULE.upper()),
        entry(rule="capability.*"),
        entry(rule="capability.capability_not_gr\u0430nted"),
        entry(rule="policy"),
        entry(direction="stricter"),
        entry(expires="2026-05-31"),
        entry(expires="2027-06-03"),
    ],
)
def test_an_entry_that_only_looks_like_it_accepts_nothing(tricky: AcceptedFlip) -> None:
    assert told(flips(1), tricky)["flips.risky"] is Level.ERROR


def test_entries_of_one_rule_count_together_and_one_too_few_accepts_none() -> None:
    two = entry(), entry(reason="And another team's agent, too.")
    assert told(flips(2), *two) == {}
    assert told(flips(3), *two) == {"flips.exceeded": Level.ERROR, "flips.risky": Level.ERROR}


def test_a_mild_rule_that_is_accepted_does_not_carry_a_severe_one_along() -> None:
    both = flips(1, "business.mild", RULE)
    assert told(both, entry(rule="business.mild"))["flips.risky"] is Level.ERROR


@pytest.mark.parametrize(("most", "codes"), [(3, []), (103, []), (104, ["generous"]), (1_000_000, ["generous"])])
def test_who_accepts_far_more_than_flips_is_told(most: int, codes: list[str]) -> None:
    found = told(flips(3), entry(max_count=most))
    assert found == {f"flips.{code}": Level.WARNING for code in codes}


PROD = ChannelGate(arrives="shadow", approvers=2)
BEFORE = Gates(protected_traces=["t-1"], channels={"prod": PROD})


@pytest.mark.parametrize(
    ("changed", "subject"),
    [
        ({"most_flips": 21}, "most_flips"),
        ({"severity": "critical"}, "severity"),
        ({"protected_traces": ["t-2"]}, "t-1"),
        ({"most_indeterminate_percent": 11}, "most_indeterminate_percent"),
        ({"most_costlier_percent": 51}, "most_costlier_percent"),
        ({"rollout": RolloutGate(decisions=99)}, "rollout.decisions"),
        ({"rollout": RolloutGate(most_slow_percent=6)}, "rollout.most_slow_percent"),
        ({"rollout": RolloutGate(least=21)}, "rollout.least"),
        ({"channels": {"prod": ChannelGate(arrives="live", approvers=2)}}, "channels.prod.arrives"),
        ({"channels": {"prod": ChannelGate(arrives="wait", approvers=1)}}, "channels.prod.approvers"),
    ],
)
def test_a_gate_that_is_opened_is_told(changed: dict[str, object], subject: str) -> None:
    after = BEFORE.model_copy(update=changed)
    assert [(each.subject, each.level) for each in opened_gates(BEFORE, after)] == [(subject, Level.ERROR)]


def test_a_gate_that_is_closed_or_left_alone_is_not_told() -> None:
    closed = Gates(
        most_flips=0,
        severity="low",
        protected_traces=["t-1", "t-2"],
        rollout=RolloutGate(seconds=601, most_error_percent=0, least=19),
        channels={"prod": ChannelGate(arrives="wait", approvers=3)},
    )
    assert not list(opened_gates(BEFORE, closed))
    assert not list(opened_gates(BEFORE, BEFORE))
    # A channel that is not in the file waits for two people.
    assert not list(opened_gates(BEFORE, BEFORE.model_copy(update={"channels": {}})))


def test_a_channel_that_comes_into_the_file_asks_for_less_than_one_that_is_not_in_it() -> None:
    found = list(opened_gates(Gates(), BEFORE.model_copy(update={"protected_traces": []})))
    assert [(each.subject, each.level) for each in found] == [("channels.prod.arrives", Level.WARNING)]


NUMBERS = [name for name, field in Gates.model_fields.items() if isinstance(field.default, int)]
TERMS = [name for name, field in RolloutGate.model_fields.items() if isinstance(field.default, int)]


@pytest.mark.parametrize("name", [*NUMBERS, *(f"rollout.{name}" for name in TERMS)])
def test_every_number_of_the_gates_has_one_direction_that_opens_them(name: str) -> None:
    def moved(by: int) -> Gates:
        if name in NUMBERS:
            return Gates(**{name: getattr(Gates(), name) + by})
        term = name.removeprefix("rollout.")
        return Gates(rollout=RolloutGate(**{term: getattr(RolloutGate(), term) + by}))

    found = [[problem.subject for problem in opened_gates(Gates(), moved(by))] for by in (1, -1)]
    assert sorted(found) == [[], [name]]
