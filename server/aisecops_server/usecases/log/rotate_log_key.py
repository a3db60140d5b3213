"""Hands the log over to a new key: the old one signs it in, the log records it, and only then the new one signs.

Ordering rules: no checkpoint is signed meanwhile. The key is there before the event that names it, and what signs
changes in the very step that learns that the event is durable, so nothing behind it is ever signed with the old key.
The old key is destroyed last. A stop in between leaves a key file that nobody uses, or an old one that counts for
nothing any more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from aisecops_server.domain.formats.signed_note import KeyKind, Note, NoteKey, NoteSignature, log_message
from aisecops_server.domain.log.log_keys import EarlierKey, rotated_event, rotation_text
from aisecops_server.domain.log.record import Receipt
from aisecops_server.ports import Clock, EventLog, Ids, LogKeyStore, Signer
from aisecops_server.usecases.budgets.adjust_budget import require_reason
from aisecops_server.usecases.log.checkpoint import PublishCheckpoint


@dataclass(frozen=True, slots=True)
class RotateLogKey:
    """Rotates the log's key."""

    log: EventLog
    publish: PublishCheckpoint
    store: LogKeyStore
    clock: Clock
    ids: Ids

    async def __call__(self, *, principal: str, reason: str) -> tuple[NoteKey, Receipt]:
        """Rotate it, and return the new key and the receipt of the event that introduces it.

        Raises:
            InvalidRequestError: there is no reason.
            IntegrityError: the new key cannot be made.
            LogUnavailableError: it could not be recorded; the old key goes on.
        """
        require_reason(reason)
        async with self.publish.apart():
            keys = self.publish.keys
            rotations = len(keys.earlier)
            signer = self.store.following(rotations)
            old, new = keys.public, NoteKey(keys.origin, KeyKind.LOG, signer.public_raw)
            note = _signed(rotation_text(old, new), (old, keys.signer), (new, signer))
            event = rotated_event(
                note, id=self.ids.event_id(), now_ns=self.clock.now_ns(), principal=principal, reason=reason
            )
            receipt = await self.log.append_event(event)
            ended = EarlierKey(old, receipt.log_index, note.written())
            self.publish.keys = replace(keys, signer=signer, earlier=(*keys.earlier, ended))
        # The first checkpoint of the new key commits to the event that introduces it.
        await self.publish()
        self.store.destroy(rotations)
        return new, receipt


def _signed(text: str, *keys: tuple[NoteKey, Signer]) -> Note:
    message = log_message(text)
    return Note(text, tuple(NoteSignature(key.name, key.id, signer.sign(message)) for key, signer in keys))
