"""Who a principal is as a person, by what policy's tables say: one person may have several names and credentials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.formats.canonical import JsonValue

PublicKey = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class RetiredKey:
    """A public key that was replaced. What it signed counts for what was done until then, and for nothing later."""

    key: PublicKey
    retired_at_seconds: int


@dataclass(frozen=True, slots=True)
class Person:
    """One human. ``name`` is what they are counted by; ``every_name`` are all that mean them, that one included."""

    name: str
    every_name: frozenset[str]
    groups: frozenset[str] = frozenset()
    keys: tuple[PublicKey, ...] = ()

    def is_among(self, names: Iterable[str]) -> bool:
        """Return whether any of ``names`` means this person."""
        own = {name.casefold() for name in self.every_name}
        return any(name.casefold() in own for name in names)


def person_of(tables: Mapping[str, JsonValue], principal_id: str) -> Person:
    """Return who ``principal_id`` is. Somebody whom the table does not know is who the credential says, in no group.

    Names that differ in case only are one: no directory that lets people in by them keeps two such apart.
    """
    wanted = principal_id.casefold()
    for name, entry in _entries(tables.get("people")):
        names = frozenset((name, *_texts(entry.get("aliases"))))
        if wanted in {known.casefold() for known in names}:
            keys = entry.get("keys")
            return Person(
                name=name,
                every_name=names | {principal_id},
                groups=frozenset(_texts(entry.get("groups"))),
                keys=tuple(key for key in _items(keys) if isinstance(key, Mapping)),
            )
    return Person(wanted, frozenset({principal_id, wanted}))


def answerable_for(tables: Mapping[str, JsonValue], agent_ids: Iterable[str]) -> tuple[str, ...]:
    """Return who answers for any of the agents: their owners, and everybody in a team that is an owner."""
    agents = dict(_entries(tables.get("agents")))
    owners = {owner for agent in agent_ids if isinstance(owner := agents.get(agent, {}).get("owner"), str)}
    teams = {owner.casefold() for owner in owners}
    members = {
        name
        for name, entry in _entries(tables.get("people"))
        if not teams.isdisjoint(team.casefold() for team in _texts(entry.get("teams")))
    }
    return tuple(sorted(owners | members))


def is_agent(tables: Mapping[str, JsonValue], principal_id: str) -> bool:
    """Return whether the tables know ``principal_id`` as an agent."""
    return any(name.casefold() == principal_id.casefold() for name, _ in _entries(tables.get("agents")))


def _entries(table: JsonValue) -> Iterable[tuple[str, Mapping[str, JsonValue]]]:
    if not isinstance(table, Mapping):
        return ()
    return [(name, entry) for name, entry in table.items() if isinstance(entry, Mapping)]


def _items(value: JsonValue) -> Sequence[JsonValue]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _texts(value: JsonValue) -> list[str]:
    items = list(value) if isinstance(value, Mapping) else _items(value)
    return [item for item in items if isinstance(item, str)]
