"""An evidence package as a log that is only read: its events at the places that they have in the log it proves.

``open_package`` verifies the whole package first, by the same module that verifies it anywhere else; nothing of one that
does not verify is ever given. Everything is in memory, and nothing can be appended.
"""  # noqa: E501

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import orjson
from aisecops_verify import EvidenceError, Trust, read_package, verify
from aisecops_verify.reproduction import read_bundle

from aisecops_server.domain.bundles.bundle import RuleDoc
from aisecops_server.domain.decisions.decision import DecisionId
from aisecops_server.domain.errors import IntegrityError, InvalidRequestError, LogUnavailableError, NotFoundError
from aisecops_server.domain.events.event import CONCLUDED, Event, EventId, Stage, StoredEvent
from aisecops_server.domain.evidence.evidence import CHECKPOINT, EVENTS, MANIFEST, PAYLOADS, PROOFS
from aisecops_server.domain.formats.canonical import digest
from aisecops_server.domain.formats.signed_note import read_note
from aisecops_server.domain.log.checkpoint import proof_text, read_checkpoint
from aisecops_server.domain.log.merkle import leaf_hash
from aisecops_server.domain.log.record import (
    ChangeRecord,
    DecisionRecord,
    LogHead,
    LogReport,
    PlacedEvent,
    Receipt,
    StoredDecision,
    StoredTrace,
    TraceFilter,
    TracePage,
    TraceSummary,
    placed,
)
from aisecops_server.domain.policy.rule_text import rule_doc
from aisecops_server.domain.traces.trace_facets import TraceFacets, count, facets_of, fits, questions
from aisecops_server.domain.traces.trace_outline import TraceOutline, outline_of
from aisecops_server.domain.traces.trace_summary import joined, proven


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """What a package is: its SHA-256, its manifest, what was checked, and what the reader has to know about that."""

    sha256: str
    manifest: Mapping[str, Any]
    checks: Sequence[str]
    remarks: Sequence[str]


@dataclass(frozen=True)
class PackagePolicies:
    """The Rego of the bundles that decided, by their digest; ``commits`` are the digests of each commit's bundles."""

    bundles: Mapping[str, Mapping[str, str]]
    commits: Mapping[str, frozenset[str]]

    def rules(self, bundle: str) -> Mapping[str, RuleDoc]:
        """Return what the rules of a bundle say of themselves, by rule; nothing for one that is not here."""
        docs = (rule_doc(path, text) for path, text in self.bundles.get(bundle, {}).items())
        return {doc.rule: doc for doc in docs if doc}

    def file(self, commit: str, path: str) -> str:
        """Return a file of the policy of a commit.

        Raises:
            NotFoundError: the package does not have it, or has two that differ.
        """
        if commit not in self.commits:
            raise NotFoundError(
                f"the package holds no policy of commit {commit[:12]}",
                hint="It holds those of its decisions, without those whose words were erased",
                id=commit,
            )
        found = {self.bundles[bundle][path] for bundle in self.commits[commit] if path in self.bundles[bundle]}
        if len(found) != 1:
            why = (
                "holds two bundles of that commit, in which it differs" if found else "holds the Rego of a policy only"
            )
            raise NotFoundError(f"{path} cannot be shown: the package {why}", hint="Ask for its repository", id=path)
        return next(iter(found))


