"""The seams of maturity: the latest records, and where things stand in the policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from aisecops_server.domain.agents.maturity import AdoptionRecords
from aisecops_server.domain.bundles.bundle import CommitId


class AdoptionReader(Protocol):
    """Reads the latest records that say how far adoption is."""

    async def records(self, *, since_ns: int, now_seconds: int, limit: int) -> AdoptionRecords:
        """Return at most ``limit`` of each kind, newest first, none older than ``since_ns``."""
        ...


class PolicyPlaces(Protocol):
    """Tells where keys of the policy tables stand."""

    async def places(self, revision: CommitId) -> Mapping[tuple[str, ...], str]:
        """Return ``file:line`` of every key of every table, by its path that begins with the table's name.

        Raises:
            AisecopsError: the policy of that revision cannot be read now.
        """
        ...
