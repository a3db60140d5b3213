"""From which figures on an agent, or all of them together, are in a phase of adoption, as people write it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.tables.table_fields import Count, Entry

Percent = Annotated[int, Field(ge=0, le=100)]
Positive = Annotated[int, Field(ge=1)]
MOST_READ = 20_000
Read = Annotated[int, Field(ge=1, le=MOST_READ)]


class ObservedPhase(Entry):
    """What it takes to be observed: policy knows who asks, and what is asked is on record."""

    registered_percent: Percent = Field(description="Of the agents that asked, at least so many are registered.")
    decisions: Positive = Field(description="At least so many decisions are on record.")


class EnforcedPhase(Entry):
    """What it takes to be enforced: findings count, and people answer what waits for them."""

    enforced_percent: Percent = Field(description="Of the decisions, at least so many were enforced.")
    observed_rules: Count = Field(description="At most so many rules or categories are only observed.")
    answered_percent: Percent = Field(description="Of the requests for approval that ended, people answered so many.")


class ControlledPhase(Entry):
    """What it takes to be controlled: use is limited, calls are followed to their end, policy is tried on history."""

    limited_percent: Percent = Field(description="Of the registered agents, at least so many have a budget.")
    reported_percent: Percent = Field(description="Of the grants that ended, at least so many were reported on.")
    replay_days: Positive = Field(description="The last replay that can be trusted is at most so many days old.")


class AssuredPhase(Entry):
    """What it takes to be assured: others vouch for the log, nothing ran otherwise than decided."""

    witnesses: Count = Field(description="The last checkpoint is signed by at least so many witnesses.")
    incidents: Count = Field(description="There were at most so many runtime incidents.")
    enforcement_points: Count = Field(description="At least so many different callers redeemed grants.")


class MaturityTable(Entry):
    """The phases, each with what it takes beyond the one before, and how far back they look."""

    window_days: Positive = Field(description="What is older counts for nothing.")
    records: Read = Field(description="At most so many records of each kind are read, the latest.")
    observed: ObservedPhase
    enforced: EnforcedPhase
    controlled: ControlledPhase
    assured: AssuredPhase

    def compiled(self) -> dict[str, JsonValue]:
        """Return the table as it stands in a bundle."""
        return self.model_dump(mode="json")
