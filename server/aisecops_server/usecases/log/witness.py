"""A witness: signs that a log only ever grew (C2SP `tlog-witness`).

Keeps, of each log it was told to watch, the last head that it signed, and signs another one only with a proof that it
extends that one. It stores before it signs. It reads no event and knows nothing of policy, and it is worth something
only where whoever runs the log cannot reach its key and its store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.errors import (
    IntegrityError,
    InvalidRequestError,
    NotFoundError,
    NotPermittedError,
)
from aisecops_server.domain.formats.signed_note import (
    KeyKind,
    Note,
    NoteKey,
    NoteSignature,
    Verify,
    opened,
    witness_message,
    witness_signature,
)
from aisecops_server.domain.log.checkpoint import read_checkpoint
from aisecops_server.domain.log.log_keys import read_rotation
from aisecops_server.domain.log.merkle import is_consistent
from aisecops_server.domain.log.record import LogHead
from aisecops_server.domain.log.witnessing import Behind, Refused
from aisecops_server.ports import Clock, Signer, WitnessStore

MOST_PROOF_HASHES = 63


@dataclass(frozen=True, slots=True)
class Cosign:
    """Signs checkpoints as the witness ``name``, of the logs in ``logs`` (by origin)."""

    name: str
    signer: Signer
    logs: Mapping[str, NoteKey]
    store: WitnessStore
    clock: Clock
    verify: Verify

    @property
    def key(self) -> NoteKey:
        """Return the key that it signs with."""
        return NoteKey(self.name, KeyKind.WITNESS, self.signer.public_raw)

    async def __call__(self, note: Note, *, old_size: int, proof: Sequence[bytes]) -> NoteSignature | Behind | Refused:
        """Return the signature of ``note``, if its log is proved to extend the last head that was signed.

        Raises:
            IntegrityError: the note is no checkpoint.
            NotFoundError: the log is none of ours.
            NotPermittedError: its key did not sign the checkpoint.
            InvalidRequestError: the request makes no sense.
        """
        head = read_checkpoint(note.text).head
        if refused := await self._refused_key(note):
            return refused
        if not 0 <= old_size <= head.size or len(proof) > MOST_PROOF_HASHES or (old_size == 0 and proof):
            raise InvalidRequestError("the old size does not fit the checkpoint or the proof", field="old")
        origin = read_checkpoint(note.text).origin
        last = await self.store.latest(origin)
        signed = last.size if last else 0
        if signed != old_size:
            return Behind(signed)
        if last is not None and not _extends(last, head, proof):
            return Refused(f"the checkpoint of {head.size} events does not extend that of {last.size}")
        if not await self.store.advance(origin, head, after=signed):
            now = await self.store.latest(origin)
            return Behind(now.size if now else 0)
        at = self.clock.now_ns() // 1_000_000_000
        return witness_signature(self.key, at, self.signer.sign(witness_message(note.text, at)))

    async def follow(self, written: str) -> NoteKey:
        """Know a log by the key that follows the one that it is known by, and return that.

        Raises:
            IntegrityError: it is no handing over that both keys signed.
            NotFoundError: the log is none of ours.
            NotPermittedError: it hands over from another key than the one that is good now.
        """
        old, new = read_rotation(written, self.verify)
        known = await self._known(old.name)
        if new == known:
            return new
        if old != known:
            raise NotPermittedError("the log is known by another key than the one that is handed over")
        await self.store.follow(self.logs[old.name], new)
        return new

    async def _known(self, origin: str) -> NoteKey:
        return await self.store.key_of(self._given(origin))

    def _given(self, origin: str) -> NoteKey:
        given = self.logs.get(origin)
        if given is None:
            raise NotFoundError(f"log {origin} is not watched here", id=origin)
        return given

    async def _refused_key(self, note: Note) -> Refused | None:
        """Refuse what is signed with a key that was handed over: the log went on, and who asks does not know it."""
        given = self._given(read_checkpoint(note.text).origin)
        if self._is_signed(note, await self.store.key_of(given)):
            return None
        if any(self._is_signed(note, key) for key in await self.store.keys_before(given)):
            return Refused("the log was handed over to another key since, with an event that is missing here")
        raise NotPermittedError("the key that the log is known by did not sign the checkpoint")

    def _is_signed(self, note: Note, key: NoteKey) -> bool:
        try:
            return key.name in opened(note, [key], self.verify)
        except IntegrityError:
            return False


def _extends(last: LogHead, head: LogHead, proof: Sequence[bytes]) -> bool:
    if last.size == 0:
        return not proof
    return is_consistent(old_size=last.size, old_root=last.root, new_size=head.size, new_root=head.root, proof=proof)
