# Written by `make docs` from the modules of clients/aisecops_verify; edit those instead.
"""Verifies evidence packages and receipts of AISecOps: no server, no network, nothing but `cryptography`.

    aisecops-verify PACKAGE --log-key KEY --evidence-key KEY [--witness-key KEY] [--receipt FILE] [--reproduce OPA]
                    [--evidence-keys FILE]
    aisecops-verify --receipt FILE --proof FILE --log-key KEY

The exit code is 0 when it verifies, 9 when it does not, and 2 when a file cannot be read or a key is none.

`one_file.py` is all of this in one file, to be copied and read; `make docs` writes it.

Ordering rules: nothing inside the package is looked at before the archive is known to be a plain one; no file counts
before its digest stands in the manifest; the manifest counts because the statement that names it is signed. Keys that
come from the package itself prove only that it fits together, and the answer says so.

What it cannot show: that nothing was left out of the selection, and that what was recorded was true.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any
from typing import cast
import argparse
import base64
import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


FORMATS = ("aisecops-evidence/1", "aisecops-evidence/2")
MANIFEST, STATEMENT = "manifest.json", "statement.dsse.json"
MOST_BYTES = 1 << 30
MOST_FILES = 200_000

Json = Any

_DECIMAL = re.compile("0|[1-9][0-9]*", re.ASCII)


class EvidenceError(Exception):
    """The package does not verify; the message says where and why."""


@dataclass(frozen=True)
class Trust:
    """What the reader brings along: keys that were had from elsewhere. Empty ones are taken from the package.

    ``evidence_keys`` is the history of the keys that sign packages, as 'aisecops evidence keys' prints it; an empty one
    is none, and refused.
    ``receipts`` are what the log gave for what it recorded; each must be kept by the log of the package.
    """

    log_key: str = ""
    evidence_key: str = ""
    witness_keys: Sequence[str] = ()
    receipts: Sequence[str] = ()
    evidence_keys: str | None = None


@dataclass
class Report:
    """What was checked, in order, and what the reader has to know about it."""

    checks: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_package(package: bytes) -> dict[str, bytes]:
    """Return the files of an archive that is exactly its files: nothing before, between, behind or twice.

    Raises:
        EvidenceError: it is anything else.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            entries = archive.infolist()
            _require_plain(archive, entries, package)
            return {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, RuntimeError, EOFError, ValueError, zlib.error) as error:
        raise EvidenceError(f"the package is no plain zip archive ({error})") from error


def _require_plain(archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo], package: bytes) -> None:
    if archive.comment or len(entries) > MOST_FILES:
        raise EvidenceError("the archive has a comment or too many files")
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise EvidenceError("the archive is too large")
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names):
        raise EvidenceError("a file stands in the archive twice")
    at = 0
    for entry in entries:
        parts = entry.filename.split("/")
        plain = entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size
        if not plain or entry.flag_bits & ~0x800 or entry.extra or entry.comment:
            raise EvidenceError(f"{entry.filename!r} is not stored plainly")
        if any(part in {"", ".", ".."} for part in parts) or "\\" in entry.filename or ":" in entry.filename:
            raise EvidenceError(f"{entry.filename!r} is no name that a package has")
        if entry.header_offset != at:
            raise EvidenceError(f"something stands before {entry.filename!r}")
        at += 30 + len(entry.filename.encode()) + entry.file_size
    # The directory follows at once, and behind its 22 bytes of ending is nothing.
    directory = sum(46 + len(name.encode()) for name in names)
    if archive.start_dir != at or len(package) != at + directory + 22:
        raise EvidenceError("something stands between or behind the files")


def manifest_of(files: Mapping[str, bytes]) -> dict[str, Json]:
    """Return the manifest, which names every other file and its digest.

    Raises:
        EvidenceError: it does not, or is of no format that is known.
    """
    manifest = json_in(files, MANIFEST)
    if (
        not isinstance(manifest, dict)
        or manifest.get("format") not in FORMATS
        or not isinstance(manifest.get("files"), dict)
    ):
        raise EvidenceError(f"the manifest is of none of the formats {', '.join(FORMATS)}")
    listed = cast("dict[str, str]", manifest["files"])
    if set(listed) != set(files) - {MANIFEST, STATEMENT}:
        odd = sorted(set(listed) ^ (set(files) - {MANIFEST, STATEMENT}))
        raise EvidenceError(f"the manifest and the archive differ: {odd[0]}")
    for name, wanted in listed.items():
        if sha256(files[name]) != wanted:
            raise EvidenceError(f"{name} is not the file that the manifest names")
    return manifest