@dataclass(frozen=True)
class PackageLog:
    """Implements ``EventLog`` for reading. ``traces_by_id`` holds the traces that decided something, newest first."""

    facts: PackageFacts
    stored: Sequence[StoredEvent]
    decided: Mapping[str, StoredDecision]
    proofs: Mapping[int, str]
    size: LogHead
    policies: PackagePolicies
    traces_by_id: Mapping[str, StoredTrace] = field(default_factory=dict)

    async def trace(self, trace_id: str) -> StoredTrace:
        """Return everything that the package holds under one trace id."""
        found = self.traces_by_id.get(trace_id)
        if found is None:
            raise NotFoundError(
                f"the package holds no trace {trace_id}", hint="Begin at the list of traces", id=trace_id
            )
        return found

    async def outline(self, trace_id: str) -> TraceOutline:
        """Return what the rows of a trace say."""
        return outline_of(await self.trace(trace_id))

    async def event(self, trace_id: str, event_id: str) -> PlacedEvent:
        """Return one event of a trace that the package holds, with its decision."""
        return placed(await self.trace(trace_id), event_id)

    async def traces(self, narrow: TraceFilter, *, page_size: int, page_token: str) -> TracePage:
        """Return a page of traces, newest first; a token is how many stand before it."""
        if page_token and not (page_token.isascii() and page_token.isdigit() and len(page_token) < 10):  # noqa: PLR2004 - any count
            raise InvalidRequestError("page_token was not made by this list", field="page_token")
        begin = int(page_token or 0)
        found = self._matching(narrow)
        end = begin + page_size
        return TracePage(tuple(found[begin:end]), str(end) if end < len(found) else "")

    async def facets(self, narrow: TraceFilter, fields: Sequence[str]) -> TraceFacets:
        """Return how many traces match, and of each of ``fields`` how many have each value."""
        counted = [count(self._matching(one), of) for one, of in questions(narrow, fields)]
        return facets_of(counted, fields)

    def _matching(self, narrow: TraceFilter) -> list[TraceSummary]:
        return [one.summary for one in self.traces_by_id.values() if one.decisions and fits(one.summary, narrow)]

    async def decision(self, decision_id: str) -> StoredDecision:
        """Return one decision."""
        if decision_id not in self.decided:
            raise NotFoundError(f"the package holds no decision {decision_id}", id=decision_id)
        return self.decided[decision_id]

    async def events(self, *, from_index: int, follow: bool, trace_id: str) -> AsyncGenerator[StoredEvent, None]:  # noqa: ARG002
        """Yield the package's events in log order; none follow."""
        for stored in self.stored:
            if stored.index >= from_index and trace_id in ("", stored.event.trace_id):
                yield stored

    async def head(self) -> LogHead:
        """Return size and root of the log that the package's checkpoint is of."""
        return self.size

    async def replayed(self, principal_id: str, key: str) -> StoredDecision | None:  # noqa: ARG002
        """Return nothing: keys of retries are in no package."""
        return None

    async def verify(self, progress: Callable[[int, int], None] | None = None) -> LogReport:  # noqa: ARG002
        """Return what verifying the package found before it was opened."""
        return LogReport(self.size, self.size, "", None)

    @property
    def sealed(self) -> str:
        """Return why nothing is taken."""
        return "it is an evidence package"

    def seal(self, why: str) -> None:
        """Do nothing: it takes nothing anyway."""

    async def close(self) -> None:
        """Do nothing: there is nothing to finish."""

    async def append(self, record: DecisionRecord) -> Receipt:  # noqa: ARG002
        """Refuse."""
        _refuse()

    async def append_many(self, records: Sequence[DecisionRecord]) -> NoReturn:  # noqa: ARG002
        """Refuse."""
        _refuse()

    async def append_event(self, event: Event) -> Receipt:  # noqa: ARG002
        """Refuse."""
        _refuse()

    async def append_change(self, record: ChangeRecord) -> Receipt:  # noqa: ARG002
        """Refuse."""
        _refuse()


def open_package(
    package: bytes,
    *,
    log_key: str = "",
    evidence_key: str = "",
    witnesses: Sequence[str] = (),
    evidence_keys: str | None = None,
) -> PackageLog:
    """Verify a package and return it as a log.

    Raises:
        IntegrityError: something of it does not verify.
    """
    try:
        report = verify(package, Trust(log_key, evidence_key, tuple(witnesses), evidence_keys=evidence_keys))
        files = read_package(package)
    except EvidenceError as error:
        raise IntegrityError(
            f"the package does not verify: {error}", hint="Nothing of it is shown; ask for it again where it was made"
        ) from error
    facts = PackageFacts(digest(package), orjson.loads(files[MANIFEST]), report.checks, report.remarks)
    stored = _events(files)
    note = read_note(files[CHECKPOINT].decode())
    paths = {int(one["index"]): [bytes.fromhex(node) for node in one["path"]] for one in orjson.loads(files[PROOFS])}
    decided = [_decision(one, files) for one in stored if one.event.type == CONCLUDED]
    return PackageLog(
        facts=facts,
        stored=stored,
        decided={one.decision_id: one for one in decided},
        proofs={index: proof_text(index, path, note) for index, path in paths.items()},
        size=read_checkpoint(note.text).head,
        policies=_policies(decided, files),
        traces_by_id=_traces(stored, decided),
    )


