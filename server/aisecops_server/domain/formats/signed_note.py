"""Signed notes: text with signature lines below it, as C2SP `signed-note` describes them.

Owns the format and which key a line belongs to. Whether a signature is right is asked of ``Verify``, because the
domain does no cryptography. A note counts for nothing until ``opened`` returned: lines of unknown keys are passed
over, a wrong signature of a known key refuses the whole note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from aisecops_server.domain.errors import IntegrityError

Verify = Callable[[bytes, bytes, bytes], bool]
"""(public key, message, signature) to whether an Ed25519 signature is right."""

MOST_SIGNATURES = 32
MOST_CHARACTERS = 64 * 1024
_KEY_BYTES = 32
_KEY_ID_BYTES = 4
_SIGNATURE_BYTES = 64
_TIME_BYTES = 8
_LINE = re.compile(r"— (\S+) (\S+)")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NAME = re.compile(r"[^\s+]+")


class KeyKind(IntEnum):
    """What a key signs: the number is the signature type of C2SP `signed-note`."""

    LOG = 1
    WITNESS = 4


@dataclass(frozen=True, slots=True)
class NoteKey:
    """The public half of a key that signs notes; ``public`` is 32 bytes of Ed25519."""

    name: str
    kind: KeyKind
    public: bytes

    @property
    def id(self) -> bytes:
        """Return the four bytes that signature lines name the key with."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:_KEY_ID_BYTES]

    def text(self) -> str:
        """Return the key as people pass it on: ``name+id+key``."""
        key = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{key}"


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """Return the line, without its end."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.signature).decode()}"


@dataclass(frozen=True, slots=True)
class Note:
    """A note as it was read: nothing of it is verified. ``text`` ends with a newline."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def written(self) -> str:
        """Return the note as it is stored and sent."""
        return f"{self.text}\n" + "".join(f"{signature.line()}\n" for signature in self.signatures)


def read_key(text: str) -> NoteKey:
    """Return the key that ``NoteKey.text`` wrote.

    Raises:
        IntegrityError: it is none, or its id is not that of the key.
    """
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        material = base64.b64decode(encoded, validate=True)
        key = NoteKey(name, KeyKind(material[0]), material[1:])
    except (ValueError, IndexError, binascii.Error) as error:
        raise _no_key(text) from error
    if not _NAME.fullmatch(name) or len(key.public) != _KEY_BYTES or key.id.hex() != key_id:
        raise _no_key(text)
    return key


def read_note(written: str) -> Note:
    """Return the note that ``written`` is.

    Raises:
        IntegrityError: it is none.
    """
    if len(written) > MOST_CHARACTERS or _CONTROL.search(written):
        raise IntegrityError("a note that is too long or holds control characters is not read")
    text, separator, below = written.rpartition("\n\n")
    if not separator or not below.endswith("\n"):
        raise IntegrityError("the note has no signatures")
    return Note(text + "\n", read_signatures(below))


def read_signatures(lines: str) -> tuple[NoteSignature, ...]:
    """Return the signatures of ``lines``, each of which ends with a newline.

    Raises:
        IntegrityError: a line is none, or there are too many.
    """
    found = lines.split("\n")[:-1]
    if not 0 < len(found) <= MOST_SIGNATURES:
        raise IntegrityError(f"a note has 1 to {MOST_SIGNATURES} signatures")
    return tuple(_signature(line) for line in found)


def opened(note: Note, keys: Iterable[NoteKey], verify: Verify) -> dict[str, int]:
    """Return which of ``keys`` signed ``note``: the name, and for a witness the Unix time it says (0 for a log).

    Raises:
        IntegrityError: a line of one of the keys does not verify.
    """
    by_line = {(key.name, key.id): key for key in keys}
    signed: dict[str, int] = {}
    for signature in note.signatures:
        key = by_line.get((signature.name, signature.key_id))
        if key is None:
            continue
        at, message, raw = _signed_message(note.text, key, signature.signature)
        if len(raw) != _SIGNATURE_BYTES or not verify(key.public, message, raw):
            raise IntegrityError(f"the signature of {key.name} does not verify", key=key.name)
        signed[key.name] = at
    return signed


def log_message(text: str) -> bytes:
    """Return what a log signs."""
    return text.encode()


def witness_message(text: str, at_seconds: int) -> bytes:
    """Return what a witness signs: that at this time the text was the latest that it knew (C2SP `tlog-cosignature`)."""
    return f"cosignature/v1\ntime {at_seconds}\n{text}".encode()


def witness_signature(key: NoteKey, at_seconds: int, signature: bytes) -> NoteSignature:
    """Return the line that carries a witness's signature and its time."""
    return NoteSignature(key.name, key.id, at_seconds.to_bytes(_TIME_BYTES, "big") + signature)


def with_signatures(note: Note, more: Sequence[NoteSignature]) -> Note:
    """Return ``note`` with further signature lines, a later one of the same key in the place of an earlier one."""
    lines = {(line.name, line.key_id): line for line in (*note.signatures, *more)}
    return Note(note.text, tuple(lines.values()))


def _signed_message(text: str, key: NoteKey, signature: bytes) -> tuple[int, bytes, bytes]:
    if key.kind is KeyKind.LOG:
        return 0, log_message(text), signature
    at = int.from_bytes(signature[:_TIME_BYTES], "big")
    return at, witness_message(text, at), signature[_TIME_BYTES:]


def _signature(line: str) -> NoteSignature:
    match = _LINE.fullmatch(line)
    try:
        raw = base64.b64decode(match[2], validate=True) if match else b""
    except (ValueError, binascii.Error):
        raw = b""
    if match is None or len(raw) <= _KEY_ID_BYTES:
        raise IntegrityError("a line below the note is no signature")
    return NoteSignature(match[1], raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:])


def _no_key(text: str) -> IntegrityError:
    return IntegrityError(
        f"{text[:80]!r} is no key of a log or witness", hint="Give it whole, as 'aisecops log key' prints it"
    )
