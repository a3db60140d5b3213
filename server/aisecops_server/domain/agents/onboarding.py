"""What a policy's tables must gain before agents that they do not know can be judged on their merits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aisecops_server.domain.formats.canonical import JsonValue

Table = Literal["servers", "tools", "capabilities", "agents"]
# In this order every table that is written leaves names behind that all point somewhere.
TABLES: tuple[Table, ...] = ("servers", "tools", "capabilities", "agents")
Entry = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry to append: its fields in order, and a remark by field; the empty field is the whole entry."""

    table: Table
    key: str
    fields: Entry
    remarks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Onboarding:
    """What to append, what a person must change in entries that exist, and names that no table may hold."""

    entries: tuple[NewEntry, ...]
    by_hand: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def of(self, table: Table) -> tuple[NewEntry, ...]:
        """Return the entries of one table."""
        return tuple(entry for entry in self.entries if entry.table == table)
