"""What servers say of their tools: held against what they said before, and looked at for what people cannot see.

A model acts on these words, so a server that changes them after somebody looked changes what the agent does. The first
definition of a tool that is seen, or the one in a file of pins, is the one that holds. Another one takes a decision
about the reserved tool ``server/tools.changed``, which policy can open, and have people approve, like any other.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aisecops_grant.arguments import canonical

from aisecops_mcp.mirrored import Mirrored, mirrored_in

CHANGED = "tools.changed"
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})
_PLAIN = frozenset("\n\r\t")
_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


class PinsError(Exception):
    """A file of pins cannot be used."""


@dataclass(frozen=True, slots=True)
class Change:
    """A tool whose definition is not the one that holds; ``pinned`` is empty for a tool that has none."""

    tool: str
    pinned: str
    found: str

    @property
    def arguments(self) -> dict[str, str]:
        """Return what is decided on."""
        return {"tool": self.tool, "pinned": self.pinned, "found": self.found}


@dataclass(slots=True)
class Definitions:
    """The definitions of one server's tools. With ``strict``, a tool that has no pin is a change as well."""

    pins: dict[str, str] = field(default_factory=dict)
    strict: bool = False
    known: bool = field(default=False, init=False)
    _changes: dict[str, Change] = field(default_factory=dict, init=False)
    _mirrored: dict[str, tuple[Mirrored, ...]] = field(default_factory=dict, init=False)

    def seen(self, entries: Iterable[Any]) -> list[Change]:
        """Take in a list of tools, and return the changes that are new."""
        fresh = []
        for entry in entries:
            if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
                continue
            name, found = entry["name"], digest_of(entry)
            self._mirrored[name] = mirrored_in(entry.get("inputSchema"))
            pinned = self.pins.get(name, "")
            if pinned == found or (not pinned and not self.strict):
                self.pins[name] = found
                self._changes.pop(name, None)
            elif self._changes.get(name) != (change := Change(name, pinned, found)):
                self._changes[name] = change
                fresh.append(change)
        return fresh

    def change_of(self, tool: str) -> Change | None:
        """Return how a tool's definition changed, ``None`` when it holds."""
        return self._changes.get(tool)

    def mirrored(self, tool: str) -> tuple[Mirrored, ...]:
        """Return which arguments of a tool its definition wants repeated as headers."""
        return self._mirrored.get(tool, ())

    def accept(self, change: Change) -> None:
        """Let a definition hold from now on."""
        self.pins[change.tool] = change.found
        self._changes.pop(change.tool, None)


def digest_of(definition: Mapping[str, Any]) -> str:
    """Return the SHA-256 of everything that a server says of a tool; of what has no exact form, of its spelling."""
    try:
        data = canonical(definition)
    except (TypeError, ValueError):
        data = json.dumps(definition, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()


def unseen(definition: Any) -> Iterator[tuple[str, str]]:
    """Yield each character of a definition that people do not see, as (where, code point)."""
    for where, text in _texts(definition, ""):
        for mark in text:
            hidden = unicodedata.category(mark) in _UNSEEN_CATEGORIES and mark not in _PLAIN
            if hidden or any(ord(mark) in selectors for selectors in _SELECTORS):
                yield where, f"U+{ord(mark):04X}"


def pins_in(data: bytes) -> dict[str, dict[str, str]]:
    """Return the pins of a file: by server, by tool.

    Raises:
        PinsError: it is none.
    """
    try:
        found = json.loads(data)
    except ValueError as error:
        raise PinsError(f"not JSON: {error}") from error
    sound = isinstance(found, dict) and all(
        isinstance(tools, dict) and all(isinstance(digest, str) for digest in tools.values())
        for tools in found.values()
    )
    if not sound:
        raise PinsError(
            "a file of pins is an object of servers, of objects of tools, of digests; make it with 'aisecops mcp pin'"
        )
    return dict(found)


def pins_written(pins: Mapping[str, Mapping[str, str]]) -> str:
    """Return a file of pins."""
    return json.dumps(pins, indent=2, sort_keys=True) + "\n"


def _texts(found: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(found, str):
        yield where, found
    elif isinstance(found, Mapping):
        for name, member in found.items():
            yield f"{where}/{name}", str(name)
            yield from _texts(member, f"{where}/{name}")
    elif isinstance(found, list):
        for at, member in enumerate(found):
            yield from _texts(member, f"{where}/{at}")
