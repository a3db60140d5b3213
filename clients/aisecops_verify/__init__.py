"""Verifies an evidence package of AISecOps: one file, no server, no network, nothing but `cryptography`.

    python verify.py PACKAGE --log-key KEY --evidence-key KEY [--witness-key KEY] [--reproduce OPA]

Ordering rules: nothing inside the package is looked at before the archive is known to be a plain one; no file counts
before its digest stands in the manifest; the manifest counts because the statement that names it is signed. Keys that
come from the package itself prove only that it fits together, and the answer says so.

What it cannot show: that nothing was left out of the selection, and that what was recorded was true.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "aisecops-evidence/1"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MANIFEST, STATEMENT, CHECKPOINT, EVENTS, PROOFS = (
    "manifest.json",
    "statement.dsse.json",
    "checkpoint.note",
    "events.ndjson",
    "proofs.json",
)
MOST_BYTES = 1 << 30
MOST_FILES = 200_000
MOST_BUNDLE_BYTES = 128 * 1024 * 1024
_HASH_BYTES = 32
_CONCLUDED = "decision.concluded"
# What a re-run must give again; `trust` is told by the sources.
_CONCLUSION = ("outcome", "findings", "steps", "obligations", "trust", "risk_score_milli")
_BATCH = 100
_BATCH_SECONDS = 300

Json = Any


class EvidenceError(Exception):
    """The package does not verify; the message says where and why."""


@dataclass(frozen=True)
class Trust:
    """What the reader brings along: keys that were had from elsewhere. Empty ones are taken from the package."""

    log_key: str = ""
    evidence_key: str = ""
    witness_keys: Sequence[str] = ()


@dataclass
class Report:
    """What was checked, in order, and what the reader has to know about it."""

    checks: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def verify(package: bytes, trust: Trust = Trust(), *, opa: str = "") -> Report:
    """Check a whole package.

    Raises:
        EvidenceError: something does not verify.
    """
    report = Report()
    files = read_package(package)
    report.checks.append(f"{len(files)} files in a plain archive")
    manifest = _manifest(files)
    keys = _keys(manifest, trust, report)
    _statement(files, keys["evidence"])
    report.checks.append("the statement is signed, and every file is the one that it names")
    size, root = _checkpoint(files, keys, report)
    bodies = _events(files, size, root)
    report.checks.append(f"{len(bodies)} events are in the log of {size} events, root {root.hex()}")
    decisions = _decisions(files, bodies)
    bundles = {digest: _bundle(files, digest) for digest in sorted({d["bundle_digest"] for d in decisions})}
    _revisions(decisions, bundles)
    report.checks.append(
        f"{len(decisions)} decisions, each with the document it was made on and the policy of its commit "
        f"({len(bundles)} bundles)"
    )
    if opa:
        _reproduce(files, decisions, bundles, opa=opa, report=report)
    return report


# The archive


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


def _manifest(files: Mapping[str, bytes]) -> dict[str, Json]:
    manifest = _json(files, MANIFEST)
    if (
        not isinstance(manifest, dict)
        or manifest.get("format") != FORMAT
        or not isinstance(manifest.get("files"), dict)
    ):
        raise EvidenceError(f"the manifest is not of the format {FORMAT}")
    listed = cast("dict[str, str]", manifest["files"])
    if set(listed) != set(files) - {MANIFEST, STATEMENT}:
        odd = sorted(set(listed) ^ (set(files) - {MANIFEST, STATEMENT}))
        raise EvidenceError(f"the manifest and the archive differ: {odd[0]}")
    for name, wanted in listed.items():
        if _sha256(files[name]) != wanted:
            raise EvidenceError(f"{name} is not the file that the manifest names")
    return manifest


# Keys and signatures


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
        raise EvidenceError(f"{text[:60]!r} is no key") from error
    if not name or key.id.hex() != key_id or len(key.public) != _HASH_BYTES:
        raise EvidenceError(f"{text[:60]!r} is no key")
    return key


def _keys(manifest: Mapping[str, Json], trust: Trust, report: Report) -> dict[str, Json]:
    own = manifest.get("keys")
    if not isinstance(own, dict):
        raise EvidenceError("the manifest names no keys")
    for given, name, option in (
        (trust.log_key, "log", "--log-key"),
        (trust.evidence_key, "evidence", "--evidence-key"),
    ):
        if not given:
            report.remarks.append(
                f"the {name} key is the package's own word; give the one you know with {option} to prove whose it is"
            )
        elif given.strip() != own.get(name):
            raise EvidenceError(f"the package was made with another {name} key than the one you gave")
    return {
        "log": read_note_key(trust.log_key or str(own.get("log"))),
        "evidence": str(trust.evidence_key.strip() or own.get("evidence")),
        "witnesses": [read_note_key(text) for text in trust.witness_keys],
    }


def _verified(public: bytes, message: bytes, signature: bytes, what: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise EvidenceError(f"the signature of {what} does not verify") from error


def _statement(files: Mapping[str, bytes], evidence_key: str) -> None:
    envelope = _json(files, STATEMENT)
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
    _verified(public, message, signatures[0], "the statement")
    statement = json.loads(payload)
    subject = [{"name": MANIFEST, "digest": {"sha256": _sha256(files[MANIFEST])}}]
    if statement.get("_type") != STATEMENT_TYPE or statement.get("subject") != subject:
        raise EvidenceError("the statement is about another manifest")


def read_checkpoint(note: str, key: NoteKey) -> tuple[int, bytes, list[tuple[str, bytes, bytes]], str]:
    """Return size, root, signature lines and text of a checkpoint that the log's key signed.

    Raises:
        EvidenceError: it is none.
    """
    text, separator, below = note.rpartition("\n\n")
    text += "\n"
    lines = [line.split(" ") for line in below.split("\n")[:-1]]
    try:
        parsed = [(name, base64.b64decode(raw, validate=True)) for dash, name, raw in lines if dash == "—"]
        origin, size, root = text.split("\n")[:3]
        head = int(size), base64.b64decode(root, validate=True)
    except ValueError as error:
        raise EvidenceError("the checkpoint is no signed note of a log") from error
    signatures = [(name, raw[:4], raw[4:]) for name, raw in parsed]
    own = [signature for name, key_id, signature in signatures if (name, key_id) == (key.name, key.id)]
    if not separator or origin != key.name or len(head[1]) != _HASH_BYTES or not own:
        raise EvidenceError("the checkpoint is not one of the log's key")
    _verified(key.public, text.encode(), own[0], "the checkpoint")
    return head[0], head[1], signatures, text


def _checkpoint(files: Mapping[str, bytes], keys: Mapping[str, Json], report: Report) -> tuple[int, bytes]:
    note = _file(files, CHECKPOINT).decode()
    size, root, signatures, text = read_checkpoint(note, keys["log"])
    report.checks.append(f"the checkpoint is signed by {keys['log'].name}")
    for witness in keys["witnesses"]:
        found = [raw for name, key_id, raw in signatures if (name, key_id) == (witness.name, witness.id)]
        if not found:
            raise EvidenceError(f"witness {witness.name} did not sign the checkpoint")
        at = int.from_bytes(found[0][:8], "big")
        _verified(witness.public, f"cosignature/v1\ntime {at}\n{text}".encode(), found[0][8:], witness.name)
        report.checks.append(f"witness {witness.name} signed it too, at Unix time {at}")
    if not keys["witnesses"]:
        report.remarks.append("no witness was asked for; a log that was rewritten with its own key is not found out")
    return size, root


# Events, documents, bundles


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


def _events(files: Mapping[str, bytes], size: int, root: bytes) -> list[dict[str, Json]]:
    lines = _file(files, EVENTS).split(b"\n")[:-1]
    proofs = _json(files, PROOFS)
    if not isinstance(proofs, list) or len(proofs) != len(lines):
        raise EvidenceError("there is not one proof for each event")
    seen: set[int] = set()
    for body, proof in zip(lines, proofs, strict=True):
        try:
            index, path = int(proof["index"]), [bytes.fromhex(node) for node in proof["path"]]
        except (KeyError, TypeError, ValueError) as error:
            raise EvidenceError("a proof cannot be read") from error
        if index in seen or root_from(leaf_hash(body), index, size, path) != root:
            raise EvidenceError(f"event {index} is not in the log of the checkpoint, or stands in the package twice")
        seen.add(index)
    return [_parsed(body, "an event") for body in lines]


def _decisions(files: Mapping[str, bytes], bodies: Sequence[Mapping[str, Json]]) -> list[dict[str, Json]]:
    decisions = [cast("dict[str, Json]", body["details"]) for body in bodies if body["type"] == _CONCLUDED]
    for decision in decisions:
        digest = decision["document_digest"]
        if _sha256(_file(files, f"documents/{digest}.json")) != digest:
            raise EvidenceError(f"the document {digest} is not the one that was decided on")
    return decisions


def _bundle(files: Mapping[str, bytes], digest: str) -> dict[str, bytes]:
    """Return the files of a bundle whose content has that digest; links, strange names and bombs are refused."""
    found: dict[str, bytes] = {}
    try:
        raw = gzip.GzipFile(fileobj=io.BytesIO(_file(files, f"bundles/{digest}.tar.gz"))).read(MOST_BUNDLE_BYTES + 1)
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
        hashed.update(f"{_sha256(found[path])}  {path}\n".encode())
    if len(raw) > MOST_BUNDLE_BYTES or hashed.hexdigest() != digest:
        raise EvidenceError(f"bundle {digest} has other content than its digest says")
    return found


def _revisions(decisions: Sequence[Mapping[str, Json]], bundles: Mapping[str, Mapping[str, bytes]]) -> None:
    for decision in decisions:
        revision = _parsed(bundles[decision["bundle_digest"]].get(".manifest", b""), "a bundle manifest").get(
            "revision"
        )
        if revision != decision["bundle_revision"]:
            raise EvidenceError(f"decision {decision['decision_id']} names another commit than its bundle")


# Deciding again


def _reproduce(
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
    answer = _parsed(
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


def _file(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        raise EvidenceError(f"the package has no {name}")
    return files[name]


def _json(files: Mapping[str, bytes], name: str) -> Json:
    return _parsed(_file(files, name), name)


def _parsed(data: bytes, what: str) -> Json:
    try:
        return json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"{what} is not JSON") from error


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aisecops-verify", description="Verify an evidence package, offline.")
    parser.add_argument("package", type=Path, help="the package (.zip)")
    parser.add_argument("--log-key", default="", help="the log's key, as you know it: name+id+key")
    parser.add_argument("--evidence-key", default="", help="the key that signs packages, as you know it: 64 hex digits")
    parser.add_argument("--witness-key", action="append", default=[], help="a witness that must have signed")
    parser.add_argument("--reproduce", default="", metavar="OPA", help="decide everything again with this OPA binary")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify the package that the command line names; 0: it verifies, 9: it does not, 2: it cannot be read."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    given = _arguments().parse_args(arguments)
    try:
        report = verify(
            given.package.read_bytes(),
            Trust(given.log_key, given.evidence_key, tuple(given.witness_key)),
            opa=given.reproduce,
        )
    except OSError as error:
        sys.stderr.write(f"{given.package}: {error.strerror}\n")
        return 2
    except EvidenceError as error:
        sys.stdout.write(f"✕ does not verify: {error}\n")
        return 9
    lines = [*(f"✓ {check}" for check in report.checks), *(f"! {remark}" for remark in report.remarks)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
