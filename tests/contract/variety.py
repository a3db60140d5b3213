"""Decisions that differ in everything by which a list of traces is narrowed."""

from __future__ import annotations

from aisecops_server.domain.decisions.decision import Mode, Outcome
from aisecops_server.domain.log.record import DecisionRecord
from aisecops_server.domain.log.trace_figures import EFFECTS

from tests.scenes.log.records import Records


def varied(make: Records, number: int, *, trace_id: str = "") -> DecisionRecord:
    """Make one of decisions that differ in everything by which a list is narrowed."""
    return make.record(
        trace_id=trace_id,
        agent=f"agent-{number % 3}",
        outcome=list(Outcome)[number % 3],
        mode=list(Mode)[number % 2],
        tools=(f"t/{number % 2}", f"t/{number % 5}"),
        rules=(f"r.{number % 4}",) if number % 7 else (),
        trust=("trusted", "external", "unverified")[number // 3 % 3],
        revision=str(number % 2) * 40,
        details=_spending(number),
    )


def _spending(number: int) -> dict[str, object]:
    """Details of a decision by what it did and was charged; every eleventh is of a program that told of none of it."""
    if not number % 11:
        return {}
    shared = {"subject": "agent", "id": "a", "limit": 1000, "enforced": True}
    steps = {"s0": number % 13 * 10_000}
    charges = [
        {**shared, "metric": "calls", "window": "day", "amount": number % 7 * 100, "spent": 0, "steps": {}},
        {**shared, "metric": "tokens", "window": "day", "amount": number, "spent": number, "steps": {}},
        {**shared, "metric": "micro_usd", "window": "day", "amount": sum(steps.values()), "spent": 0, "steps": steps},
    ]
    budgets = [{"used": number % 3 * 100, "reserved": 50}, {"used": 0, "reserved": 0}, {"used": 0, "reserved": 0}]
    return {"effects": [EFFECTS[number % 6], EFFECTS[number % 4]], "charges": charges, "budgets": budgets}
