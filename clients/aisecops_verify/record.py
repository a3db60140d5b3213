"""The events of a package: each proved to be in the log, with the payload that it commits to or what erased it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from aisecops_verify.notes import Receipt
from aisecops_verify.package import EvidenceError, Json, Report, file_in, json_in, parsed, sha256, whole

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
