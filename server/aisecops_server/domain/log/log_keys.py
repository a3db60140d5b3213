"""What a log's key signs besides checkpoints: receipts, and the handing over to the key that follows it.

All are C2SP signed notes whose first line is the log's name with an ending of its own, so that none can be taken for a
checkpoint. A key is good for places of the log up to the event in which it was followed; that event carries the note
that both keys signed, so whoever knows an earlier key comes to know the later ones.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.events.event import Event, EventId, StoredEvent, control_event
from aisecops_server.domain.formats.signed_note import KeyKind, Note, NoteKey, Verify, opened, read_key, read_note
from aisecops_server.domain.log.record import Receipt

RECEIPT, ROTATION = "/receipt", "/key-rotation"
ROTATED = "log.key_rotated"


@dataclass(frozen=True, slots=True)
class EarlierKey:
    """A key that was followed by another: in which event, and the note that says so."""

    key: NoteKey
    end: int
    note: str


def receipt_text(origin: str, receipt: Receipt) -> str:
    """Return what is signed for an event that was acknowledged: whose log, which place, which leaf."""
    leaf = base64.b64encode(receipt.leaf_hash).decode()
    return f"{origin}{RECEIPT}\n{receipt.log_index}\n{leaf}\n"


def read_receipt(written: str) -> tuple[int, bytes]:
    """Return the place and the leaf hash that a receipt names; its signature is not looked at.

    Raises:
        IntegrityError: it is no signed note.
        ValueError: it is no receipt.
    """
    name, index, leaf = read_note(written).text.split("\n")[:3]
    if not name.endswith(RECEIPT):
        raise ValueError("its first line is not that of a receipt")
    return int(index), base64.b64decode(leaf, validate=True)


def rotation_text(old: NoteKey, new: NoteKey) -> str:
    """Return what both keys sign when ``new`` follows ``old``."""
    return f"{old.name}{ROTATION}\n{old.text()}\n{new.text()}\n"


def read_rotation(written: str, verify: Verify) -> tuple[NoteKey, NoteKey]:
    """Return the earlier and the later key of a handing over.

    Raises:
        IntegrityError: it is none, or not signed by both keys.
    """
    note = read_note(written)
    name, *texts = note.text.split("\n")
    old, new = (read_key(text) for text in [*texts, "", ""][:2])
    if name != old.name + ROTATION or old.name != new.name or {old.kind, new.kind} != {KeyKind.LOG} or old == new:
        raise IntegrityError("the note hands no key of a log over to another")
    for key in (old, new):
        # One after the other, because both have the same name.
        if key.name not in opened(note, [key], verify):
            raise IntegrityError("the handing over of the log's key is not signed by both keys")
    return old, new


def rotated_event(note: Note, *, id: EventId, now_ns: int, principal: str, reason: str) -> Event:
    """Return the event that hands the log over to another key."""
    return control_event(
        ROTATED, {"principal": principal, "reason": reason, "note": note.written()}, id=id, now_ns=now_ns
    )


def earlier_keys(events: Sequence[StoredEvent], verify: Verify) -> tuple[tuple[EarlierKey, ...], NoteKey | None]:
    """Return the keys that were followed, oldest first, and the one that follows the last of them.

    Raises:
        IntegrityError: an event does not hand over from the key that was good then.
    """
    found: list[EarlierKey] = []
    current: NoteKey | None = None
    for stored in events:
        note = str(stored.event.details()["note"])
        old, new = read_rotation(note, verify)
        if current not in (None, old):
            raise IntegrityError(
                f"event {stored.index} hands the log over from a key that was not its own", index=str(stored.index)
            )
        found.append(EarlierKey(old, stored.index, note))
        current = new
    return tuple(found), current


def signer_of(note: Note, keys: Sequence[tuple[NoteKey, int | None]], *, last: int, verify: Verify) -> NoteKey:
    """Return which of ``keys`` (each with its end) signed ``note``, whose last place in the log is ``last``.

    Raises:
        IntegrityError: none did, or one that had come to its end before.
    """
    for key, end in reversed(keys):
        if key.name in opened(note, [key], verify):
            if end is not None and last > end:
                raise IntegrityError(f"a key that was retired in event {end} signed for event {last}", index=str(end))
            return key
    raise IntegrityError("it was not signed with the log's key")
