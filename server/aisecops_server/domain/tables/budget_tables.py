"""Budgets and costs as people write them: who may use how much of what in which time, and what things cost.

All figures are integers: calls, tokens, thousandths of a second, millionths of a US dollar.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from aisecops_server.domain.tables.table_fields import Count, Entry, Text, ToolName

# A limit that no sum of figures can step over unseen stays far below the largest integer that JSON keeps exactly.
Limit = Annotated[int, Field(ge=0, le=10**15)]
Metric = Literal["calls", "writes", "tokens", "micro_usd", "wall_milliseconds"]
ToolMetric = Literal["calls", "writes", "micro_usd", "wall_milliseconds"]
Window = Literal["minute", "hour", "day", "month"]
AgentWindow = Literal["minute", "hour", "day", "month", "session"]
Depth = Annotated[Count | None, Field(description="How many agents may stand above the caller.")]


class BudgetEntry(Entry):
    """A profile that agents name: upper bounds on one session, and on one agent in a time."""

    session_calls: Count
    session_changes: Count = Field(description="Calls that do anything but read.")
    items_per_step: Count = Field(description="How many recipients or objects one call may name.")
    depth: Depth = None
    limits: dict[AgentWindow, dict[Metric, Limit]] = Field(
        default_factory=dict, description="What each agent of the profile may use, by window; `session` is one session."
    )


class SharedBudget(Entry):
    """What all agents of a team or of a tenant may use together."""

    depth: Depth = None
    limits: dict[Window, dict[Metric, Limit]] = Field(default_factory=dict)


class ToolBudget(Entry):
    """How much one tool may be used by everybody together."""

    depth: Depth = None
    limits: dict[Window, dict[ToolMetric, Limit]] = Field(default_factory=dict)


class BudgetsTable(Entry):
    """Limits by profile, team, tenant and tool. All that apply to a plan must hold."""

    approval_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        default=100, description="From which share of a limit on people must agree; 100: never, until it denies."
    )
    profiles: dict[Text, BudgetEntry]
    teams: dict[Text, SharedBudget] = Field(default_factory=dict, description="By the owner of agents.")
    tenants: dict[Text, SharedBudget] = Field(default_factory=dict)
    tools: dict[ToolName, ToolBudget] = Field(default_factory=dict)


class ToolCost(Entry):
    """What one call is expected to cost; it is reserved, and settled with what it came to."""

    micro_usd: Limit = 0
    wall_milliseconds: Limit = 0


class ModelCost(Entry):
    """What tokens of a model cost, in millionths of a US dollar for a million of them."""

    input_per_million: Annotated[int, Field(ge=0, le=10**9)]
    output_per_million: Annotated[int, Field(ge=0, le=10**9)]


class CostsTable(Entry):
    """What tools and models cost."""

    tools: dict[ToolName, ToolCost] = Field(default_factory=dict)
    other_tools: ToolCost = Field(default_factory=ToolCost, description="Of tools that are not named.")
    models: dict[Text, ModelCost] = Field(default_factory=dict)
    other_models: ModelCost = Field(description="Of models that are not named: take the dearest.")
