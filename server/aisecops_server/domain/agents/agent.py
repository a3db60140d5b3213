"""What is known of an agent: what policy registers of it, and what the log saw of it.

A *registered* agent stands in the agents table of the live revision. One that asked and does not is *unregistered*:
everything that it asks is denied, and it stays known until somebody registers it or finds out what it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.decisions.decision import Mode, Outcome
from aisecops_server.domain.formats.canonical import JsonValue


class Registration(StrEnum):
    """Whether policy knows an agent."""

    REGISTERED = "registered"
    UNREGISTERED = "unregistered"


@dataclass(frozen=True, slots=True)
class Held:
    """A capability that an agent holds, and who granted it."""

    capability: str
    granted_by: str


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit on what an agent, or whom it shares with, may use in a window."""

    subject: str
    metric: str
    window: str
    limit: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What policy registers of an agent."""

    owner: str
    contact: str
    framework: str
    tenant: str
    mode: str
    budget: str
    environments: tuple[str, ...]
    capabilities: tuple[Held, ...]
    limits: tuple[Limit, ...]
    max_delegation_depth: int


@dataclass(frozen=True, slots=True)
class Activity:
    """What an agent asked: how often with which outcome, and since when. Dry runs are counted apart."""

    agent_id: str
    first_seen_ns: int
    last_seen_ns: int
    allowed: int = 0
    denied: int = 0
    held: int = 0
    tried: int = 0

    def joined(self, later: Activity) -> Activity:
        """Return both as one."""
        return Activity(
            self.agent_id,
            min(self.first_seen_ns, later.first_seen_ns),
            max(self.last_seen_ns, later.last_seen_ns),
            self.allowed + later.allowed,
            self.denied + later.denied,
            self.held + later.held,
            self.tried + later.tried,
        )

    def repeated(self, times: int, *, last_seen_ns: int) -> Activity:
        """Return as many of the same."""
        return Activity(
            self.agent_id,
            self.first_seen_ns,
            last_seen_ns,
            self.allowed * times,
            self.denied * times,
            self.held * times,
            self.tried * times,
        )


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent; at least one of ``entry`` and ``activity`` is there."""

    id: str
    entry: Entry | None
    activity: Activity | None

    @property
    def registration(self) -> Registration:
        """Return whether policy knows it."""
        return Registration.REGISTERED if self.entry else Registration.UNREGISTERED


def activity_of(agent_id: str, *, outcome: str, mode: str, at_ns: int) -> Activity:
    """Return what one decision says of the agent that asked for it.

    Raises:
        ValueError: there is no such outcome.
    """
    if mode != Mode.ENFORCE:
        return Activity(agent_id, at_ns, at_ns, tried=1)
    match Outcome(outcome):
        case Outcome.ALLOW:
            return Activity(agent_id, at_ns, at_ns, allowed=1)
        case Outcome.DENY:
            return Activity(agent_id, at_ns, at_ns, denied=1)
        case Outcome.REQUIRE_APPROVAL:
            return Activity(agent_id, at_ns, at_ns, held=1)


def asks_as_agent(roles: Collection[str], mode: str) -> bool:
    """Return whether who asked did so as an agent: for real, or with no role but that of an agent.

    People who may do anything, such as the operator of a laptop, try plans without being agents.
    """
    return Role.AGENT in roles and (mode == Mode.ENFORCE or len(roles) == 1)


def entries(tables: Mapping[str, JsonValue]) -> Mapping[str, Any]:
    """Return the agents table in compiled tables; empty in those of a bundle that has none."""
    found = tables.get("agents")
    return found if isinstance(found, Mapping) else {}


UNREGISTERED = "unregistered"


def tenant_of(tables: Mapping[str, JsonValue], agent_id: str) -> str:
    """Return whose agent it is. Who is no registered agent shares one name with all others who are not."""
    found = entries(tables).get(agent_id)
    tenant = found.get("tenant") if isinstance(found, Mapping) else None
    return tenant if isinstance(tenant, str) and tenant else UNREGISTERED


def entry_of(tables: Mapping[str, JsonValue], agent_id: str) -> Entry | None:
    """Return what compiled tables say of an agent, or ``None`` when they do not know it."""
    found = entries(tables).get(agent_id)
    if found is None:
        return None
    return Entry(
        owner=found["owner"],
        contact=found["contact"],
        framework=found["framework"],
        tenant=found.get("tenant", ""),
        mode=found.get("mode", ""),
        budget=found.get("profile", ""),
        environments=tuple(sorted(found["environments"])),
        capabilities=tuple(Held(name, grant["granted_by"]) for name, grant in sorted(found["capabilities"].items())),
        limits=tuple(
            Limit(charge["subject"], charge["metric"], charge["window"], charge["limit"])
            for charge in _charges(tables, agent_id)
        ),
        max_delegation_depth=found.get("max_delegation_depth", 0),
    )


def _charges(tables: Mapping[str, JsonValue], agent_id: str) -> list[Any]:
    """Return what plans of an agent are charged with, limit by limit."""
    held: Any = tables.get("limits")
    limits = held["agents"].get(agent_id, {}) if held else {}
    return [limit["charge"] for kind in ("lasting", "session") for limit in limits.get(kind, ())]