def file_in(files: Mapping[str, bytes], name: str) -> bytes:
    """Return a file that a package must have."""
    if name not in files:
        raise EvidenceError(f"the package has no {name}")
    return files[name]


def json_in(files: Mapping[str, bytes], name: str) -> Json:
    """Return the content of a JSON file that a package must have."""
    return parsed(file_in(files, name), name)


def parsed(data: bytes, what: str) -> Json:
    """Return what JSON says, in which no key stands twice."""
    try:
        return json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"{what} is not JSON") from error


def whole(value: Json) -> int:
    """Return a place or a size of a log as JSON has it; one that is written otherwise is none.

    Raises:
        ValueError: it is a text, a fraction, a truth value or negative.
    """
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no whole number")
    return value


def decimal(text: str) -> int:
    """Return a place or a size of a log as its notes have it.

    Raises:
        ValueError: it is written otherwise than in digits alone, without a leading zero.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def sha256(data: bytes) -> str:
    """Return the lower-case hexadecimal SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


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


EVENTS, PROOFS, PAYLOADS = "events.ndjson", "proofs.json", "payloads.json"
CONCLUDED, ERASED, ROTATED = "decision.concluded", "payload.erased", "log.key_rotated"
_SALT_BYTES = 32


@dataclass(frozen=True)
class Event:
    """One event: its place, its leaf, its body parsed, and its details with what the payload adds to them."""

    index: int
    leaf: bytes
    body: Mapping[str, Json]
    details: Mapping[str, Json]


def leaf_hash(body: bytes) -> bytes:
    """Return the RFC 6962 hash of an event."""
    return hashlib.sha256(b"\x00" + body).digest()