def _policies(decided: Sequence[StoredDecision], files: Mapping[str, bytes]) -> PackagePolicies:
    commits: dict[str, set[str]] = {}
    for one in decided:
        bundle = str(one.details["bundle_digest"])
        if f"bundles/{bundle}.tar.gz" in files:
            commits.setdefault(str(one.details["bundle_revision"]), set()).add(bundle)
    bundles = {bundle: _rego(files, bundle) for found in commits.values() for bundle in found}
    return PackagePolicies(bundles, {commit: frozenset(found) for commit, found in commits.items()})


def _rego(files: Mapping[str, bytes], bundle: str) -> dict[str, str]:
    """Return the Rego of a bundle by the paths that it has in the policy repository."""
    return {
        f"rego/{path}": content.decode("utf-8", "replace")
        for path, content in read_bundle(files, bundle).items()
        if path.endswith(".rego")
    }


def _events(files: Mapping[str, bytes]) -> list[StoredEvent]:
    indexes = [int(proof["index"]) for proof in orjson.loads(files[PROOFS])]
    payloads = orjson.loads(files.get(PAYLOADS, b"{}"))
    found = []
    for index, body in zip(indexes, files[EVENTS].split(b"\n")[:-1], strict=True):
        told = orjson.loads(body)
        event = Event(
            id=EventId(told["event_id"]),
            trace_id=told["trace_id"],
            plan_id=told["plan_id"],
            decision_id=told["decision_id"],
            stage=Stage(told["stage"]),
            type=told["type"],
            occurred_at_ns=told["occurred_at_micros"] * 1000,
            body=body,
            payload=base64.b64decode(payloads.get(str(index), "")),
        )
        found.append(StoredEvent(event, index, leaf_hash(body)))
    return sorted(found, key=lambda stored: stored.index)


def _decision(stored: StoredEvent, files: Mapping[str, bytes]) -> StoredDecision:
    details = stored.event.details()
    document = files.get(f"documents/{details.get('document_digest', '')}.json", b"")
    receipt = Receipt(stored.event.id, stored.index, stored.leaf_hash)
    return StoredDecision(DecisionId(stored.event.decision_id), details, document, receipt, "")


def _traces(stored: Sequence[StoredEvent], decided: Sequence[StoredDecision]) -> dict[str, StoredTrace]:
    events: dict[str, list[StoredEvent]] = {}
    for one in stored:
        if one.event.trace_id:
            events.setdefault(one.event.trace_id, []).append(one)
    found = [
        StoredTrace(
            _summary(trace_id, listed),
            tuple(one for one in decided if one.details["trace_id"] == trace_id),
            tuple(listed),
        )
        for trace_id, listed in events.items()
    ]
    found.sort(key=lambda trace: trace.events[0].index, reverse=True)
    return {trace.summary.trace_id: trace for trace in found}


def _summary(trace_id: str, events: Sequence[StoredEvent]) -> TraceSummary:
    plans = {one.event.decision_id: one.event.details() for one in events if one.event.type == "plan.received"}
    summary: TraceSummary | None = None
    for one in events:
        if one.event.type != CONCLUDED:
            continue
        plan = {"intent": "", "steps": [], **plans.get(one.event.decision_id, {})}
        at = one.event.occurred_at_ns
        added = proven(one.event.details(), plan, trace_id=trace_id, occurred_at_ns=at)
        summary = joined(summary, added) if summary else added
    times = [one.event.occurred_at_ns for one in events]
    return summary or TraceSummary(trace_id, "", "", "", "", (), (), "", "", 0, min(times), max(times), ())


def _refuse() -> NoReturn:
    raise LogUnavailableError("an evidence package takes nothing", hint="It is only read")
