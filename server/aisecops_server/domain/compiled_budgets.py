"""From the budgets and costs that people write to the limits that rules look up: those of an agent, those of a tool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aisecops_server.domain.budget_tables import BudgetEntry, BudgetsTable, CostsTable, SharedBudget
from aisecops_server.domain.canonical import JsonValue
from aisecops_server.domain.policy_tables import AgentEntry

# By window and metric; the models of the tables say which of them there are.
_Limits = Mapping[Any, Mapping[Any, int]]


def agent_limits(agent_id: str, agent: AgentEntry, table: BudgetsTable) -> list[JsonValue]:
    """Return every limit that concerns an agent, its own and those that it shares; a session's id is not known yet."""
    own = table.profiles[agent.budget].limits
    session = {window: limits for window, limits in own.items() if window == "session"}
    lasting = {window: limits for window, limits in own.items() if window != "session"}
    team, tenant = table.teams.get(agent.owner), table.tenants.get(agent.tenant)
    return [
        *_limits("agent", agent_id, lasting, table.approval_percent),
        *_limits("session", "", session, table.approval_percent),
        *(_limits("team", agent.owner, team.limits, table.approval_percent) if team else ()),
        *(_limits("tenant", agent.tenant, tenant.limits, table.approval_percent) if tenant else ()),
    ]


def agent_depth(agent: AgentEntry, table: BudgetsTable) -> dict[str, JsonValue]:
    """Return how many agents may stand above one by the strictest of its budgets, if any says."""
    budgets: tuple[BudgetEntry | SharedBudget | None, ...] = (
        table.profiles[agent.budget],
        table.teams.get(agent.owner),
        table.tenants.get(agent.tenant),
    )
    depths = [budget.depth for budget in budgets if budget is not None and budget.depth is not None]
    return {"depth": min(depths)} if depths else {}


def tool_limits(tool: str, table: BudgetsTable) -> list[JsonValue]:
    """Return every limit that concerns a tool."""
    entry = table.tools.get(tool)
    return list(_limits("tool", tool, entry.limits, table.approval_percent)) if entry else []


def tool_depth(tool: str, table: BudgetsTable) -> dict[str, JsonValue]:
    """Return how many agents may stand above whoever calls a tool, if the table says."""
    entry = table.tools.get(tool)
    return {} if entry is None or entry.depth is None else {"depth": entry.depth}


def tool_cost(tool: str, table: CostsTable) -> JsonValue:
    """Return what one call of a tool is expected to cost."""
    return table.tools.get(tool, table.other_tools).model_dump(mode="json")


def _limits(subject: str, id: str, limits: _Limits, percent: int) -> Iterable[JsonValue]:
    for window, by_metric in limits.items():
        for metric, limit in by_metric.items():
            yield {
                "subject": subject,
                "id": id,
                "metric": metric,
                "window": window,
                "limit": limit,
                "ask_above": limit * percent // 100,
            }
