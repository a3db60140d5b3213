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

import argparse
import base64
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from aisecops_verify.evidence_keys import check_keys, handovers_in, keys_told, known_keys
from aisecops_verify.notes import (
    HASH_BYTES,
    LogKeys,
    NoteKey,
    read_checkpoint,
    read_note_key,
    read_receipt,
    require_signature,
    witnessed_at,
)
from aisecops_verify.package import (
    MANIFEST,
    STATEMENT,
    EvidenceError,
    Json,
    Report,
    Trust,
    decimal,
    file_in,
    json_in,
    manifest_of,
    read_package,
    sha256,
)
from aisecops_verify.record import (
    check_receipts,
    decisions_in,
    prove,
    read_events,
    require_payloads,
    root_from,
    rotations_in,
)
from aisecops_verify.reproduction import check_revisions, read_bundle, reproduce

__all__ = [
    "EvidenceError",
    "NoteKey",
    "Report",
    "Trust",
    "check_proof",
    "main",
    "read_note_key",
    "read_package",
    "require_keys",
    "verify",
]

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
