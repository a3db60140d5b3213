"""Makes an evidence package of traces: what was recorded, what decided, and proof that nothing of it was changed since.

Reads the log and the built bundles; the export itself is recorded, with the digest of the package. What is selected is
complete per trace: every event that the log holds under its id.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.bundles.bundle import CommitId
from aisecops_server.domain.callers.identity import Principal
from aisecops_server.domain.errors import ContendedError, IntegrityError, InvalidRequestError, NotFoundError
from aisecops_server.domain.events.event import Stage, StoredEvent, make_event
from aisecops_server.domain.evidence.evidence import (
    MANIFEST,
    STATEMENT,
    Collected,
    EvidenceKeys,
    ProvedEvent,
    envelope_of,
    evidence_files,
    manifest_of,
    signed_bytes,
    statement_of,
)
from aisecops_server.domain.evidence.evidence_summary import markdown, page
from aisecops_server.domain.evidence.evidence_views import Story
from aisecops_server.domain.formats.canonical import JsonValue, digest
from aisecops_server.domain.formats.signed_note import Note
from aisecops_server.domain.log.checkpoint import read_checkpoint
from aisecops_server.domain.log.key_rotation import chain_of
from aisecops_server.domain.log.record import Receipt, StoredTrace, TraceFilter
from aisecops_server.domain.traces.trace_query import written_matches
from aisecops_server.ports import BundleBuilder, Clock, EventLog, Ids, Signer
from aisecops_server.ports.keys import SigningRing
from aisecops_server.usecases.evidence.investigate import Investigate
from aisecops_server.usecases.log.checkpoint import PublishCheckpoint
from aisecops_server.usecases.log.rotate_key import FollowKeys

MOST_TRACES = 5_000
MOST_BYTES = 256 * 1024 * 1024
# Reports on the commits that decided last; each takes all their scenarios.
MOST_REPORTS = 4
_PAGE = 500
_TRIES = 5

Pack = Callable[[Mapping[str, bytes]], bytes]
# What holds at a commit, as JSON.
Mapped = Callable[[str], Awaitable[Mapping[str, JsonValue]]]


@dataclass(frozen=True, slots=True)
class EvidenceRequest:
    """What to export: traces by id, or all that a filter finds."""

    trace_ids: Sequence[str] = ()
    narrow: TraceFilter | None = None


@dataclass(frozen=True, slots=True)
class EvidencePackage:
    """A package, its SHA-256, the key that signed it, and the receipt of the event that says that it was made."""

    content: bytes
    sha256: str
    traces: int
    events: int
    key: bytes
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class _Opening:
    """What a package is of: a checkpoint of the log, the key that signs packages as of it, and how it came to that."""

    note: Note
    size: int
    signer: Signer
    rotations: Sequence[StoredEvent]


@dataclass(frozen=True, slots=True)
class ExportEvidence:
    """Exports evidence packages. It reads the log and stored bundles, and records each export."""

    log: EventLog
    publish: PublishCheckpoint
    bundles: BundleBuilder
    keys: FollowKeys[SigningRing]
    clock: Clock
    ids: Ids
    pack: Pack
    tell: Investigate
    mapped: Mapped | None = None

    async def __call__(self, request: EvidenceRequest, *, principal: Principal) -> EvidencePackage:
        """Return the package of what ``request`` selects.

        Raises:
            InvalidRequestError: nothing or too much is selected.
            NotFoundError: a trace does not exist.
            IntegrityError: the log is sealed for another history, or a bundle is not there any more.
        """
        traces = await self._traces(request)
        opening = await self._opening()
        content, events = await self._package(request, traces, opening)
        sha256 = digest(content)
        receipt = await self._record(request, principal, sha256, traces)
        return EvidencePackage(content, sha256, len(traces), events, opening.signer.public_raw, receipt)

    async def _traces(self, request: EvidenceRequest) -> list[StoredTrace]:
        if bool(request.trace_ids) == (request.narrow is not None):
            raise InvalidRequestError(
                "name traces, or a filter, and not both", hint="Give trace ids or --since", field="trace_ids"
            )
        ids = list(dict.fromkeys(request.trace_ids)) or await self._found(request.narrow or TraceFilter())
        if not ids:
            raise NotFoundError("no trace matches", hint="'aisecops trace list' shows what there is", id="")
        if len(ids) > MOST_TRACES:
            raise _too_much(f"more than {MOST_TRACES} traces")
        return [await self.log.trace(trace_id) for trace_id in ids]

    async def _found(self, narrow: TraceFilter) -> list[str]:
        found: list[str] = []
        token = ""
        while len(found) <= MOST_TRACES:
            listed = await self.log.traces(narrow, page_size=_PAGE, page_token=token)
            found += [trace.trace_id for trace in listed.traces]
            token = listed.next_token
            if not token:
                break
        return found

    async def _opening(self) -> _Opening:
        """Return a checkpoint and the key that signs packages as of it, with all that lead to that key.

        Who knew an earlier key goes on from it, and a key that was replaced before the checkpoint signs none: what is
        signed with it and speaks of events behind its end is a forgery.

        Raises:
            SigningKeyMissingError: the key is not here.
            ContendedError: it changes all the time.
        """
        for _ in range(_TRIES):
            note = await self.publish()
            size = read_checkpoint(note.text).head.size
            told = [event for event in await self.keys.log.key_rotations(self.keys.use) if event.index < size]
            if chain_of(told, self.keys.verify, self.keys.use).number == self.keys.chain.number:
                return _Opening(note, size, self.keys.ring.signer, told)
            # Another one signs since, or is about to.
            await self.keys()
        raise ContendedError("the key of evidence packages is rotated all the time", hint="Export it in a moment")

    async def _package(
        self, request: EvidenceRequest, traces: Sequence[StoredTrace], opening: _Opening
    ) -> tuple[bytes, int]:
        size = opening.size
        decisions = sorted(
            (decision for trace in traces for decision in trace.decisions),
            key=lambda decision: decision.receipt.log_index,
        )
        # With the events that hand keys over, so that who knows an earlier key can go on from it.
        turned = [*await self.publish.log.rotations(), *opening.rotations]
        listed = [event for trace in traces for event in trace.events] + turned
        stored = sorted((event for event in listed if event.index < size), key=lambda event: event.index)
        collected = Collected(
            selection=_selection(request),
            events=[await self._proved(event, size) for event in stored],
            decisions=[decision.details for decision in decisions],
            documents={digest(decision.document): decision.document for decision in decisions if decision.document},
            bundles=await self._bundles(traces),
            checkpoint=opening.note.written(),
            compliance=await self._compliance(traces),
            stories=[self._story(trace) for trace in traces],
        )
        return self._signed(collected, opening.signer), len(stored)

    async def _proved(self, event: StoredEvent, size: int) -> ProvedEvent:
        return ProvedEvent(event, tuple(await self.publish.log.inclusion(event.index, size=size)))

    async def _bundles(self, traces: Sequence[StoredTrace]) -> dict[str, bytes]:
        named = {
            (str(decision.details["bundle_revision"]), str(decision.details["bundle_digest"]))
            for trace in traces
            for decision in trace.decisions
            if not decision.is_erased
        }
        found: dict[str, bytes] = {}
        for revision, wanted in sorted(named):
            bundle = await self.bundles.stored(CommitId(revision))
            if bundle is None or bundle.digest != wanted:
                raise IntegrityError(
                    f"the bundle {wanted[:12]} of commit {revision[:12]} is not there any more",
                    hint="Restore the state directory's bundles from a backup, or leave these traces out",
                )
            found[wanted] = bundle.archive.read_bytes()
        return found

    def _story(self, trace: StoredTrace) -> Story:
        trace_id = trace.summary.trace_id
        return Story(trace_id, self.tell.graph_of(trace), self.tell.diff_of(trace))

    async def _compliance(self, traces: Sequence[StoredTrace]) -> list[Mapping[str, JsonValue]]:
        decisions = (decision.details for trace in traces for decision in trace.decisions)
        last = {str(details["bundle_revision"]): str(details["decided_at_micros"]) for details in decisions}
        revisions = sorted(sorted(last, key=lambda revision: last[revision])[-MOST_REPORTS:])
        return [await self.mapped(revision) for revision in revisions] if self.mapped else []

    def _signed(self, collected: Collected, signer: Signer) -> bytes:
        files = evidence_files(collected, summary=markdown(collected), page=page(collected))
        if sum(map(len, files.values())) > MOST_BYTES:
            raise _too_much(f"more than {MOST_BYTES >> 20} MiB")
        public = signer.public_raw.hex()
        manifest = manifest_of(files, collected, EvidenceKeys(self.publish.keys.public.text(), public))
        statement = statement_of(manifest, collected)
        envelope = envelope_of(statement, signature=signer.sign(signed_bytes(statement)), key_id=public[:16])
        return self.pack({**files, MANIFEST: manifest, STATEMENT: envelope})

    async def _record(
        self, request: EvidenceRequest, principal: Principal, sha256: str, traces: Sequence[StoredTrace]
    ) -> Receipt:
        return await self.log.append_event(
            make_event(
                id=self.ids.event_id(),
                trace_id=self.ids.trace_id(),
                plan_id=self.ids.plan_id(),
                decision_id=self.ids.decision_id(),
                stage=Stage.RUNTIME_CONTROL,
                type="evidence.exported",
                occurred_at_ns=self.clock.now_ns(),
                details={
                    "principal": principal.id,
                    "package_sha256": sha256,
                    "selection": _selection(request),
                    "traces": len(traces),
                },
            )
        )


def _selection(request: EvidenceRequest) -> dict[str, JsonValue]:
    if request.narrow is None:
        return {"trace_ids": sorted(set(request.trace_ids))}
    chosen = request.narrow
    fields = ("agent_id", "outcome", "tool", "rule", "trust", "revision", "mode")
    return {
        **{name: getattr(chosen, name) for name in fields if getattr(chosen, name)},
        "from_micros": chosen.from_ns // 1000,
        "to_micros": chosen.to_ns // 1000,
        **({"without": [f"{name}:{value}" for name, value in chosen.without]} if chosen.without else {}),
        **({"query": [*beyond]} if (beyond := written_matches(chosen)) else {}),
    }


def _too_much(what: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"the selection holds {what}",
        hint="Narrow it by time, agent or outcome, and make several packages",
        field="filter",
    )
