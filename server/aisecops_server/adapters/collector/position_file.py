"""How far a collector is, in one small file beside the log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.domain.errors import LogUnavailableError
from aisecops_server.ports.telemetry import Position


@dataclass(frozen=True, slots=True)
class PositionFile:
    """Implements ``PositionStore``."""

    path: Path

    def load(self) -> Position | None:
        """Return the position, or nothing where none was kept or it cannot be read."""
        try:
            held = json.loads(self.path.read_bytes())
            return Position(int(held["size"]), str(held["leaf_hash"])) if held["size"] > 0 else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, position: Position) -> None:
        """Keep a position; the file is the old one or the new one, whenever this ends.

        Raises:
            LogUnavailableError: it cannot be written.
        """
        made = self.path.with_suffix(".new")
        try:
            made.write_text(json.dumps({"size": position.size, "leaf_hash": position.leaf_hash}), encoding="ascii")
            made.replace(self.path)
        except OSError as error:
            raise LogUnavailableError(f"{self.path} cannot be written", hint="Make room there") from error
