"""Grants and incidents, read beside the writer."""

from __future__ import annotations

from functools import partial

import apsw

from aisecops_server.adapters.sqlite import grant_table, stored
from aisecops_server.adapters.sqlite.readers import Readers
from aisecops_server.domain.errors import InvalidRequestError, NotFoundError
from aisecops_server.domain.grants.grant import StoredGrant
from aisecops_server.domain.grants.incident import PREFIX, IncidentFilter, IncidentPage

# Large enough for every index of SQLite.
_TOKEN_CHARACTERS = 18


class SqliteGrants:
    """Implements ``GrantStore``."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def grant(self, grant_id: str) -> StoredGrant:
        """Return one grant."""
        found = await self._readers.run(partial(grant_table.stored_grant, grant_id=grant_id))
        if found is None:
            raise NotFoundError(f"there is no grant {grant_id}", hint="Name it as Decide gave it", id=grant_id)
        return found

    async def grants_of(self, decision_id: str) -> list[StoredGrant]:
        """Return the grants of one decision, in plan order."""
        return await self._readers.run(partial(grant_table.grants_of, decision_id=decision_id))

    async def open_grants_of(self, agent_id: str) -> list[StoredGrant]:
        """Return the grants of one agent that are not closed."""
        return await self._readers.run(partial(grant_table.open_grants_of, agent_id=agent_id))

    async def overdue_grants(self, *, now_seconds: int, limit: int) -> list[StoredGrant]:
        """Return grants of which nobody said in time what came of them, the longest overdue first."""
        return await self._readers.run(partial(grant_table.overdue_grants, now_seconds=now_seconds, limit=limit))

    async def incidents(self, narrow: IncidentFilter, *, page_size: int, page_token: str) -> IncidentPage:
        """Return a page of incidents, newest first."""
        if page_token and not (page_token.isascii() and page_token.isdigit() and len(page_token) <= _TOKEN_CHARACTERS):
            raise InvalidRequestError("page_token: was not made by this log", field="page_token")
        query = partial(_incident_page, narrow=narrow, page_size=page_size, before=int(page_token or -1))
        return await self._readers.run(query)


def _incident_page(connection: apsw.Connection, *, narrow: IncidentFilter, page_size: int, before: int) -> IncidentPage:
    wanted = {
        "type = ?": f"{PREFIX}{narrow.kind}" if narrow.kind else "",
        "trace_id = ?": narrow.trace_id,
        "json_extract(CAST(body AS TEXT), '$.details.severity') = ?": narrow.severity,
        "json_extract(CAST(body AS TEXT), '$.details.agent') = ?": narrow.agent_id,
    }
    conditions: dict[str, str | int] = {text: value for text, value in wanted.items() if value}
    if before >= 0:
        conditions["e.idx < ?"] = before
    found = stored.incidents(connection, conditions, limit=page_size + 1)
    page = tuple(found[:page_size])
    return IncidentPage(page, str(page[-1].index) if len(found) > page_size else "")
