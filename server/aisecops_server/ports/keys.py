"""What following and rotating a key that signs needs from the world, whatever it signs."""

from __future__ import annotations

from typing import Protocol

from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.log.key_rotation import KeyChain, KeyUse
from aisecops_server.ports.signing import Signer


class KeyRing(Protocol):
    """Signs with one key, and knows what earlier ones signed for as long as that counts."""

    @property
    def signer(self) -> Signer:
        """Return the key that signs.

        Raises:
            GrantKeyMissingError, SigningKeyMissingError: it is not here.
        """
        ...

    @property
    def problem(self) -> str:
        """Return why nothing is signed here, or an empty string."""
        ...

    def turn(self, signer: Signer, chain: KeyChain, *, now_ns: int) -> None:
        """Sign with ``signer`` from here on; what the earlier keys of ``chain`` signed counts as it says.

        ``now_ns`` is the time by which a key that was not seen before is judged.
        """
        ...

    def miss(self, chain: KeyChain, *, problem: str, now_ns: int) -> None:
        """Sign nothing, because the current key of ``chain`` is not here; what it signed is believed."""
        ...


class SigningRing(KeyRing, Protocol):
    """Signs bundles or evidence packages. What an earlier key signed is judged by the chain and not by time."""

    @property
    def chain(self) -> KeyChain:
        """Return the keys that the log told of last."""
        ...

    @property
    def public(self) -> bytes:
        """Return the public half of the key that signs, also when its private half is not here."""
        ...


class KeyStore(Protocol):
    """The private keys of one use: the first one, and one after each rotation.

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


class KeyLog(Protocol):
    """Reads what the log tells of keys that sign."""

    async def key_rotations(self, use: KeyUse) -> list[StoredEvent]:
        """Return the events in which the key for ``use`` was replaced here, oldest first."""
        ...
