"""A collector of telemetry, and how far it has got."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from aisecops_server.domain.formats.canonical import JsonValue


@dataclass(frozen=True, slots=True)
class Position:
    """How many events of a log were told, and the leaf hash of the last one, so that another log is noticed."""

    size: int
    leaf_hash: str


class Collector(Protocol):
    """Takes spans."""

    async def take(self, request: Mapping[str, JsonValue]) -> str:
        """Hand over one OTLP trace request; return what is wrong, or nothing once it is taken."""
        ...


class PositionStore(Protocol):
    """Keeps a position over restarts."""

    def load(self) -> Position | None:
        """Return the position, or nothing where none was kept or it cannot be read."""
        ...

    def keep(self, position: Position) -> None:
        """Keep a position durably.

        Raises:
            LogUnavailableError: it cannot be written.
        """
        ...
