"""Edges as people register them: which there are, for whom they may decide, and how long without word of the centre."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, RootModel

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.tables.table_fields import Entry, Text

_MONTH_SECONDS = 31 * 24 * 3600
WHOLE_PERCENT = 100


class EdgeEntry(Entry):
    """An edge: a control plane beside agents that decides by the last policy that the centre confirmed to it."""

    owner: Text = Field(description="The team that answers for the machine.")
    agents: list[Text] = Field(min_length=1, description="The agents that it may decide for, and no others.")
    max_age_seconds: Annotated[int, Field(ge=1, le=_MONTH_SECONDS)] = Field(
        default=3600, description="How long it may decide by a policy that the centre has not confirmed again."
    )
    budget_percent: Annotated[int, Field(ge=0, le=WHOLE_PERCENT)] = Field(
        default=0,
        description="The share of each limit that is leased to it. With 0 it denies whatever a limit concerns.",
    )


class Edges(RootModel[dict[Text, EdgeEntry]]):
    """Edges by the id that their credential proves."""

    root: dict[Text, EdgeEntry] = Field(default_factory=dict)


def edges(table: Edges) -> dict[str, JsonValue]:
    """Return each edge with its agents as keys."""
    return {
        name: {**entry.model_dump(mode="json"), "agents": dict.fromkeys(entry.agents, True)}
        for name, entry in table.root.items()
    }


def lease(table: Edges) -> dict[str, JsonValue]:
    """Return which share of each limit is left to the centre.

    Raises:
        ValueError: more is leased than there is.
    """
    leased = sum(entry.budget_percent for entry in table.root.values())
    if leased > WHOLE_PERCENT:
        raise ValueError(f"{leased} percent of the budgets are leased; together edges get at most {WHOLE_PERCENT}")
    return {"centre_percent": WHOLE_PERCENT - leased}
