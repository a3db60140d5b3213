"""How far the plans of a trace came: of each gate, the worst that any of their steps met there.

It is read from the outcome events of decisions, as the figures of a trace are, and kept as one letter a gate. What came
of calls is no gate: that is told later, and stands in the trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aisecops_server.domain.decisions.decision import Effect, Outcome
from aisecops_server.domain.decisions.timeline import stage_of
from aisecops_server.domain.events.event import Stage

GATE_STAGES = (
    Stage.PLAN_EXTRACTION,
    Stage.IDENTITY,
    Stage.CAPABILITY,
    Stage.POLICY,
    Stage.MCP,
    Stage.BUDGET,
    Stage.APPROVAL,
    Stage.OUTCOME,
)
_NOT_REACHED, _PASSED = "n", "a"
_LETTERS = {Effect.WARN.value: "w", Effect.REQUIRE_APPROVAL.value: "e", Effect.DENY.value: "b"}
_OF_OUTCOMES = {Outcome.ALLOW.value: _PASSED, Outcome.REQUIRE_APPROVAL.value: "e", Outcome.DENY.value: "b"}
_EFFECTS = {letter: Effect(value) for value, letter in _LETTERS.items()}
# The later, the worse.
_ORDER = "naweb"
# A text that is screened proposes no call: nothing of one is looked up for it.
_OF_TEXTS = frozenset({Stage.PLAN_EXTRACTION, Stage.IDENTITY, Stage.POLICY})


def gates_of(outcome: Mapping[str, Any], *, steps: int) -> str:
    """Return the gates of a decision of ``steps`` calls, from the details of its outcome event.

    Raises:
        KeyError, TypeError, AttributeError: the details are not those of a decision.
    """
    reached = [stage for stage in GATE_STAGES if stage is not Stage.APPROVAL and (steps or stage in _OF_TEXTS)]
    met = dict.fromkeys(GATE_STAGES, _NOT_REACHED) | dict.fromkeys(reached, _PASSED)
    for finding in outcome.get("findings") or ():
        stage = stage_of(finding["rule"])
        met[stage] = _worse(met[stage], _LETTERS[finding["effect"]])
    met[Stage.OUTCOME] = _OF_OUTCOMES[outcome["outcome"]]
    if met[Stage.OUTCOME] == _OF_OUTCOMES[Outcome.REQUIRE_APPROVAL.value]:
        met[Stage.APPROVAL] = met[Stage.OUTCOME]
    elif outcome.get("approved_by"):
        met[Stage.APPROVAL] = _PASSED
    return "".join(met.values())


def worst_of(first: str, second: str) -> str:
    """Return the worse of two decisions at each gate."""
    return first if first == second else "".join(map(_worse, first, second))


def met_at(gates: str) -> Iterator[tuple[Stage, Effect | None]]:
    """Yield each gate that was reached, with the effect that was met there if a rule objected."""
    for stage, letter in zip(GATE_STAGES, gates, strict=False):
        if letter != _NOT_REACHED:
            yield stage, _EFFECTS.get(letter)


def _worse(one: str, other: str) -> str:
    return max(one, other, key=_ORDER.index)
