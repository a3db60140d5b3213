"""Records and places that are given, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Mapping

from aisecops_server.domain.agents.maturity import AdoptionRecords
from aisecops_server.domain.bundles.bundle import CommitId


class FixedRecords:
    """Implements ``AdoptionReader``."""

    def __init__(self, records: AdoptionRecords | None = None) -> None:
        self.given = records or AdoptionRecords()
        self.asked: dict[str, int] = {}

    async def records(self, *, since_ns: int, now_seconds: int, limit: int) -> AdoptionRecords:
        self.asked = {"since_ns": since_ns, "now_seconds": now_seconds, "limit": limit}
        return self.given


class FixedPlaces:
    """Implements ``PolicyPlaces``."""

    def __init__(self, places: Mapping[tuple[str, ...], str] | None = None) -> None:
        self.given = places or {}

    async def places(self, revision: CommitId) -> Mapping[tuple[str, ...], str]:
        assert revision
        return self.given
