"""From the budgets and costs that people write to the limits that rules look up: those of an agent, those of a tool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.tables.budget_tables import BudgetEntry, BudgetsTable, CostsTable, SharedBudget
from aisecops_server.domain.tables.policy_tables import AgentEntry, PolicyTables

# By window and metric; the models of the tables say which of them there are.
_Limits = Mapping[Any, Mapping[Any, int]]


def limits(tables: PolicyTables) -> dict[str, JsonValue]:
    """Return every limit by whom it concerns: an agent (its own and shared ones, and those of its sessions), a tool."""
    table = tables.budgets
    agents = {name: _agent(name, agent, table) for name, agent in tables.agents.root.items()}
    tools = {
        tool: list(_limits("tool", tool, entry.limits, table.approval_percent)) for tool, entry in table.tools.items()
    }
    return {
        "agents": {name: {**held} for name, held in agents.items() if any(held.values())},
        "tools": {tool: held for tool, held in tools.items() if held},
    }


def agent_bounds(agent_id: str, agent: AgentEntry, table: BudgetsTable) -> dict[str, JsonValue]:
    """Return whether limits concern an agent, and how many may stand above it by the strictest of its budgets."""
    budgets: tuple[BudgetEntry | SharedBudget | None, ...] = (
        table.profiles[agent.budget],
        table.teams.get(agent.owner),
        table.tenants.get(agent.tenant),
    )
    depths = [budget.depth for budget in budgets if budget is not None and budget.depth is not None]
    limited = any(_agent(agent_id, agent, table).values())
    return {**({"depth": min(depths)} if depths else {}), **({"limited": True} if limited else {})}


def tool_bounds(tool: str, table: BudgetsTable) -> dict[str, JsonValue]:
    """Return whether limits concern a tool, and how many agents may stand above whoever calls it."""
    entry = table.tools.get(tool)
    if entry is None:
        return {}
    return {**({} if entry.depth is None else {"depth": entry.depth}), **({"limited": True} if entry.limits else {})}


def costs(table: CostsTable) -> dict[str, JsonValue]:
    """Return what calls and tokens are expected to cost."""
    return table.model_dump(mode="json")


def _agent(agent_id: str, agent: AgentEntry, table: BudgetsTable) -> dict[str, list[JsonValue]]:
    own = table.profiles[agent.budget].limits
    session = {window: held for window, held in own.items() if window == "session"}
    lasting = {window: held for window, held in own.items() if window != "session"}
    team, tenant = table.teams.get(agent.owner), table.tenants.get(agent.tenant)
    return {
        "lasting": [
            *_limits("agent", agent_id, lasting, table.approval_percent),
            *(_limits("team", agent.owner, team.limits, table.approval_percent) if team else ()),
            *(_limits("tenant", agent.tenant, tenant.limits, table.approval_percent) if tenant else ()),
        ],
        # The id of a session is not known before there is one.
        "session": list(_limits("session", "", session, table.approval_percent)),
    }


def _limits(subject: str, id: str, limits: _Limits, percent: int) -> Iterable[JsonValue]:
    for window, by_metric in limits.items():
        for metric, limit in by_metric.items():
            charge = {"subject": subject, "id": id, "metric": metric, "window": window, "limit": limit}
            yield {
                "key": f"{subject}:{id}/{metric}/{window}",
                "metric": metric,
                "ask_above": limit * percent // 100,
                "charge": charge,
            }
