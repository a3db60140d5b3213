"""What the use cases of execution grants need from the world: a signer, and a way to read what became of grants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aisecops_server.domain.event import StoredEvent
from aisecops_server.domain.grant import Grant, StoredGrant
from aisecops_server.domain.incident import IncidentFilter, IncidentPage
from aisecops_server.ports.signing import Signer


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


@dataclass(frozen=True, slots=True)
class CountingKey:
    """A public key that signs no more and counts still: since when, in Unix seconds, until when, by monotonic time."""

    public: bytes
    ended_at_seconds: int
    until_ns: int


class GrantKeyRing(GrantSigner, Protocol):
    """Signs with one key, and knows what earlier ones signed for as long as they count."""

    @property
    def signer(self) -> Signer:
        """Return the key that signs.

        Raises:
            GrantKeyMissingError: it is not here.
        """
        ...

    @property
    def problem(self) -> str:
        """Return why nothing is signed here, or an empty string."""
        ...

    def turn(self, signer: Signer, earlier: Sequence[CountingKey]) -> None:
        """Sign with ``signer`` from here on, and believe what each of ``earlier`` signed for as long as it counts."""
        ...

    def miss(self, public: bytes, earlier: Sequence[CountingKey], *, problem: str) -> None:
        """Sign nothing, because the key whose public half is ``public`` is not here; what it signed is believed."""
        ...


class GrantKeyStore(Protocol):
    """The private keys that sign grants: the first one, and one after each rotation.

    Every call may raise ``IntegrityError`` for a file that cannot be used.
    """

    def first(self) -> Signer:
        """Return the first key, made when it is missing."""
        ...

    def current(self, number: int, public: bytes) -> Signer:
        """Return the key after so many rotations, whose public half is known."""
        ...

    def following(self, number: int) -> Signer:
        """Return the key that is to follow after so many rotations, durable, made if it is not there."""
        ...

    def destroy_before(self, number: int) -> None:
        """Delete the keys of before so many rotations."""
        ...


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
