"""Notes that a log and its witnesses signed: checkpoints, receipts, and the handing over from one key to the next.

A log's key may be followed by another. The handing over is itself an event of the log, signed by both keys, so whoever
knows an earlier key comes to know the later ones; what an earlier key signed for a place behind its end counts for
nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from aisecops_verify.package import EvidenceError, decimal

HASH_BYTES = 32
RECEIPT, ROTATION = "/receipt", "/key-rotation"
_LOG_KEY, _WITNESS_KEY = 1, 4


@dataclass(frozen=True)
class NoteKey:
    """A key that signs notes (C2SP signed-note): 1 for a log, 4 for a witness."""

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        """Return the four bytes that signature lines name the key with."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]


@dataclass(frozen=True)
class Note:
    """A text with signature lines below it: (name, key id, signature). Nothing of it is verified."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    def signed_by(self, key: NoteKey, what: str) -> bool:
        """Return whether ``key`` signed it, as a log does.

        Raises:
            EvidenceError: a line of that key does not verify.
        """
        own = [signature for name, key_id, signature in self.signatures if (name, key_id) == (key.name, key.id)]
        for signature in own:
            require_signature(key.public, self.text.encode(), signature, what)
        return bool(own)


@dataclass(frozen=True)
class Receipt:
    """What the log acknowledged: the event with this leaf hash stands at this place."""

    note: Note
    origin: str
    index: int
    leaf: bytes


@dataclass(frozen=True)
class LogKeys:
    """The keys of one log, oldest first; ``ends`` are the events in which each but the last was followed by another."""

    keys: tuple[NoteKey, ...]
    ends: tuple[int, ...] = ()

    @property
    def current(self) -> NoteKey:
        """Return the key that signs now."""
        return self.keys[-1]

    def followed(self, rotations: Sequence[tuple[int, str]]) -> LogKeys:
        """Return the keys as ``rotations`` (index and note of each, in log order) lead on from the last one.

        Raises:
            EvidenceError: one of them is not signed by both keys that it names.
        """
        keys, ends = [*self.keys], [*self.ends]
        for index, written in rotations:
            old, new = read_rotation(written, f"the key rotation of event {index}")
            if old == keys[-1]:
                keys.append(new)
                ends.append(index)
        return LogKeys(tuple(keys), tuple(ends))

    def require(self, note: Note, last: int, what: str) -> NoteKey:
        """Return the key that signed ``note``, whose last place in the log is ``last``.

        Raises:
            EvidenceError: none of them did, or one that had come to its end before that place.
        """
        for at, key in reversed(list(enumerate(self.keys))):
            if note.signed_by(key, what):
                if at < len(self.ends) and last > self.ends[at]:
                    retired = f"a key that was retired in event {self.ends[at]}"
                    raise EvidenceError(f"{what} speaks of event {last} and is signed with {retired}")
                return key
        raise EvidenceError(f"{what} is not one of the log's key")


_A_KEY = "one is NAME+ID+KEY. Of a file that holds it, give what stands in it"


def read_note_key(text: str) -> NoteKey:
    """Return the key that ``name+id+key`` writes.

    Raises:
        EvidenceError: it is none.
    """
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        raw = base64.b64decode(encoded, validate=True)
        key = NoteKey(name, raw[0], raw[1:])
    except (ValueError, IndexError) as error:
        raise EvidenceError(f"{text[:60]!r} is no key; {_A_KEY}") from error
    if not name or key.id.hex() != key_id or len(key.public) != HASH_BYTES:
        raise EvidenceError(f"{text[:60]!r} is no key; {_A_KEY}")
    return key


def require_signature(public: bytes, message: bytes, signature: bytes, what: str) -> None:
    """Check an Ed25519 signature.

    Raises:
        EvidenceError: it does not verify.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise EvidenceError(f"the signature of {what} does not verify") from error


def read_note(written: str, what: str) -> Note:
    """Return the note that ``written`` is.

    Raises:
        EvidenceError: it is none.
    """
    text, separator, below = written.rpartition("\n\n")
    lines = [line.split(" ") for line in below.split("\n")[:-1]]
    try:
        found = [(name, base64.b64decode(raw, validate=True)) for dash, name, raw in lines if dash == "—"]
    except ValueError as error:
        raise EvidenceError(f"{what} is no signed note of a log") from error
    if not separator or not found:
        raise EvidenceError(f"{what} is no signed note of a log")
    return Note(text + "\n", tuple((name, raw[:4], raw[4:]) for name, raw in found))


def read_checkpoint(written: str, keys: LogKeys) -> tuple[int, bytes, Note]:
    """Return size and root of a checkpoint that the log's key signed.

    Raises:
        EvidenceError: it is none.
    """
    note = read_note(written, "the checkpoint")
    try:
        origin, size, root = note.text.split("\n")[:3]
        head = decimal(size), base64.b64decode(root, validate=True)
    except ValueError as error:
        raise EvidenceError("the checkpoint is no signed note of a log") from error
    if origin != keys.current.name or len(head[1]) != HASH_BYTES:
        raise EvidenceError("the checkpoint is not one of the log's key")
    keys.require(note, head[0] - 1, "the checkpoint")
    return head[0], head[1], note


def read_receipt(written: str, keys: LogKeys) -> Receipt:
    """Return a receipt that the log's key signed.

    Raises:
        EvidenceError: it is none.
    """
    note = read_note(written, "the receipt")
    try:
        name, index, leaf = note.text.split("\n")[:3]
        found = Receipt(note, name.removesuffix(RECEIPT), decimal(index), base64.b64decode(leaf, validate=True))
    except ValueError as error:
        raise EvidenceError("the receipt is none of a log") from error
    if name != keys.current.name + RECEIPT or len(found.leaf) != HASH_BYTES or found.index < 0:
        raise EvidenceError("the receipt is none of this log")
    keys.require(note, found.index, "the receipt")
    return found


def read_rotation(written: str, what: str) -> tuple[NoteKey, NoteKey]:
    """Return the earlier and the later key of a handing over that both of them signed.

    Raises:
        EvidenceError: it is none.
    """
    note = read_note(written, what)
    name, *texts = note.text.split("\n")
    old, new = (read_note_key(text) for text in [*texts, "", ""][:2])
    if not name == old.name + ROTATION == new.name + ROTATION or (old.kind, new.kind) != (_LOG_KEY, _LOG_KEY):
        raise EvidenceError(f"{what} is none of one log")
    if not all([note.signed_by(old, what), note.signed_by(new, what)]):
        raise EvidenceError(f"{what} is not signed by both of its keys")
    return old, new


def witnessed_at(note: Note, witness: NoteKey) -> int:
    """Return the Unix time at which a witness says that it signed the checkpoint.

    Raises:
        EvidenceError: it did not.
    """
    found = [raw for name, key_id, raw in note.signatures if (name, key_id) == (witness.name, witness.id)]
    if not found or witness.kind != _WITNESS_KEY:
        raise EvidenceError(f"witness {witness.name} did not sign the checkpoint")
    at = int.from_bytes(found[0][:8], "big")
    require_signature(witness.public, f"cosignature/v1\ntime {at}\n{note.text}".encode(), found[0][8:], witness.name)
    return at
