"""Commits the log to what it says: signs its head, has witnesses sign it too, and holds the log against both.

Ordering rules: before the control plane decides anything, the log is held against the last checkpoint; a log that is
smaller or other than it was is sealed, never mended. A witness that refuses a history seals the log as well: either the
log was rewritten or the witness saw another one, and both are for people to settle. A witness that does not answer
stops nothing, and stands in the status.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from aisecops_server.domain.errors import AisecopsError, IntegrityError
from aisecops_server.domain.formats.signed_note import (
    KeyKind,
    Note,
    NoteKey,
    NoteSignature,
    Verify,
    log_message,
    opened,
    with_signatures,
)
from aisecops_server.domain.log.checkpoint import Checkpoint, read_checkpoint
from aisecops_server.domain.log.log_keys import EarlierKey, receipt_text, signer_of
from aisecops_server.domain.log.record import LogHead, Receipt
from aisecops_server.domain.log.witnessing import Behind, Refused, Silent, WitnessAnswer
from aisecops_server.ports import CheckpointStore, EventLog, ProvenLog, Signer, Witness

ORIGIN_PREFIX = "aisecops.example/log/"
_logger = logging.getLogger(__name__)


def origin_of(identity: str) -> str:
    """Return the name of a log that was given none."""
    return f"{ORIGIN_PREFIX}{identity}"


@dataclass(frozen=True, slots=True)
class CheckpointKeys:
    """The log's name and the key that signs for it, with those that did before."""

    origin: str
    signer: Signer
    earlier: tuple[EarlierKey, ...] = ()

    @property
    def public(self) -> NoteKey:
        """Return the key that others verify with."""
        return NoteKey(self.origin, KeyKind.LOG, self.signer.public_raw)

    def signed(self, head: LogHead) -> Note:
        """Return the checkpoint of ``head``, signed by the log."""
        return self._note(Checkpoint(self.origin, head).text())

    def acknowledged(self, receipt: Receipt) -> Note:
        """Return the receipt, signed by the log: whoever keeps it can prove that the event was lost, should it be."""
        return self._note(receipt_text(self.origin, receipt))

    def require_own(self, note: Note, *, last: int, verify: Verify) -> None:
        """Check that the log signed ``note``, whose last place in the log is ``last``.

        Raises:
            IntegrityError: it did not, or with a key that was not good for that place.
        """
        ended = [(earlier.key, earlier.end) for earlier in self.earlier]
        signer_of(note, [*ended, (self.public, None)], last=last, verify=verify)

    def _note(self, text: str) -> Note:
        key = self.public
        return Note(text, (NoteSignature(key.name, key.id, self.signer.sign(log_message(text))),))


