"""The policies of a package, and every decision made again on a stock engine without network."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from aisecops_verify.package import EvidenceError, Json, Report, file_in, parsed, sha256

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