def root_from(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root that an audit path leads to, or nothing when it cannot be one (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    position, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if position & 1 or position == last:
            node = hashlib.sha256(b"\x01" + sibling + node).digest()
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\x01" + node + sibling).digest()
        position, last = position >> 1, last >> 1
    return node if last == 0 else None


def read_events(files: Mapping[str, bytes]) -> list[tuple[Event, list[bytes]]]:
    """Return the events with their audit paths; nothing is proved yet.

    Raises:
        EvidenceError: they cannot be read, or a payload is not the one that its event commits to.
    """
    lines = file_in(files, EVENTS).split(b"\n")[:-1]
    proofs = json_in(files, PROOFS)
    if not isinstance(proofs, list) or len(proofs) != len(lines):
        raise EvidenceError("there is not one proof for each event")
    payloads = json_in(files, PAYLOADS) if PAYLOADS in files else {}
    found = []
    for line, proof in zip(lines, proofs, strict=True):
        try:
            index, path = whole(proof["index"]), [bytes.fromhex(node) for node in proof["path"]]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise EvidenceError("a proof cannot be read") from error
        body = parsed(line, f"event {index}")
        details = _details(index, body, str(payloads.pop(str(index), "")))
        found.append((Event(index, leaf_hash(line), body, details), path))
    if payloads:
        raise EvidenceError(f"a payload is that of event {next(iter(payloads))}, which is not in the package")
    return found


def prove(events: Sequence[tuple[Event, Sequence[bytes]]], size: int, root: bytes) -> None:
    """Check that each event is in the log of that size and root, and stands in the package once.

    Raises:
        EvidenceError: one is not, or does not.
    """
    seen: set[int] = set()
    for event, path in events:
        if event.index in seen or root_from(event.leaf, event.index, size, path) != root:
            raise EvidenceError(
                f"event {event.index} is not in the log of the checkpoint, or stands in the package twice"
            )
        seen.add(event.index)


def rotations_in(events: Sequence[Event]) -> list[tuple[int, str]]:
    """Return index and note of each event in which the log's key was followed by another, in log order."""
    found = [event for event in events if event.body.get("type") == ROTATED]
    return [(event.index, str(event.details["note"])) for event in sorted(found, key=lambda event: event.index)]


def erasures_in(events: Sequence[Event]) -> dict[str, tuple[int, int]]:
    """Return of each trace whose payloads were erased up to which event that reaches, and the event that says so.

    Raises:
        EvidenceError: one of them does not say it.
    """
    found: dict[str, tuple[int, int]] = {}
    for event in events:
        if event.body.get("type") == ERASED:
            try:
                trace, through = str(event.body["trace_id"]), whole(event.details["through"])
            except (KeyError, TypeError, ValueError) as error:
                raise EvidenceError(f"event {event.index} does not say what it erased") from error
            found[trace] = max(found.get(trace, (-1, 0)), (through, event.index))
    return found


def erased_by(event: Event, erasures: Mapping[str, tuple[int, int]]) -> int:
    """Return the event that erased the payload of ``event``, or 0."""
    through, told = erasures.get(str(event.body.get("trace_id", "")), (-1, 0))
    return told if event.index <= through else 0


def require_payloads(files: Mapping[str, bytes], events: Sequence[Event]) -> None:
    """Check that whatever is not there of an event was erased by one that is.

    Raises:
        EvidenceError: a payload is missing, and nothing says why.
    """
    there = json_in(files, PAYLOADS) if PAYLOADS in files else {}
    erasures = erasures_in(events)
    for event in events:
        if "payload" in event.body and str(event.index) not in there and not erased_by(event, erasures):
            raise EvidenceError(f"the payload of event {event.index} is missing, and no event says that it was erased")


def decisions_in(files: Mapping[str, bytes], events: Sequence[Event], report: Report) -> list[dict[str, Json]]:
    """Return the decisions whose document is there, after checking that it is the one that was decided on.

    Raises:
        EvidenceError: a document is another one, or missing without an event that erased it.
    """
    erasures, found, gone = erasures_in(events), [], 0
    for event in events:
        if event.body.get("type") != CONCLUDED:
            continue
        digest = event.details["document_digest"]
        if f"documents/{digest}.json" not in files and erased_by(event, erasures):
            gone += 1
            continue
        if sha256(file_in(files, f"documents/{digest}.json")) != digest:
            raise EvidenceError(f"the document {digest} is not the one that was decided on")
        found.append(cast("dict[str, Json]", event.details))
    if gone:
        report.remarks.append(
            f"{gone} decisions cannot be made again: what they were made on was erased, as the log says"
        )
    return found


def check_receipts(receipts: Sequence[Receipt], events: Sequence[Event], size: int, report: Report) -> None:
    """Hold what the log acknowledged against what the package proves of it.

    Raises:
        EvidenceError: another event stands in the place that was acknowledged.
    """
    by_index = {event.index: event for event in events}
    for receipt in receipts:
        event = by_index.get(receipt.index)
        if event is not None and event.leaf != receipt.leaf:
            raise EvidenceError(f"the log acknowledged another event {receipt.index} than it holds: that one was lost")
        if event is not None:
            report.checks.append(f"event {receipt.index} is the one that the log acknowledged")
        elif receipt.index >= size:
            report.remarks.append(f"the checkpoint is older than the receipt of event {receipt.index}")
        else:
            report.remarks.append(f"event {receipt.index}, which was acknowledged, is not among those of the package")


def _details(index: int, body: Mapping[str, Json], encoded: str) -> Mapping[str, Json]:
    details = cast("Mapping[str, Json]", body["details"])
    if not encoded:
        return details
    try:
        payload = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise EvidenceError(f"the payload of event {index} cannot be read") from error
    if hashlib.sha256(b"\x02" + payload).hexdigest() != body.get("payload"):
        raise EvidenceError(f"the payload of event {index} is not the one that it commits to")
    return cast("Mapping[str, Json]", _joined(details, parsed(payload[_SALT_BYTES:], f"the payload of event {index}")))


def _joined(public: Any, private: Any) -> Any:
    if isinstance(private, list) and isinstance(public, list) and len(private) == len(public):
        return [_joined(one, other) for one, other in zip(public, private, strict=True)]
    if isinstance(private, dict) and isinstance(public, dict):
        return {**public, **{name: _joined(public.get(name), value) for name, value in private.items()}}
    return private


ROTATED_EVIDENCE = "evidence_key.rotated"
_ROTATION = "aisecops/evidence-key-rotation/v1"
_KEY = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Handover:
    """One key followed another, as both of them signed: the ``number``-th time, and in which event."""

    number: int
    old: str
    new: str
    grace: bool
    index: int


@dataclass(frozen=True)
class EvidenceKeys:
    """The keys that sign packages of one log, oldest first, and how each but the first came to be."""

    first: str
    handovers: tuple[Handover, ...] = ()

    @property
    def current(self) -> str:
        """Return the key that signs."""
        return self.handovers[-1].new if self.handovers else self.first

    @property
    def all(self) -> tuple[str, ...]:
        """Return all keys, oldest first."""
        return (self.first, *(handover.new for handover in self.handovers))


def handover_of(details: Mapping[str, Json], index: int) -> Handover:
    """Return what an event, or somebody who tells of it, says of a rotation that both keys signed.

    Raises:
        EvidenceError: it says nothing of that kind, or one of the keys did not sign it.
    """
    what = f"the rotation of the evidence key in event {index}"
    try:
        number, at_seconds, grace = details["number"], details["at_seconds"], details["grace"]
        old, new, by_old, by_new = (bytes.fromhex(details[name]) for name in ("old", "new", "by_old", "by_new"))
    except (KeyError, TypeError, ValueError) as error:
        raise EvidenceError(f"{what} cannot be read") from error
    if type(number) is not int or type(at_seconds) is not int or type(grace) is not bool or len(new) != HASH_BYTES:
        raise EvidenceError(f"{what} cannot be read")
    ends = "grace" if grace else "revoked"
    lines = (_ROTATION, number, old.hex(), new.hex(), at_seconds, ends)
    text = "".join(f"{line}\n" for line in lines).encode()
    for public, signature in ((old, by_old), (new, by_new)):
        require_signature(public, text, signature, what)
    return Handover(number, old.hex(), new.hex(), grace, index)


def keys_told(handovers: Sequence[Handover], otherwise: str) -> EvidenceKeys:
    """Return the keys that all handovers of a log tell of, from its first key on; ``otherwise`` when there are none.

    Raises:
        EvidenceError: one is missing, or does not go on from the one before it.
    """
    found: list[Handover] = []
    for handover in handovers:
        # An event that is told twice is one.
        if found and (handover.old, handover.new) == (found[-1].old, found[-1].new):
            continue
        known = {found[0].old, *(before.new for before in found)} if found else {handover.old}
        follows = not found or handover.old == found[-1].new
        if not follows or handover.number != len(found) + 1 or handover.new in known:
            raise EvidenceError(
                f"the rotation of the evidence key in event {handover.index} does not go on from the key before it"
            )
        found.append(handover)
    return EvidenceKeys(found[0].old if found else otherwise, tuple(found))


def handovers_in(events: Sequence[Event]) -> list[Handover]:
    """Return the rotations of the evidence key that stand among ``events``, in log order.

    Raises:
        EvidenceError: one of them is not signed by both of its keys.
    """
    found = [event for event in events if event.body.get("type") == ROTATED_EVIDENCE]
    return [handover_of(event.details, event.index) for event in sorted(found, key=lambda event: event.index)]


def read_history(text: str) -> EvidenceKeys:
    """Return the keys that 'aisecops evidence keys' printed.

    Raises:
        EvidenceError: it printed something else.
    """
    try:
        told = parsed(text.encode("utf-8", "replace"), "the history of evidence keys")
        key, rotations = str(told["key"]), [(one, whole(one["log_index"])) for one in told["rotations"]]
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise EvidenceError("the history of evidence keys is not what 'aisecops evidence keys' prints") from error
    found = keys_told([handover_of(one, index) for one, index in rotations], key)
    if found.current != key:
        raise EvidenceError("the history of evidence keys does not lead to the key that it names")
    return found


def known_keys(given: str, history: str | None) -> EvidenceKeys | None:
    """Return the keys that a reader brings along: one, or all of a history; none when neither is given.

    Raises:
        EvidenceError: the key or the history is none, or the history does not have the key.
    """
    key = given.strip().lower()
    if given and not _KEY.fullmatch(key):
        raise EvidenceError("the evidence key that you gave is no key: one is 64 hexadecimal digits")
    if history is None:
        return EvidenceKeys(key) if key else None
    found = read_history(history)
    if key and key not in found.all:
        raise EvidenceError("the history of evidence keys that you gave does not have the key that you gave")
    return found


def check_keys(own: str, told: EvidenceKeys, known: EvidenceKeys | None, *, size: int, proven: bool) -> list[str]:
    """Check that ``own`` may have signed a package of a log of ``size`` events, and return what was found out.

    ``told`` are the keys as the package tells of them, ``known`` those that the reader brings along; ``proven`` says
    that the reader brought the log's key, too.

    Raises:
        EvidenceError: it may not.
    """
    if own not in told.all:
        raise EvidenceError("the package is signed with a key that its log does not know as one for packages")
    _require_good(own, told, size)
    if known is None:
        return _said(told.handovers)
    _require_agreeing(told, known)
    if own in known.all:
        _require_good(own, known, size)
        return _said(known.handovers)
    if known.current not in told.all:
        raise EvidenceError(
            "the package was made with another evidence key than the one you gave, and no rotation in it leads there"
        )
    steps = told.handovers[told.all.index(known.current) :]
    revoked = [step for step in steps if not step.grace]
    if revoked and not proven:
        raise EvidenceError(
            f"the evidence key that you gave was revoked in event {revoked[-1].index}: what it says of the key that"
            " follows counts only where the log's key is known; give --log-key"
        )
    return _said((*known.handovers, *steps))


def _require_good(own: str, keys: EvidenceKeys, size: int) -> None:
    """Check that ``own`` was not revoked, and signed for nothing behind the event in which another followed it."""
    steps = keys.handovers[keys.all.index(own) :]
    for step in steps:
        if not step.grace:
            raise EvidenceError(
                f"the package is signed with an evidence key that was revoked in event {step.index}: whoever stole it"
                " may have made it; ask for the package anew"
            )
    if steps and steps[0].index < size:
        raise EvidenceError(
            f"the package is signed with an evidence key that was followed by another in event {steps[0].index}, and"
            " speaks of events behind that"
        )


def _require_agreeing(told: EvidenceKeys, known: EvidenceKeys) -> None:
    """Check that the package tells of no other key in a place that the reader knows."""
    ours = {step.old: step for step in known.handovers}
    for step in told.handovers:
        if step.old in ours and step.new != ours[step.old].new:
            raise EvidenceError(
                f"event {step.index} of the package hands an evidence key over to another one than you know: one of the"
                " logs was rewritten"
            )


def _said(steps: Sequence[Handover]) -> list[str]:
    return [
        f"the evidence key {step.old[:16]} was {'followed by' if step.grace else 'revoked, and replaced by'}"
        f" {step.new[:16]} in event {step.index}"
        for step in steps
    ]


MOST_BUNDLE_BYTES = 128 * 1024 * 1024
# What a re-run must give again; `trust` is told by the sources.
_CONCLUSION = ("outcome", "findings", "steps", "obligations", "trust", "risk_score_milli")
_BATCH = 100
_BATCH_SECONDS = 300


def read_bundle(files: Mapping[str, bytes], digest: str) -> dict[str, bytes]:
    """Return the files of a bundle whose content has that digest; links, strange names and bombs are refused."""
    found: dict[str, bytes] = {}
    try:
        raw = gzip.GzipFile(fileobj=io.BytesIO(file_in(files, f"bundles/{digest}.tar.gz"))).read(MOST_BUNDLE_BYTES + 1)
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as tar:
            for member in tar:
                stream, path = tar.extractfile(member) if member.isreg() else None, member.name.lstrip("/")
                if stream is None or path in found or any(part in {"", ".", ".."} for part in path.split("/")):
                    raise EvidenceError(f"bundle {digest} has an entry {path!r} that no bundle has")
                found[path] = stream.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise EvidenceError(f"bundle {digest} is no gzipped tar file") from error
    hashed = hashlib.sha256()
    for path in sorted(set(found) - {".signatures.json"}):
        hashed.update(f"{sha256(found[path])}  {path}\n".encode())
    if len(raw) > MOST_BUNDLE_BYTES or hashed.hexdigest() != digest:
        raise EvidenceError(f"bundle {digest} has other content than its digest says")
    return found


def check_revisions(decisions: Sequence[Mapping[str, Json]], bundles: Mapping[str, Mapping[str, bytes]]) -> None:
    """Check that each decision names the commit of its bundle.

    Raises:
        EvidenceError: one names another.
    """
    for decision in decisions:
        revision = parsed(bundles[decision["bundle_digest"]].get(".manifest", b""), "a bundle manifest").get("revision")
        if revision != decision["bundle_revision"]:
            raise EvidenceError(f"decision {decision['decision_id']} names another commit than its bundle")


def reproduce(
    files: Mapping[str, bytes],
    decisions: Sequence[Mapping[str, Json]],
    bundles: Mapping[str, Mapping[str, bytes]],
    *,
    opa: str,
    report: Report,
) -> None:
    """Evaluate every document again on a stock engine, without network, and compare with what was recorded."""
    version = _run([opa, "version"], b"").decode().split("\n", 1)[0].removeprefix("Version: ")
    recorded = {decision["engine_version"] for decision in decisions}
    if recorded - {version}:
        report.remarks.append(f"decided again on OPA {version}; recorded were {', '.join(sorted(recorded))}")
    for digest, content in bundles.items():
        own = [decision for decision in decisions if decision["bundle_digest"] == digest]
        with tempfile.TemporaryDirectory() as folder:
            for path, data in content.items():
                target = Path(folder, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
            for at in range(0, len(own), _BATCH):
                part = own[at : at + _BATCH]
                for decision, again in zip(part, _again(opa, folder, files, part), strict=True):
                    _require_same(decision, again)
    report.checks.append(f"{len(decisions)} decisions come out the same when they are made again")


def _again(
    opa: str, folder: str, files: Mapping[str, bytes], decisions: Sequence[Mapping[str, Json]]
) -> list[dict[str, Json]]:
    documents = b",".join(files[f"documents/{decision['document_digest']}.json"] for decision in decisions)
    call = [opa, "eval", "--bundle", folder, "--format", "json", "--stdin-input", "--strict-builtin-errors"]
    answer = parsed(
        _run([*call, "data.aisecops.batch.decisions"], b'{"items":[' + documents + b"]}"), "the engine's answer"
    )
    found = answer["result"][0]["expressions"][0]["value"] if answer.get("result") else []
    if len(found) != len(decisions):
        raise EvidenceError("the engine did not decide every document")
    return cast("list[dict[str, Json]]", found)


def _require_same(recorded: Mapping[str, Json], again: Mapping[str, Json]) -> None:
    told = {**again, "trust": {source["id"]: source["trust"] for source in again.get("sources", [])}}
    for name in _CONCLUSION:
        if _ordered(told.get(name)) != _ordered(recorded.get(name)):
            raise EvidenceError(
                f"decision {recorded['decision_id']} comes out with another {name} when it is made again"
            )


def _ordered(value: Json) -> str:
    items = sorted(json.dumps(item, sort_keys=True) for item in value) if isinstance(value, list) else value
    return json.dumps(items, sort_keys=True)


def _run(call: Sequence[str], given: bytes) -> bytes:
    try:
        return subprocess.run(  # noqa: S603 - the engine that the reader named, with arguments of ours
            call, input=given, capture_output=True, check=True, timeout=_BATCH_SECONDS, env={}
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise EvidenceError(f"the engine {call[0]} gave no answer ({error})") from error


STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
CHECKPOINT = "checkpoint.note"
# A reader who brings no key along.
UNKNOWING = Trust()
_PROOF = "c2sp.org/tlog-proof@v1"


def verify(package: bytes, trust: Trust = UNKNOWING, *, opa: str = "") -> Report:
    """Check a whole package.

    Raises:
        EvidenceError: something does not verify.
    """
    report = Report()
    files = read_package(package)
    try:
        _check(files, trust, report, opa)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        # Only who signs packages can bring it here, and to them it says as little as to anybody.
        raise EvidenceError(f"the package is not of the form that it says ({error!r})") from error
    return report


def _check(files: Mapping[str, bytes], trust: Trust, report: Report, opa: str) -> None:
    report.checks.append(f"{len(files)} files in a plain archive")
    manifest = manifest_of(files)
    known = known_keys(trust.evidence_key, trust.evidence_keys)
    own, evidence_key = _keys(manifest, trust, report)
    _check_statement(files, evidence_key)
    report.checks.append("the statement is signed, and every file is the one that it names")
    proved = read_events(files)
    events = [event for event, _ in proved]
    keys = LogKeys((read_note_key(trust.log_key or own),)).followed(rotations_in(events))
    if keys.current != read_note_key(own):
        raise EvidenceError("the package was made with another log key than the one you gave")
    size, root = _check_checkpoint(files, keys, trust, report)
    prove(proved, size, root)
    told = keys_told(handovers_in(events), evidence_key)
    turned = check_keys(evidence_key, told, known, size=size, proven=bool(trust.log_key))
    report.checks.append(f"{len(events)} events are in the log of {size} events, root {root.hex()}")
    for earlier, index in zip(keys.keys, keys.ends, strict=False):
        report.checks.append(f"the log's key {earlier.id.hex()} was followed by another in event {index}")
    report.checks += turned
    require_payloads(files, events)
    check_receipts([read_receipt(written, keys) for written in trust.receipts], events, size, report)
    decisions = decisions_in(files, events, report)
    bundles = {digest: read_bundle(files, digest) for digest in sorted({d["bundle_digest"] for d in decisions})}
    check_revisions(decisions, bundles)
    report.checks.append(
        f"{len(decisions)} decisions, each with the document it was made on and the policy of its commit "
        f"({len(bundles)} bundles)"
    )
    if opa:
        reproduce(files, decisions, bundles, opa=opa, report=report)


def check_proof(receipt: str, proof: str, log_key: str) -> Report:
    """Check that the log keeps what a receipt acknowledges, by a C2SP tlog-proof of that place.

    Raises:
        EvidenceError: it does not, or one of them is none.
    """
    keys, report = LogKeys((read_note_key(log_key),)), Report()
    acknowledged = read_receipt(receipt, keys)
    opening, _, note = proof.partition("\n\n")
    try:
        version, place, *hashes = opening.split("\n")
        index, path = decimal(place.removeprefix("index ")), [base64.b64decode(text, validate=True) for text in hashes]
    except ValueError as error:
        raise EvidenceError("the proof is no tlog-proof") from error
    if version != _PROOF or place != f"index {index}" or any(len(node) != HASH_BYTES for node in path):
        raise EvidenceError("the proof is no tlog-proof")
    size, root, _ = read_checkpoint(note, keys)
    if index != acknowledged.index:
        raise EvidenceError(f"the proof is about event {index}, the receipt about event {acknowledged.index}")
    if root_from(acknowledged.leaf, index, size, path) != root:
        raise EvidenceError(f"the log of {size} events does not hold the event {index} that it acknowledged")
    report.checks.append(f"event {index} is in the log of {size} events, as it was acknowledged")
    return report


def require_keys(log_key: str | None, evidence_key: str | None, witness_keys: Sequence[str]) -> None:
    """Refuse what was given as a key and is none: nothing that a file of that name did not hold counts as not given.

    Raises:
        EvidenceError: one is none; that says nothing of the package.
    """
    witnesses = (("--witness-key", key) for key in witness_keys)
    for option, text in (("--log-key", log_key), ("--evidence-key", evidence_key), *witnesses):
        if text is None:
            continue
        if not text.strip():
            raise EvidenceError(f"{option} is empty: give what stands in the key's file, or leave the option away")
        try:
            known_keys(text, None) if option == "--evidence-key" else read_note_key(text)
        except EvidenceError as error:
            raise EvidenceError(f"{option}: {error}") from error


def _keys(manifest: Mapping[str, Json], trust: Trust, report: Report) -> tuple[str, str]:
    """Return the log's key and the evidence key as the package says them."""
    own = manifest.get("keys")
    if not isinstance(own, dict):
        raise EvidenceError("the manifest names no keys")
    for given, name, option in (
        (trust.log_key, "log", "--log-key"),
        (trust.evidence_key or trust.evidence_keys is not None, "evidence", "--evidence-key"),
    ):
        if not given:
            report.remarks.append(
                f"the {name} key is the package's own word; give the one you know with {option} to prove whose it is"
            )
    if trust.evidence_key and trust.evidence_keys is None:
        report.remarks.append(
            "whether the evidence key was followed by another or revoked is known from the package only, and who stole"
            " it can leave that out; give what 'aisecops evidence keys' prints with --evidence-keys"
        )
    return str(own.get("log")), str(own.get("evidence"))


def _check_statement(files: Mapping[str, bytes], evidence_key: str) -> None:
    envelope = json_in(files, STATEMENT)
    try:
        payload = base64.b64decode(envelope["payload"], validate=True)
        kind = envelope["payloadType"]
        signatures = [base64.b64decode(item["sig"], validate=True) for item in envelope["signatures"]]
        public = bytes.fromhex(evidence_key)
    except (KeyError, TypeError, ValueError) as error:
        raise EvidenceError("the statement is no DSSE envelope") from error
    # The type is checked before anything that it would be read as.
    if kind != PAYLOAD_TYPE or len(signatures) != 1:
        raise EvidenceError("the statement is not an in-toto statement with one signature")
    message = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    require_signature(public, message, signatures[0], "the statement")
    statement = json.loads(payload)
    subject = [{"name": MANIFEST, "digest": {"sha256": sha256(files[MANIFEST])}}]
    if statement.get("_type") != STATEMENT_TYPE or statement.get("subject") != subject:
        raise EvidenceError("the statement is about another manifest")


def _check_checkpoint(files: Mapping[str, bytes], keys: LogKeys, trust: Trust, report: Report) -> tuple[int, bytes]:
    size, root, note = read_checkpoint(file_in(files, CHECKPOINT).decode(), keys)
    report.checks.append(f"the checkpoint is signed by {keys.current.name}")
    for witness in map(read_note_key, trust.witness_keys):
        at = witnessed_at(note, witness)
        report.checks.append(f"witness {witness.name} signed it too, at Unix time {at}")
    if not trust.witness_keys:
        report.remarks.append("no witness was asked for; a log that was rewritten with its own key is not found out")
    return size, root


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aisecops-verify", description="Verify an evidence package, or a receipt by a proof, offline."
    )
    parser.add_argument("package", type=Path, nargs="?", help="the package (.zip)")
    parser.add_argument("--log-key", help="the log's key, as you know it: name+id+key")
    parser.add_argument("--evidence-key", help="the key that signs packages, as you know it: 64 hex digits")
    parser.add_argument("--evidence-keys", type=Path, help="all keys that signed, by 'aisecops evidence keys'")
    parser.add_argument("--witness-key", action="append", default=[], help="a witness that must have signed")
    parser.add_argument("--receipt", action="append", default=[], type=Path, help="what the log gave when it recorded")
    parser.add_argument("--proof", type=Path, help="a tlog-proof of the receipt's event, in the place of a package")
    parser.add_argument("--reproduce", default="", metavar="OPA", help="decide everything again with this OPA binary")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify what the command line names; 0: it verifies, 9: it does not, 2: what is given cannot be read or used."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    parser = _arguments()
    given = parser.parse_args(arguments)
    if (given.package is None) == (given.proof is None) or (given.proof and not (given.receipt and given.log_key)):
        parser.error("name a package, or --proof with --receipt and --log-key")
    try:
        require_keys(given.log_key, given.evidence_key, given.witness_key)
    except EvidenceError as error:
        sys.stderr.write(f"aisecops-verify: {error}\n")
        return 2
    try:
        report = _asked(given)
    except FileNotFoundError as error:
        sys.stderr.write(f"aisecops-verify: there is no {error.filename}\n")
        return 2
    except (OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"aisecops-verify: {error}\n")
        return 2
    except EvidenceError as error:
        sys.stdout.write(f"✕ does not verify: {error}\n")
        return 9
    lines = [*(f"✓ {check}" for check in report.checks), *(f"! {remark}" for remark in report.remarks)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def _asked(given: argparse.Namespace) -> Report:
    receipts = [path.read_text("utf-8") for path in given.receipt]
    if given.proof:
        proof, report = given.proof.read_text("utf-8"), Report()
        for receipt in receipts:
            report.checks += check_proof(receipt, proof, given.log_key).checks
        return report
    history = given.evidence_keys.read_text("utf-8") if given.evidence_keys else None
    keys = given.log_key or "", given.evidence_key or ""
    trust = Trust(*keys, tuple(given.witness_key), tuple(receipts), history)
    return verify(given.package.read_bytes(), trust, opa=given.reproduce)


if __name__ == "__main__":
    sys.exit(main())
