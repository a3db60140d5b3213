"""Whose budgets a plan concerns, and what it takes from each."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

from aisecops_server.domain.budgets.budget import (
    Budget,
    BudgetState,
    Counter,
    Metric,
    Subject,
    Usage,
    Window,
    session_id,
)
from aisecops_server.domain.budgets.reservation import Portion
from aisecops_server.domain.decisions.decision import Charge
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.plans.plan import ExecutionPlan


def subjects_of(agent_id: str, plan: ExecutionPlan, tables: Mapping[str, JsonValue]) -> dict[str, str]:
    """Return whose use a plan of an agent is, by kind; team and tenant stand in the tables of the deciding revision.

    A plan without a session is one of its own, named by its trace.
    """
    found = {
        Subject.AGENT.value: agent_id,
        Subject.SESSION.value: session_id(agent_id, plan.session_id or plan.trace_id),
    }
    agents = tables.get("agents")
    entry = agents.get(agent_id) if isinstance(agents, Mapping) else None
    for kind, field in ((Subject.TEAM, "owner"), (Subject.TENANT, "tenant")):
        name = entry.get(field) if isinstance(entry, Mapping) else None
        if isinstance(name, str) and name:
            found[kind.value] = name
    return found


def owners_of(subjects: Mapping[str, str], plan: ExecutionPlan) -> list[str]:
    """Return the owners of the budgets that a plan can concern: its subjects, and every tool it calls."""
    tools = sorted({step.tool for step in plan.steps})
    return [*(f"{kind}:{name}" for kind, name in subjects.items()), *(f"{Subject.TOOL.value}:{tool}" for tool in tools)]


def portions_of(charges: Iterable[Charge], *, now_seconds: int) -> tuple[Portion, ...]:
    """Return what an allowed plan takes from its budgets."""
    return tuple(_portion(charge, now_seconds) for charge in charges)


def spent_before(charges: Iterable[Charge], *, now_seconds: int) -> tuple[Portion, ...]:
    """Return what was used before a plan was asked about. It was used whatever the answer is, and fits or not."""
    return tuple(
        Portion(portion.budget, portion.period, portion.limit, portion.spent, {}, enforced=False)
        for portion in portions_of(charges, now_seconds=now_seconds)
        if portion.spent
    )


def standings(charges: Sequence[Charge], usage: Usage, *, now_seconds: int) -> list[JsonValue]:
    """Return how each charged budget stood when policy was asked, in the order of the charges."""
    states = {state.budget: state for state in usage.states}
    return [_standing(_budget(charge), states, now_seconds) for charge in charges]


def _portion(charge: Charge, now_seconds: int) -> Portion:
    budget = _budget(charge)
    return Portion(
        budget=budget,
        period=budget.window.started_at(now_seconds),
        limit=charge.limit,
        spent=charge.spent,
        steps={str(step): amount for step, amount in charge.steps.items()},
        enforced=charge.enforced,
    )


def _standing(budget: Budget, states: Mapping[Budget, BudgetState], now_seconds: int) -> JsonValue:
    state = states.get(budget)
    counter = state.counter if state else Counter()
    return {
        "budget": budget.key,
        "used": counter.used,
        "reserved": counter.reserved,
        "frozen": state.frozen if state else False,
        "resets_at_seconds": budget.window.resets_at(budget.window.started_at(now_seconds)),
    }


def _budget(charge: Charge) -> Budget:
    return _named(charge.subject, charge.id, charge.metric, charge.window)


# Few budgets are charged again and again; those of sessions come and go.
@functools.lru_cache(maxsize=4096)
def _named(subject: str, id: str, metric: str, window: str) -> Budget:
    return Budget(Subject(subject), id, Metric(metric), Window(window))
