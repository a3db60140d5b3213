"""An evidence package: which files it has, what its manifest and its statement say, and how those are signed.

Owns the format ``aisecops-evidence/2``; ``clients/aisecops_verify`` reads it, and the one before it, without this
module. Same content, same bytes: nothing in a package depends on when or where it was made. Times are those of what was
recorded.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.compliance.compliance_page import page as compliance_page
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.evidence.evidence_views import Story, approvals_view, stories_view
from aisecops_server.domain.formats import dsse
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest

FORMAT = "aisecops-evidence/2"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://aisecops.example/attestation/evidence/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MANIFEST = "manifest.json"
STATEMENT = "statement.dsse.json"
CHECKPOINT = "checkpoint.note"
EVENTS = "events.ndjson"
PROOFS = "proofs.json"
PAYLOADS = "payloads.json"
SUMMARY = "summary.md"
PAGE = "summary.html"
APPROVALS, STORIES = "approvals.json", "traces.json"
COMPLIANCE = "compliance.json"
COMPLIANCE_PAGE = "compliance.html"
README = "README.md"

_README = """# Evidence package

`summary.html` is for reading; everything else is for checking. With Python and the package `cryptography`:

    pip install aisecops
    aisecops-verify PACKAGE --log-key KEY --evidence-key KEY --witness-key KEY --reproduce OPA

The verifier is also one file (`aisecops_verify/one_file.py`) that may be copied. Give it keys that you were given by
another way than this package. `--reproduce` makes every decision again with a stock Open Policy Agent.

| file | what it is |
| --- | --- |
| events.ndjson | the events, byte for byte as the log holds them, one a line |
| payloads.json | what each event commits to and can be erased, by log index; 32 bytes of salt, then JSON |
| proofs.json | where each stands in the log, and its audit path (RFC 6962) |
| checkpoint.note | the log's signed head, with the signatures of its witnesses (C2SP signed note) |
| documents/ | what each decision was made on, byte for byte; the name is the SHA-256 |
| compliance.json | what each policy commit maps to which framework, and what of it its scenarios show |
| compliance.html | the same, for reading |
| bundles/ | the policies that decided, as built from their commits; the name is the digest of the content |
| approvals.json | each request for approval with its votes, as signed, and how it ended |
| traces.json | each trace's execution graph, and where its own records disagree |
| manifest.json | the SHA-256 of every file, and the keys |
| statement.dsse.json | the signed statement about the manifest (in-toto, DSSE) |
"""


@dataclass(frozen=True, slots=True)
class EvidenceKeys:
    """The public keys that the package is checked with; ``log`` as ``name+id+key``, ``evidence`` in hexadecimal."""

    log: str
    evidence: str


@dataclass(frozen=True, slots=True)
class ProvedEvent:
    """An event and its audit path in the tree of the checkpoint."""

    stored: StoredEvent
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Collected:
    """What was collected for a package.

    Events stand in log order, and so do ``decisions``, the details of those of them that conclude one; documents and
    bundles are named by their digest. ``compliance`` are the reports on the commits that decided.
    """

    selection: Mapping[str, JsonValue]
    events: Sequence[ProvedEvent]
    decisions: Sequence[Mapping[str, JsonValue]]
    documents: Mapping[str, bytes]
    bundles: Mapping[str, bytes]
    checkpoint: str
    compliance: Sequence[Mapping[str, JsonValue]] = ()
    stories: Sequence[Story] = ()


def evidence_files(collected: Collected, *, summary: bytes, page: bytes) -> dict[str, bytes]:
    """Return the files of a package, without its manifest and statement."""
    proofs: list[JsonValue] = [
        {"index": proved.stored.index, "path": [node.hex() for node in proved.path]} for proved in collected.events
    ]
    payloads: dict[str, JsonValue] = {
        str(proved.stored.index): base64.b64encode(proved.stored.event.payload).decode()
        for proved in collected.events
        if proved.stored.event.payload
    }
    return {
        README: _README.encode(),
        SUMMARY: summary,
        PAGE: page,
        EVENTS: b"".join(proved.stored.event.body + b"\n" for proved in collected.events),
        PROOFS: canonical_bytes(proofs),
        PAYLOADS: canonical_bytes(payloads),
        CHECKPOINT: collected.checkpoint.encode(),
        APPROVALS: canonical_bytes(approvals_view(proved.stored for proved in collected.events)),
        STORIES: canonical_bytes(stories_view(collected.stories)),
        **_compliance(collected.compliance),
        **{f"documents/{name}.json": content for name, content in collected.documents.items()},
        **{f"bundles/{name}.tar.gz": content for name, content in collected.bundles.items()},
    }


def _compliance(reports: Sequence[Mapping[str, JsonValue]]) -> dict[str, bytes]:
    if not reports:
        return {}
    return {COMPLIANCE: canonical_bytes(list(reports)), COMPLIANCE_PAGE: compliance_page(reports).encode()}


def manifest_of(files: Mapping[str, bytes], collected: Collected, keys: EvidenceKeys) -> bytes:
    """Return the manifest: every file's digest, what was selected, and the keys."""
    return canonical_bytes(
        {
            "format": FORMAT,
            "selection": collected.selection,
            "events": len(collected.events),
            "keys": {"log": keys.log, "evidence": keys.evidence},
            "files": {name: digest(content) for name, content in files.items()},
        }
    )


def statement_of(manifest: bytes, collected: Collected) -> bytes:
    """Return the in-toto statement about ``manifest``."""
    return canonical_bytes(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": MANIFEST, "digest": {"sha256": digest(manifest)}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {"format": FORMAT, "selection": collected.selection, "events": len(collected.events)},
        }
    )


def signed_bytes(statement: bytes) -> bytes:
    """Return what is signed of a statement."""
    return dsse.signed_bytes(PAYLOAD_TYPE, statement)


def envelope_of(statement: bytes, *, signature: bytes, key_id: str) -> bytes:
    """Return the DSSE envelope of a signed statement."""
    return dsse.envelope_of(PAYLOAD_TYPE, statement, [dsse.Signature(key_id, signature)])