@dataclass(slots=True)
class PublishCheckpoint:
    """Signs and stores checkpoints. ``problems`` says of each witness what went wrong last; empty when nothing did."""

    log: ProvenLog
    sealing: EventLog
    store: CheckpointStore
    keys: CheckpointKeys
    witnesses: Sequence[Witness]
    verify: Verify
    problems: dict[str, str] = field(default_factory=dict)
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def check(self) -> None:
        """Hold the log against the last checkpoint; seal it when it does not extend it.

        Raises:
            IntegrityError: it does not, or the stored checkpoint is not ours; the log is sealed.
        """
        try:
            note = await self.store.latest()
            if note is None:
                return
            last = self._own(note)
            head = await self.log.head()
            if head.size < last.size:
                raise _other_history(f"it holds {head.size} events, and {last.size} were committed to")
            if await self.log.head_at(last.size) != last:
                raise _other_history(f"its first {last.size} events are not those that were committed to")
        except IntegrityError as error:
            self.sealing.seal(f"{IntegrityError.reason}: {error.message}")
            raise

    async def __call__(self) -> Note:
        """Return a checkpoint of the log as it is now, made anew when the log has grown or a witness is missing.

        Raises:
            IntegrityError: the log no longer extends what was committed to; it is sealed.
            LogUnavailableError: the checkpoint cannot be stored.
        """
        async with self._busy:
            note = await self.store.latest()
            head = await self.log.head()
            if note is not None and self._own(note) == head and not self._missing(note):
                return note
            same = note if note is not None and self._own(note) == head else self.keys.signed(head)
            cosigned = with_signatures(same, await self._cosignatures(same, head))
            if note is None or cosigned != note:
                await self.store.save(cosigned)
            return cosigned

    def receipt(self, receipt: Receipt) -> str:
        """Return a receipt that the log signs with the key that is good now."""
        return self.keys.acknowledged(receipt).written()

    def apart(self) -> asyncio.Lock:
        """Return what no checkpoint is signed beside."""
        return self._busy

    def _own(self, note: Note) -> LogHead:
        checkpoint = read_checkpoint(note.text)
        try:
            self.keys.require_own(note, last=checkpoint.head.size - 1, verify=self.verify)
        except IntegrityError as error:
            raise IntegrityError(f"the stored checkpoint does not count: {error.message}") from error
        if checkpoint.origin != self.keys.origin:
            raise IntegrityError(f"the stored checkpoint is of another log, {checkpoint.origin}")
        return checkpoint.head

    def _missing(self, note: Note) -> list[Witness]:
        signed = opened(note, [witness.key for witness in self.witnesses], self.verify)
        return [witness for witness in self.witnesses if witness.key.name not in signed]

    async def _cosignatures(self, note: Note, head: LogHead) -> list[NoteSignature]:
        if not head.size:
            return []
        found = await asyncio.gather(*(self._cosigned(witness, note, head) for witness in self._missing(note)))
        return [signature for signature in found if signature is not None]

    async def _cosigned(self, witness: Witness, note: Note, head: LogHead) -> NoteSignature | None:
        name = witness.key.name
        answer = await self._asked(witness, note, head)
        if isinstance(answer, NoteSignature):
            try:
                opened(Note(note.text, (answer,)), [witness.key], self.verify)
            except IntegrityError as error:
                answer = Silent(error.message)
            else:
                self.problems.pop(name, None)
                return answer
        why = f"it signed {answer.size} events meanwhile" if isinstance(answer, Behind) else answer.why
        if isinstance(answer, Refused):
            self.sealing.seal(f"{IntegrityError.reason}: witness {name} refuses the log's history")
        if self.problems.get(name) != why:
            _logger.warning("witness %s did not sign: %s", name, why)
        self.problems[name] = why
        return None

    async def _asked(self, witness: Witness, note: Note, head: LogHead) -> WitnessAnswer:
        """Ask from size 0; a witness that has signed before says from where it wants the proof."""
        answer = await witness.cosign(note, old_size=0, proof=())
        if isinstance(answer, Silent) and self.keys.earlier:
            # It may know only a key of before; it is told by which others that was followed.
            await witness.introduce([earlier.note for earlier in self.keys.earlier])
            answer = await witness.cosign(note, old_size=0, proof=())
        if not isinstance(answer, Behind):
            return answer
        if answer.size > head.size:
            return Refused(f"it has signed {answer.size} events of this log, which holds {head.size}")
        proof = await self.log.consistency(answer.size, size=head.size)
        return await witness.cosign(note, old_size=answer.size, proof=proof)


class Committer:
    """Publishes a checkpoint whenever the log has grown, at most one in ``interval_seconds``."""

    def __init__(self, publish: PublishCheckpoint, *, interval_seconds: float) -> None:
        self._publish = publish
        self._interval_seconds = interval_seconds

    async def run(self) -> None:
        """Publish until cancelled. What goes wrong is told once and tried again; a sealed log ends nothing else."""
        told = ""
        while True:
            await asyncio.sleep(self._interval_seconds)
            try:
                await self._publish()
                told = ""
            except AisecopsError as error:
                if (problem := error.diagnostics()) != told:
                    _logger.warning("no checkpoint: %s", problem)
                told = problem


def _other_history(why: str) -> IntegrityError:
    return IntegrityError(
        f"the log is not the one that was committed to: {why}",
        hint="Keep the files as evidence; restore the newest backup of the whole state directory",
    )
