"""How long payloads are kept: which class of the table a trace belongs to, and when its time is over.

A trace may belong to several classes, by its agents, its tools and the rules that fired. The one that keeps it longest
counts: what must be kept for one reason is not erased for another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.log.record import TraceSummary
from aisecops_server.domain.tables.retention_table import FOREVER, RetentionTable

_DAY_NS = 24 * 3600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Retention:
    """The class of a trace and its days; ``days`` is 0 where it is kept forever."""

    name: str
    days: int

    def is_over(self, last_at_ns: int, *, now_ns: int) -> bool:
        """Return whether a trace that was last added to at ``last_at_ns`` need not be kept any more."""
        return self.days > 0 and now_ns - last_at_ns >= self.days * _DAY_NS


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """The table of a revision, read from its bundle; without one everything is kept forever."""

    table: RetentionTable

    @property
    def release_needs(self) -> int:
        """Return how many different people release a hold."""
        return self.table.release_needs

    @property
    def shortest_days(self) -> int:
        """Return after how many days something may have to be erased at the earliest; 0 for never."""
        return min((days for days in self.table.classes.values() if isinstance(days, int)), default=0)

    def of(self, trace: TraceSummary) -> Retention:
        """Return the class that keeps ``trace`` longest."""
        table = self.table
        named = [
            *(table.agents.get(agent, "") for agent in trace.agents),
            *(table.tools.get(tool, "") for tool in trace.tools),
            *(table.categories.get(rule.partition(".")[0], "") for rule in trace.rules),
        ]
        found = [self._class(name) for name in dict.fromkeys(named) if name] or [self._class(table.default)]
        return max(found, key=lambda kept: kept.days or float("inf"))

    def _class(self, name: str) -> Retention:
        days = self.table.classes.get(name, FOREVER)
        return Retention(name or FOREVER, days if isinstance(days, int) else 0)


def retention_rules(tables: Mapping[str, JsonValue]) -> RetentionRules:
    """Return what the tables of a bundle say of keeping."""
    found = tables.get("retention")
    return RetentionRules(RetentionTable.model_validate(found) if isinstance(found, Mapping) else RetentionTable())
