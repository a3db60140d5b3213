"""A store without grants, for tests of what stands beside them."""

from __future__ import annotations

from aisecops_server.domain.errors import NotFoundError
from aisecops_server.domain.grants.grant import StoredGrant
from aisecops_server.domain.grants.incident import IncidentFilter, IncidentPage


class NoGrants:
    """Has nothing."""

    async def grant(self, grant_id: str) -> StoredGrant:
        raise NotFoundError(f"there is no grant {grant_id}", id=grant_id)

    async def grants_of(self, decision_id: str) -> list[StoredGrant]:
        return []

    async def open_grants_of(self, agent_id: str) -> list[StoredGrant]:
        return []

    async def overdue_grants(self, *, now_seconds: int, limit: int) -> list[StoredGrant]:
        return []

    async def incidents(self, narrow: IncidentFilter, *, page_size: int, page_token: str) -> IncidentPage:
        return IncidentPage((), "")
