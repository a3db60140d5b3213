"""Plan in, recorded decision out: the one path that Decide, DryRun, Session, batches and evaluation share.

Ordering rules:

1. A retry is answered from the log before anything else happens; an allow only while the policy that gave it is live.
2. The engine is taken once; its revision is the one that the verdict must carry.
3. The record is durable before the decision is returned. Without a record there is no answer.
4. Whatever goes wrong is itself recorded as a refusal, and then raised. Nothing here can turn it into an allow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aisecops_server.domain.canonical import JsonValue, digest
from aisecops_server.domain.decision import Decision, Mode, Outcome, Verdict, conclude
from aisecops_server.domain.decision_json import decision_details
from aisecops_server.domain.errors import (
    AisecopsError,
    EngineUnavailableError,
    IdempotencyConflictError,
    IntegrityError,
)
from aisecops_server.domain.event import Stage, make_event
from aisecops_server.domain.grounding import ground
from aisecops_server.domain.identity import Principal
from aisecops_server.domain.input_document import Circumstances, build
from aisecops_server.domain.plan import ExecutionPlan
from aisecops_server.domain.plan_builder import plan_hash
from aisecops_server.domain.provenance import TrustLevel
from aisecops_server.domain.record import DecisionRecord, Idempotency, Receipt, StoredDecision
from aisecops_server.domain.source_text import RecordReader, json_scalars
from aisecops_server.domain.timeline import decision_events
from aisecops_server.ports import Clock, EventLog, Ids, PolicyEngine

# Small enough that building one chunk overlaps with evaluating another, large enough to spread the fixed costs.
BATCH_CHUNK = 25
# Chunks of one batch that are under way at once: enough to overlap, few enough that others get their turns.
BATCH_LANES = 3
# Reading more than this takes so long that others would feel it; a thread does it, and they go on.
LONG_CHARACTERS = 32 * 1024


class EngineSource(Protocol):
    """Where decisions get their engine."""

    def current(self) -> PolicyEngine:
        """Return the engine of the live revision, or raise NoLiveRevisionError."""
        ...

    async def engine_at(self, revision: str) -> PolicyEngine:
        """Return an engine of any revision, or raise UnknownRevisionError or BundleRejectedError."""
        ...


@dataclass(frozen=True, slots=True)
class DecideCommand:
    """One plan to decide. ``revision`` is empty for the live one; another is for dry runs only."""

    principal: Principal
    plan: ExecutionPlan
    mode: Mode
    idempotency_key: str
    request_digest: str
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """A recorded decision: ``details`` are exactly what the log holds."""

    details: Mapping[str, JsonValue]
    receipt: Receipt

    @property
    def outcome(self) -> Outcome:
        """Return the concluded outcome."""
        return Outcome(str(self.details["outcome"]))


@dataclass(frozen=True, slots=True)
class _Prepared:
    command: DecideCommand
    document: bytes
    plan_hash: str
    decided_at_ns: int


@dataclass(frozen=True, slots=True)
class Decide:
    """Decides plans. It can touch an engine, the log, a clock and identifiers, and nothing else."""

    engines: EngineSource
    log: EventLog
    clock: Clock
    ids: Ids
    deadline_seconds: float
    read_records: RecordReader = json_scalars
    batch_chunk: int = BATCH_CHUNK

    async def __call__(self, command: DecideCommand) -> Decided:
        """Decide one plan and record it.

        Raises:
            IdempotencyConflictError: the key was used for another request, or for an allow under another policy.
            NoLiveRevisionError, EngineUnavailableError, NoDecisionError: nothing was decided.
            LogUnavailableError: the decision could not be recorded and was withheld.
        """
        if command.idempotency_key:
            stored = await self.log.replayed(command.principal.id, command.idempotency_key)
            if stored is not None:
                return self._retried(stored, command)
        prepared = await self._prepared(command)
        try:
            engine = await self._engine(command.revision)
            verdict = await engine.evaluate(prepared.document, deadline_seconds=self.deadline_seconds)
            record, details = self._conclude(prepared, engine, verdict)
        except AisecopsError as error:
            await self._record_refusal(prepared, error)
            raise
        except asyncio.CancelledError:
            # Who stops waiting was told nothing, but what they tried is on record.
            gone = EngineUnavailableError("the caller stopped waiting", why="deadline")
            await asyncio.shield(self._refused(prepared, gone))
            raise
        receipt = await self.log.append(record)
        return Decided(details, receipt) if not receipt.replayed else await self._winner(command)

    async def batch(self, commands: Sequence[DecideCommand]) -> list[Decided | AisecopsError]:
        """Decide many plans; results in their order, an error standing in for what could not be decided.

        Chunks overlap: while the engine evaluates one, the next is built.
        """
        chunks = [commands[at : at + self.batch_chunk] for at in range(0, len(commands), self.batch_chunk)]
        lanes, building = asyncio.Semaphore(BATCH_LANES), asyncio.Lock()

        async def in_lane(chunk: Sequence[DecideCommand]) -> list[Decided | AisecopsError]:
            async with lanes:
                return await self._chunk(chunk, building)

        return [result for chunk in await asyncio.gather(*map(in_lane, chunks)) for result in chunk]

    async def refuse(self, principal: Principal, error: AisecopsError, *, trace_id: str = "") -> None:
        """Record that a request was rejected before there was a plan to decide."""
        await self.log.append_event(
            make_event(
                id=self.ids.event_id(),
                trace_id=trace_id or self.ids.trace_id(),
                plan_id=self.ids.plan_id(),
                decision_id=self.ids.decision_id(),
                stage=Stage.PLAN_EXTRACTION,
                type="plan.rejected",
                occurred_at_ns=self.clock.now_ns(),
                details={
                    "principal": principal.id,
                    "outcome": Outcome.DENY.value,
                    "reason": error.reason,
                    "message": error.message,
                    "metadata": error.metadata(),
                },
            )
        )

    async def _chunk(self, commands: Sequence[DecideCommand], building: asyncio.Lock) -> list[Decided | AisecopsError]:
        if any(command.idempotency_key or command.revision for command in commands):
            return [await self._one(command) for command in commands]
        prepared = []
        # Lanes that built in turns would all reach the engine late and leave it idle until then.
        async with building:
            for command in commands:
                prepared.append(await self._prepared(command))
                await asyncio.sleep(0)
        try:
            engine = await self._engine("")
        except AisecopsError as error:
            return [await self._refused(item, error) for item in prepared]
        verdicts = await engine.evaluate_batch(
            [item.document for item in prepared], deadline_seconds=self.deadline_seconds * len(prepared)
        )
        return await self._record_all(prepared, engine, verdicts)

    async def _one(self, command: DecideCommand) -> Decided | AisecopsError:
        try:
            return await self(command)
        except AisecopsError as error:
            return error

    async def _record_all(
        self, prepared: Sequence[_Prepared], engine: PolicyEngine, verdicts: Sequence[Verdict | AisecopsError]
    ) -> list[Decided | AisecopsError]:
        results: list[Decided | AisecopsError | None] = [None] * len(prepared)
        waiting: list[tuple[int, DecisionRecord, Mapping[str, JsonValue]]] = []
        for at, (item, verdict) in enumerate(zip(prepared, verdicts, strict=True)):
            # Findings may be many; others get a turn.
            await asyncio.sleep(0)
            try:
                if isinstance(verdict, AisecopsError):
                    raise verdict
                waiting.append((at, *self._conclude(item, engine, verdict)))
            except AisecopsError as error:
                results[at] = await self._refused(item, error)
        receipts = await self.log.append_many([record for _, record, _ in waiting]) if waiting else []
        for (at, _, details), receipt in zip(waiting, receipts, strict=True):
            results[at] = receipt if isinstance(receipt, AisecopsError) else Decided(details, receipt)
        return [result for result in results if result is not None]

    async def _prepared(self, command: DecideCommand) -> _Prepared:
        if command.plan.characters > LONG_CHARACTERS:
            return await asyncio.to_thread(self._prepare, command)
        return self._prepare(command)

    def _prepare(self, command: DecideCommand) -> _Prepared:
        now = self.clock.now_ns()
        hashed = plan_hash(command.plan, command.principal.id)
        document = build(
            command.plan,
            plan_hash=hashed,
            grounding=ground(command.plan, self.read_records),
            circumstances=Circumstances(
                mode=command.mode,
                principal=command.principal,
                now_ns=now,
                session_calls=sum(past.observed for past in command.plan.history),
            ),
        )
        return _Prepared(command, document, hashed, now)

    async def _engine(self, revision: str) -> PolicyEngine:
        return await self.engines.engine_at(revision) if revision else self.engines.current()

    def _conclude(
        self, prepared: _Prepared, engine: PolicyEngine, verdict: Verdict
    ) -> tuple[DecisionRecord, Mapping[str, JsonValue]]:
        plan = prepared.command.plan
        conclusion = conclude(
            verdict, step_ids=[step.id for step in plan.steps], expected_revision=engine.bundle.revision
        )
        decision = Decision(
            id=self.ids.decision_id(),
            trace_id=plan.trace_id,
            plan_id=plan.id,
            session_id=plan.session_id,
            mode=prepared.command.mode,
            conclusion=conclusion,
            principal=prepared.command.principal,
            bundle_revision=verdict.revision,
            bundle_digest=engine.bundle.digest,
            engine_version=verdict.engine_version,
            document_digest=digest(prepared.document),
            plan_hash=prepared.plan_hash,
            decided_at_ns=prepared.decided_at_ns,
            evaluation_ns=verdict.evaluation_ns,
        )
        details = decision_details(decision, plan)
        return self._record(prepared, decision, details), details

    def _record(self, prepared: _Prepared, decision: Decision, details: Mapping[str, JsonValue]) -> DecisionRecord:
        command = prepared.command
        plan = command.plan
        return DecisionRecord(
            decision=decision,
            document=prepared.document,
            events=decision_events(decision, plan, details=details, next_id=self.ids.event_id),
            idempotency=(
                Idempotency(command.principal.id, command.idempotency_key, command.request_digest)
                if command.idempotency_key
                else None
            ),
            agent_id=command.principal.id,
            intent=plan.intent,
            tools=tuple(sorted({step.tool for step in plan.steps})),
            lowest_trust=_lowest_trust(decision).value,
        )

    def _retried(self, stored: StoredDecision, command: DecideCommand) -> Decided:
        decided = _as_retry(stored, command)
        if decided.outcome is Outcome.ALLOW and not command.revision:
            # An allow must not be put by for the day when policy has changed.
            live = self.engines.current().bundle.revision
            if live != decided.details["bundle_revision"]:
                raise IdempotencyConflictError(
                    "the policy changed since the plan of this key was allowed",
                    hint="Ask again with a fresh key",
                    key=command.idempotency_key,
                )
        return decided

    async def _winner(self, command: DecideCommand) -> Decided:
        # Another request with the same key was recorded between our look-up and our append: its answer counts.
        stored = await self.log.replayed(command.principal.id, command.idempotency_key)
        if stored is None:
            raise IntegrityError("the log acknowledged a retry of a decision that it does not hold")
        return _as_retry(stored, command)

    async def _refused(self, prepared: _Prepared, error: AisecopsError) -> AisecopsError:
        try:
            await self._record_refusal(prepared, error)
        except AisecopsError as unrecorded:
            return unrecorded
        return error

    async def _record_refusal(self, prepared: _Prepared, error: AisecopsError) -> None:
        plan = prepared.command.plan
        await self.log.append_event(
            make_event(
                id=self.ids.event_id(),
                trace_id=plan.trace_id,
                plan_id=plan.id,
                decision_id=self.ids.decision_id(),
                stage=Stage.OUTCOME,
                type="decision.refused",
                occurred_at_ns=prepared.decided_at_ns,
                details={
                    "principal": prepared.command.principal.id,
                    "outcome": Outcome.DENY.value,
                    "mode": prepared.command.mode.value,
                    "reason": error.reason,
                    "message": error.message,
                    "document_digest": digest(prepared.document),
                    "plan_hash": prepared.plan_hash,
                    "steps": [{"id": step.id, "tool": step.tool} for step in plan.steps],
                },
            )
        )


def _as_retry(stored: StoredDecision, command: DecideCommand) -> Decided:
    receipt = stored.receipt.for_retry(
        key=command.idempotency_key,
        request_digest=command.request_digest,
        stored_digest=stored.request_digest,
    )
    return Decided(stored.details, receipt)


def _lowest_trust(decision: Decision) -> TrustLevel:
    # A plan that names no source is as good as one from a source that nobody verified.
    levels = [source.trust for source in decision.conclusion.sources]
    return max(levels, key=lambda level: level.rank) if levels else TrustLevel.UNVERIFIED
