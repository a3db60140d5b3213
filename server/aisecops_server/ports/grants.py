"""What the use cases of execution grants need from the world: a signer, and a way to read what became of grants."""

from __future__ import annotations

from typing import Protocol

from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.grants.grant import Grant, StoredGrant
from aisecops_server.domain.grants.incident import IncidentFilter, IncidentPage
from aisecops_server.ports.keys import KeyRing


class GrantSigner(Protocol):
    """Makes grants what a tool can verify, and knows its own again."""

    def sign(self, grant: Grant, claims: bytes = b"") -> str:
        """Return the grant as a compact JWS; the same grant always gives the same one.

        ``claims`` are its claims in canonical form, if they were made before.
        """
        ...

    def read(self, token: str) -> Grant:
        """Return the grant that was signed here as ``token``. Whether it is still valid is not judged.

        Raises:
            GrantNotUsableError: it was not signed here.
        """
        ...

    def key_set(self) -> bytes:
        """Return the public keys that verify grants, as a JWKS document."""
        ...


class GrantKeyRing(GrantSigner, KeyRing, Protocol):
    """Signs grants with one key, and knows what earlier ones signed for as long as they count."""


class GrantKeyLog(Protocol):
    """Reads what the log tells of keys that sign grants."""

    async def grant_key_events(self) -> list[StoredEvent]:
        """Return the events in which the key of grants was replaced, here or at an edge, oldest first."""
        ...


class GrantStore(Protocol):
    """Reads what became of grants. They change only through the log, with the events that tell of it."""

    async def grant(self, grant_id: str) -> StoredGrant:
        """Return one grant.

        Raises:
            NotFoundError: there is none.
        """
        ...

    async def grants_of(self, decision_id: str) -> list[StoredGrant]:
        """Return the grants of one decision, in plan order."""
        ...

    async def open_grants_of(self, agent_id: str) -> list[StoredGrant]:
        """Return the grants of one agent that are not closed."""
        ...

    async def overdue_grants(self, *, now_seconds: int, limit: int) -> list[StoredGrant]:
        """Return grants of which nobody said in time what came of them, the longest overdue first."""
        ...

    async def incidents(self, narrow: IncidentFilter, *, page_size: int, page_token: str) -> IncidentPage:
        """Return a page of incidents, newest first.

        Raises:
            InvalidRequestError: the page token was not made here.
        """
        ...
