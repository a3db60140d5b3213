"""How far the plans of a trace came, gate by gate."""

from __future__ import annotations

import pytest
from aisecops_server.domain.decisions.decision import Effect
from aisecops_server.domain.display.words import GATES
from aisecops_server.domain.events.event import Stage
from aisecops_server.domain.log.trace_gates import GATE_STAGES, gates_of, met_at, worst_of


def found(**effects: str) -> list[dict[str, str]]:
    return [{"rule": f"{category}.rule", "effect": effect} for category, effect in effects.items()]


@pytest.mark.parametrize(
    ("outcome", "steps", "gates"),
    [
        ({"outcome": "ALLOW"}, 2, "aaaaaana"),
        ({"outcome": "ALLOW", "approved_by": "apr-1"}, 1, "aaaaaaaa"),
        ({"outcome": "ALLOW", "findings": found(budget="warn")}, 1, "aaaaawna"),
        ({"outcome": "DENY", "findings": found(provenance="deny", capability="warn")}, 1, "aawbaanb"),
        ({"outcome": "DENY", "findings": found(tool="deny", approval="require_approval")}, 1, "aaabaaeb"),
        ({"outcome": "REQUIRE_APPROVAL", "findings": found(tool="require_approval")}, 1, "aaaeaaee"),
        # The worst of several at one gate, in whatever order they stand.
        ({"outcome": "DENY", "findings": [*found(tool="deny"), *found(other="warn")]}, 1, "aaabaanb"),
        # A text proposes no call.
        ({"outcome": "DENY", "findings": found(text="deny")}, 0, "aanbnnnb"),
    ],
)
def test_a_gate_tells_the_worst_that_a_step_met_there(outcome: dict[str, object], steps: int, gates: str) -> None:
    assert gates_of(outcome, steps=steps) == gates


@pytest.mark.parametrize("outcome", [{}, {"outcome": "MAYBE"}, {"outcome": "DENY", "findings": found(tool="maybe")}])
def test_what_is_no_decision_has_no_gates(outcome: dict[str, object]) -> None:
    with pytest.raises(KeyError):
        gates_of(outcome, steps=1)


def test_a_later_harmless_decision_hides_nothing() -> None:
    blocked, allowed = "aaabaanb", "aaaaaaaa"
    assert worst_of(blocked, allowed) == worst_of(allowed, blocked) == "aaabaaab"
    assert worst_of(blocked, blocked) == blocked


def test_gates_are_read_back_as_stages_with_effects() -> None:
    assert dict(met_at("awnbnnee")) == {
        Stage.PLAN_EXTRACTION: None,
        Stage.IDENTITY: Effect.WARN,
        Stage.POLICY: Effect.DENY,
        Stage.APPROVAL: Effect.REQUIRE_APPROVAL,
        Stage.OUTCOME: Effect.REQUIRE_APPROVAL,
    }
    assert [*met_at("")] == []


def test_they_are_the_cells_of_every_other_strip() -> None:
    assert [stage.value for stage in GATE_STAGES] == [*GATES.values()]
