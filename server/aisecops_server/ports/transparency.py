"""What commits to the log and who vouches for that: checkpoints, keys and witnesses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aisecops_server.domain.formats.signed_note import Note, NoteKey
from aisecops_server.domain.log.record import (
    LogHead,
)
from aisecops_server.domain.log.witnessing import WitnessAnswer
from aisecops_server.ports.signing import Signer


class CheckpointStore(Protocol):
    """The latest checkpoint that was signed, apart from the log, and what each witness has cosigned last."""

    async def latest(self) -> Note | None:
        """Return the latest one with all its signatures.

        Raises:
            IntegrityError: what is stored is no note.
        """
        ...

    async def save(self, note: Note) -> None:
        """Replace the latest one, durably."""
        ...


class Witness(Protocol):
    """Somebody elsewhere who signs a checkpoint only if it extends the last one that they signed."""

    @property
    def key(self) -> NoteKey:
        """Return the key that it signs with."""
        ...

    async def cosign(self, note: Note, *, old_size: int, proof: Sequence[bytes]) -> WitnessAnswer:
        """Return its signature, or why there is none."""
        ...

    async def introduce(self, rotations: Sequence[str]) -> None:
        """Tell it by which keys the one that it knows was followed, as notes, oldest first."""
        ...


class LogKeyStore(Protocol):
    """The private keys of a log: the first one, and one after each rotation."""

    def following(self, rotations: int) -> Signer:
        """Return the key that is to follow after so many rotations, made if it is not there."""
        ...

    def destroy(self, rotations: int) -> None:
        """Delete the key of before so many rotations."""
        ...


class WitnessStore(Protocol):
    """What a witness has signed last, of each log, and by which key a log is known to it."""

    async def key_of(self, given: NoteKey) -> NoteKey:
        """Return the key that follows, by all that was told, the one that the operator gave."""
        ...

    async def keys_before(self, given: NoteKey) -> Sequence[NoteKey]:
        """Return the keys that the log was known by, and is not any more."""
        ...

    async def follow(self, given: NoteKey, key: NoteKey) -> None:
        """Know the log by ``key`` from now on, durably, as long as the operator gives the same one."""
        ...

    async def latest(self, origin: str) -> LogHead | None:
        """Return the last head that was signed of a log."""
        ...

    async def advance(self, origin: str, head: LogHead, *, after: int) -> bool:
        """Store ``head`` durably if the last one had ``after`` leaves (0: there was none); return whether it was so."""
        ...
