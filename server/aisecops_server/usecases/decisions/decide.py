"""Plan in, recorded decision out: the one path that Decide, DryRun, Session, batches and evaluation share.

Ordering rules:

1. A retry is answered from the log before anything else happens; an allow only while the policy that gave it is live.
2. The engine is taken once an attempt; its revision is the one that the verdict must carry.
3. What runtime controls know is gathered before policy is asked, and what they change is stored with the record. If
   somebody was faster, everything from 2 on is done again, a few times at most; only what counted is on record.
4. The record is durable before the decision is returned. Without a record there is no answer.
5. Whatever goes wrong is itself recorded as a refusal, and then raised. Nothing here can turn it into an allow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from aisecops_server.domain.budgets.budget import Usage
from aisecops_server.domain.callers.identity import DEFAULT_TENANT, Principal
from aisecops_server.domain.decisions.decision import Decision, Mode, Outcome, Verdict, conclude
from aisecops_server.domain.decisions.decision_json import decision_details
from aisecops_server.domain.decisions.timeline import decision_events
from aisecops_server.domain.decisions.usage import standings
from aisecops_server.domain.documents.input_document import Circumstances, build
from aisecops_server.domain.errors import (
    AisecopsError,
    ContendedError,
    EngineUnavailableError,
    IdempotencyConflictError,
    IntegrityError,
    LogUnavailableError,
)
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.events.event import Stage, make_event
from aisecops_server.domain.formats.canonical import JsonValue, digest
from aisecops_server.domain.grounding.grounding import Grounding, ground
from aisecops_server.domain.grounding.source_text import RecordReader, json_scalars
from aisecops_server.domain.log.record import DecisionRecord, Idempotency, Receipt, StoredDecision
from aisecops_server.domain.log.trace_figures import effects_of
from aisecops_server.domain.plans.plan import ExecutionPlan
from aisecops_server.domain.plans.plan_builder import plan_hash
from aisecops_server.ports import Clock, EventLog, Ids, PolicyEngine
from aisecops_server.ports.rollout import NO_ROLLOUT, Companion
from aisecops_server.usecases.decisions.controls import Asked, Commitment, Control, committed, gathered
from aisecops_server.usecases.decisions.turns import Turns

# Small enough that building one chunk overlaps with evaluating another, large enough to spread the fixed costs.
BATCH_CHUNK = 25
# Chunks of one batch that are under way at once: enough to overlap, few enough that others get their turns.
BATCH_LANES = 3
# Reading more than this takes so long that others would feel it; a thread does it, and they go on.
LONG_CHARACTERS = 32 * 1024
# How often one plan is decided before others, who took first what it needs, are let have it.
MOST_ATTEMPTS = 3
_T = TypeVar("_T")
_Judged = tuple[DecisionRecord, Mapping[str, JsonValue]]


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
    """One plan to decide. ``revision`` is empty for the live one; another is for dry runs only.

    ``approval_id`` names the approval that people gave for it, if any. With a ``redemption_key`` the caller calls right
    away, and grants that nothing has to precede are used up with the decision.
    """

    principal: Principal
    plan: ExecutionPlan
    mode: Mode
    idempotency_key: str
    request_digest: str
    revision: str = ""
    approval_id: str = ""
    redemption_key: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """A recorded decision: ``details`` are exactly what the log holds, ``changes`` what it changed just now.

    ``redeems`` says of a retry that its request used grants up.
    """

    details: Mapping[str, JsonValue]
    receipt: Receipt
    changes: tuple[Change, ...] = ()
    redeems: bool = False

    @property
    def outcome(self) -> Outcome:
        """Return the concluded outcome."""
        return Outcome(str(self.details["outcome"]))


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is known of a plan whoever decides it and whenever."""

    command: DecideCommand
    plan_hash: str
    grounding: Grounding
    read_at_ns: int


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One attempt: what is asked, of which engine, with which document."""

    reading: _Reading
    asked: Asked
    engine: PolicyEngine
    document: bytes
    usage: Usage


@dataclass(frozen=True, slots=True)
class Decide:
    """Decides plans. It can touch an engine, the log, controls, a clock and identifiers, and nothing else."""

    engines: EngineSource
    log: EventLog
    clock: Clock
    ids: Ids
    deadline_seconds: float
    read_records: RecordReader = json_scalars
    batch_chunk: int = BATCH_CHUNK
    controls: Sequence[Control] = ()
    rollout: Companion = NO_ROLLOUT
    tenant: str = DEFAULT_TENANT

    async def __call__(self, command: DecideCommand) -> Decided:
        """Decide one plan and record it.

        Raises:
            IdempotencyConflictError: the key was used for another request, or for an allow under another policy.
            NoLiveRevisionError, EngineUnavailableError, NoDecisionError: nothing was decided.
            ContendedError: others took, time and again, what policy was told is there.
            LogUnavailableError: the decision could not be recorded and was withheld.
        """
        if command.idempotency_key:
            stored = await self.log.replayed(command.principal.id, command.idempotency_key)
            if stored is not None:
                return self._retried(stored, command)
        return await self._decided(await self._read(command), MOST_ATTEMPTS)

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
                    "tenant": self.tenant,
                    "principal": principal.id,
                    "outcome": Outcome.DENY.value,
                    "reason": error.reason,
                    "message": error.message,
                    "metadata": error.metadata(),
                },
            )
        )

    async def _decided(self, reading: _Reading, attempts: int) -> Decided:
        record, details = await self._judged(reading)
        try:
            receipt = await self.log.append(record)
        except (LogUnavailableError, IdempotencyConflictError):
            raise
        except AisecopsError as error:
            self.rollout.contended(error)
            if isinstance(error, ContendedError) and attempts > 1:
                return await self._decided(reading, attempts - 1)
            await self._record_refusal(reading, error)
            raise
        if receipt.replayed:
            return await self._winner(reading.command)
        self.rollout.decided(record, details)
        return Decided(details, receipt, record.changes)

    async def _judged(self, reading: _Reading) -> tuple[DecisionRecord, Mapping[str, JsonValue]]:
        prepared = None
        try:
            engine = await self._engine(reading.command)
            prepared = await self._prepared(reading, engine)
            verdict = await engine.evaluate(prepared.document, deadline_seconds=self.deadline_seconds)
            return await self._conclude(prepared, verdict)
        except AisecopsError as error:
            if prepared:
                self.rollout.failed(prepared.engine.bundle, error)
            await self._record_refusal(reading, error, prepared)
            raise
        except asyncio.CancelledError:
            # Who stops waiting was told nothing, but what they tried is on record.
            gone = EngineUnavailableError("the caller stopped waiting", why="deadline")
            await asyncio.shield(self._refused(reading, gone, prepared))
            raise

    async def _chunk(self, commands: Sequence[DecideCommand], building: asyncio.Lock) -> list[Decided | AisecopsError]:
        if any(command.idempotency_key or command.revision for command in commands):
            return [await self._one(command) for command in commands]
        results: dict[int, Decided | AisecopsError] = {}
        prepared: dict[int, _Prepared] = {}
        turns = Turns()
        # Lanes that built in turns would all reach the engine late and leave it idle until then.
        async with building:
            for at, command in enumerate(commands):
                reading = await self._read(command)
                try:
                    prepared[at] = await self._prepared(reading, await self._engine(command))
                except AisecopsError as error:
                    results[at] = await self._refused(reading, error)
                await turns.after(command.plan.characters)
        # Mostly it is one; in the canary of a rollout there are two.
        for engine in {id(item.engine): item.engine for item in prepared.values()}.values():
            own = {at: item for at, item in prepared.items() if item.engine is engine}
            results |= await self._evaluated(own, engine)
        return [results[at] for at in range(len(commands))]

    async def _one(self, command: DecideCommand) -> Decided | AisecopsError:
        try:
            return await self(command)
        except AisecopsError as error:
            return error

    async def _again(self, reading: _Reading) -> Decided | AisecopsError:
        try:
            return await self._decided(reading, MOST_ATTEMPTS - 1)
        except AisecopsError as error:
            return error

    async def _evaluated(
        self, prepared: Mapping[int, _Prepared], engine: PolicyEngine
    ) -> dict[int, Decided | AisecopsError]:
        documents = [item.document for item in prepared.values()]
        verdicts = await engine.evaluate_batch(documents, deadline_seconds=self.deadline_seconds * len(documents))
        results: dict[int, Decided | AisecopsError] = {}
        waiting: dict[int, tuple[DecisionRecord, Mapping[str, JsonValue]]] = {}
        turns = Turns()
        for (at, item), verdict in zip(prepared.items(), verdicts, strict=True):
            # Findings may be many, and grow with the document.
            await turns.after(len(item.document))
            try:
                if isinstance(verdict, AisecopsError):
                    raise verdict
                waiting[at] = await self._conclude(item, verdict)
            except AisecopsError as error:
                self.rollout.failed(engine.bundle, error)
                results[at] = await self._refused(item.reading, error, item)
        receipts = await self.log.append_many([record for record, _ in waiting.values()]) if waiting else []
        for (at, judged), receipt in zip(waiting.items(), receipts, strict=True):
            results[at] = await self._stored(prepared[at], judged, receipt)
        return results

    async def _stored(
        self,
        prepared: _Prepared,
        judged: _Judged,
        receipt: Receipt | AisecopsError,
    ) -> Decided | AisecopsError:
        if isinstance(receipt, Receipt):
            record, details = judged
            self.rollout.decided(record, details)
            return Decided(details, receipt, record.changes)
        self.rollout.contended(receipt)
        if isinstance(receipt, ContendedError):
            return await self._again(prepared.reading)
        if isinstance(receipt, LogUnavailableError):
            return receipt
        return await self._refused(prepared.reading, receipt, prepared)

    async def _read(self, command: DecideCommand) -> _Reading:
        return await _apart(command.plan, lambda: self._ground(command))

    def _ground(self, command: DecideCommand) -> _Reading:
        hashed = plan_hash(command.plan, command.principal.id)
        return _Reading(command, hashed, ground(command.plan, self.read_records), self.clock.now_ns())

    async def _prepared(self, reading: _Reading, engine: PolicyEngine) -> _Prepared:
        command = reading.command
        now = self.clock.now_ns()
        asked = Asked(
            principal=command.principal,
            plan=command.plan,
            plan_hash=reading.plan_hash,
            mode=command.mode,
            now_ns=now,
            bundle=engine.bundle,
            approval_id=command.approval_id,
            redemption_key=command.redemption_key,
        )
        known = Circumstances(
            mode=command.mode,
            principal=command.principal,
            now_ns=now,
            session_calls=sum(past.observed for past in command.plan.history),
            salt=self.ids.nonce(),
        )
        circumstances = await gathered(self.controls, asked, known)
        document = await _apart(
            command.plan,
            lambda: build(
                command.plan,
                plan_hash=reading.plan_hash,
                grounding=reading.grounding,
                circumstances=circumstances,
            ),
        )
        return _Prepared(reading, asked, engine, document, circumstances.usage)

    async def _engine(self, command: DecideCommand) -> PolicyEngine:
        if command.revision:
            return await self.engines.engine_at(command.revision)
        return self._serving(command.principal.id)

    def _serving(self, agent_id: str) -> PolicyEngine:
        return self.rollout.engine_for(agent_id) or self.engines.current()

    async def _conclude(self, prepared: _Prepared, verdict: Verdict) -> tuple[DecisionRecord, Mapping[str, JsonValue]]:
        asked, bundle = prepared.asked, prepared.engine.bundle
        plan = asked.plan
        conclusion = conclude(verdict, step_ids=[step.id for step in plan.steps], expected_revision=bundle.revision)
        decision = asked.decided(conclusion, verdict, prepared.document, id=self.ids.decision_id(), tenant=self.tenant)
        commitment = await committed(self.controls, asked, decision)
        budgets = standings(conclusion.charges, prepared.usage, now_seconds=asked.now_ns // 1_000_000_000)
        effects = effects_of((step.tool for step in plan.steps), bundle.tables)
        details = {**decision_details(decision, plan), "budgets": budgets, "effects": effects, **commitment.details}
        return self._record(prepared, decision, details, commitment), details

    def _record(
        self, prepared: _Prepared, decision: Decision, details: Mapping[str, JsonValue], commitment: Commitment
    ) -> DecisionRecord:
        command = prepared.reading.command
        plan = command.plan
        # Who names a revision asks it, whatever is rolled out.
        required = () if command.revision else self.rollout.required(prepared.engine.bundle)
        return DecisionRecord(
            decision=decision,
            document=prepared.document,
            events=decision_events(decision, plan, details=details, told=commitment.events, next_id=self.ids.event_id),
            idempotency=(
                Idempotency(command.principal.id, command.idempotency_key, command.request_digest)
                if command.idempotency_key
                else None
            ),
            agent_id=command.principal.id,
            intent=plan.intent,
            tools=tuple(sorted({step.tool for step in plan.steps})),
            lowest_trust=decision.conclusion.lowest_trust.value,
            changes=(*required, *commitment.changes),
        )

    def _retried(self, stored: StoredDecision, command: DecideCommand) -> Decided:
        decided = _as_retry(stored, command)
        if decided.outcome is Outcome.ALLOW and not command.revision:
            # An allow must not be put by for the day when policy has changed.
            live = self._serving(command.principal.id).bundle.revision
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

    async def _refused(
        self, reading: _Reading, error: AisecopsError, prepared: _Prepared | None = None
    ) -> AisecopsError:
        try:
            await self._record_refusal(reading, error, prepared)
        except AisecopsError as unrecorded:
            return unrecorded
        return error

    async def _record_refusal(self, reading: _Reading, error: AisecopsError, prepared: _Prepared | None = None) -> None:
        plan, principal = reading.command.plan, reading.command.principal
        await self.log.append_event(
            make_event(
                id=self.ids.event_id(),
                trace_id=plan.trace_id,
                plan_id=plan.id,
                decision_id=self.ids.decision_id(),
                stage=Stage.OUTCOME,
                type="decision.refused",
                occurred_at_ns=prepared.asked.now_ns if prepared else reading.read_at_ns,
                details={
                    "tenant": self.tenant,
                    "principal": principal.id,
                    "outcome": Outcome.DENY.value,
                    "mode": reading.command.mode.value,
                    "reason": error.reason,
                    "message": error.message,
                    "metadata": error.metadata(),
                    # Empty when it was refused before there was one.
                    "document_digest": digest(prepared.document) if prepared else "",
                    "plan_hash": reading.plan_hash,
                    "steps": [{"id": step.id, "tool": step.tool} for step in plan.steps],
                },
            )
        )


async def _apart(plan: ExecutionPlan, work: Callable[[], _T]) -> _T:
    """Return what ``work`` on ``plan`` gives; where that takes long, others go on meanwhile."""
    return await asyncio.to_thread(work) if plan.characters > LONG_CHARACTERS else work()


def _as_retry(stored: StoredDecision, command: DecideCommand) -> Decided:
    receipt = stored.receipt.for_retry(
        key=command.idempotency_key,
        request_digest=command.request_digest,
        stored_digest=stored.request_digest,
    )
    return Decided(stored.details, receipt, redeems=bool(command.redemption_key))
