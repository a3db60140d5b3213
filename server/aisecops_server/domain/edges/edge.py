"""Edges, as the centre and they themselves know them, and what an edge knows when it decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NewType

from aisecops_server.domain.errors import NotPermittedError
from aisecops_server.domain.formats.canonical import JsonValue

EdgeId = NewType("EdgeId", str)


@dataclass(frozen=True, slots=True)
class EdgeRegistration:
    """What the tables of the live revision say of an edge."""

    id: EdgeId
    owner: str
    agents: frozenset[str]
    max_age_seconds: int


@dataclass(frozen=True, slots=True)
class EdgeStanding:
    """What an edge knows of the policy that it decides by.

    ``age_seconds`` is how long ago the centre confirmed it last, ``lifetime_seconds`` how long that counts by the
    centre's signature. ``clock_sound`` is false once the machine's clock went back since then: nobody knows the age.
    """

    edge_id: EdgeId
    counter: int
    age_seconds: int
    lifetime_seconds: int
    clock_sound: bool

    def facts(self) -> dict[str, JsonValue]:
        """Return what policy sees of it."""
        return {
            "id": self.edge_id,
            "clock_sound": self.clock_sound,
            "bundle": {
                "counter": self.counter,
                "age_seconds": self.age_seconds,
                "lifetime_seconds": self.lifetime_seconds,
            },
        }


def registrations(tables: Mapping[str, JsonValue]) -> list[EdgeRegistration]:
    """Return the edges that compiled tables register, by id."""
    entries = tables.get("edges")
    found = entries.items() if isinstance(entries, Mapping) else ()
    return [_registration(name, entry) for name, entry in sorted(found) if isinstance(entry, Mapping)]


def registered(tables: Mapping[str, JsonValue], edge_id: str) -> EdgeRegistration:
    """Return what compiled tables say of an edge.

    Raises:
        NotPermittedError: they do not register it.
    """
    for found in registrations(tables):
        if found.id == edge_id:
            return found
    raise NotPermittedError(
        f"the edge {edge_id} is not registered",
        hint="Register it in data/edges.yaml of the policy repository",
        needs="a registration in data/edges.yaml",
        why="edge",
        principal=edge_id,
    )


def _registration(name: str, entry: Mapping[str, JsonValue]) -> EdgeRegistration:
    agents, age = entry.get("agents"), entry.get("max_age_seconds")
    return EdgeRegistration(
        EdgeId(name),
        owner=str(entry.get("owner", "")),
        agents=frozenset(agents if isinstance(agents, Mapping) else ()),
        max_age_seconds=age if isinstance(age, int) else 0,
    )
