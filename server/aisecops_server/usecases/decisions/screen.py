"""Text in, recorded decision out: what is checked before a model is called, and after.

The same discipline as for plans: the engine's revision must be the one that was asked, the record is durable before
the decision is returned, and whatever goes wrong is recorded as a refusal and raised. Nothing here can turn it into
an allow. The text itself is not recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.callers.identity import DEFAULT_TENANT, Principal
from aisecops_server.domain.decisions.decision import Decision, Mode, Outcome, Verdict, conclude
from aisecops_server.domain.decisions.timeline import screening_events
from aisecops_server.domain.documents.input_document import Circumstances
from aisecops_server.domain.errors import AisecopsError, ContendedError, EngineUnavailableError, LogUnavailableError
from aisecops_server.domain.events.event import Stage, make_event
from aisecops_server.domain.formats.canonical import JsonValue, digest
from aisecops_server.domain.log.record import DecisionRecord, Receipt
from aisecops_server.domain.plans.plan import StepId
from aisecops_server.domain.screening.screen_document import build_screen_document, screen_hash
from aisecops_server.domain.screening.screen_json import as_sources, received_part, screening_details, usable_texts
from aisecops_server.domain.screening.text_parts import ReadPart, Screening, read_part
from aisecops_server.ports import Clock, EventLog, Ids, PolicyEngine
from aisecops_server.ports.rollout import NO_ROLLOUT, Companion
from aisecops_server.usecases.decisions.controls import Asked, Commitment, Control, committed, gathered
from aisecops_server.usecases.decisions.decide import MOST_ATTEMPTS, EngineSource

# Reading more than this takes so long that others would feel it; a thread does it, and they go on.
LONG_CHARACTERS = 16 * 1024


@dataclass(frozen=True, slots=True)
class ScreenCommand:
    """Texts to screen, and who asks; ``approval_id`` names the review that they come with, if any."""

    principal: Principal
    screening: Screening
    approval_id: str = ""


@dataclass(frozen=True, slots=True)
class Screened:
    """A recorded decision about texts: ``details`` are exactly what the log holds, ``texts`` are what may be used."""

    details: Mapping[str, JsonValue]
    receipt: Receipt
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is known of texts whoever judges them and whenever."""

    command: ScreenCommand
    parts: tuple[ReadPart, ...]
    hash: str
    read_at_ns: int

    @property
    def received(self) -> dict[str, JsonValue]:
        """Return what is told of the texts themselves."""
        return {
            "direction": self.command.screening.direction.value,
            "parts": [received_part(read) for read in self.parts],
        }


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One attempt: what is asked, of which engine, with which document."""

    reading: _Reading
    asked: Asked
    engine: PolicyEngine
    document: bytes


@dataclass(frozen=True, slots=True)
class Screen:
    """Screens texts. It can touch an engine, the log, controls, a clock and identifiers, and nothing else.

    ``controls`` see the texts as a plan without steps.
    """

    engines: EngineSource
    log: EventLog
    clock: Clock
    ids: Ids
    deadline_seconds: float
    controls: Sequence[Control] = ()
    rollout: Companion = NO_ROLLOUT
    tenant: str = DEFAULT_TENANT

    async def __call__(self, command: ScreenCommand) -> Screened:
        """Screen texts and record what was decided.

        Raises:
            NoLiveRevisionError, EngineUnavailableError, NoDecisionError: nothing was decided.
            ContendedError: others took, time and again, what policy was told is there.
            LogUnavailableError: the decision could not be recorded and was withheld.
        """
        return await self._screened(await self._read(command), MOST_ATTEMPTS)

    async def _screened(self, reading: _Reading, attempts: int) -> Screened:
        record, details, texts = await self._judged(reading)
        try:
            receipt = await self.log.append(record)
        except LogUnavailableError:
            raise
        except AisecopsError as error:
            self.rollout.contended(error)
            if isinstance(error, ContendedError) and attempts > 1:
                return await self._screened(reading, attempts - 1)
            await self._record_refusal(reading, error)
            raise
        self.rollout.decided(record, details)
        return Screened(details, receipt, texts)

    async def _judged(self, reading: _Reading) -> tuple[DecisionRecord, Mapping[str, JsonValue], Mapping[str, str]]:
        prepared = None
        try:
            engine = self.rollout.engine_for(reading.command.principal.id) or self.engines.current()
            prepared = await self._prepared(reading, engine)
            verdict = await prepared.engine.evaluate(prepared.document, deadline_seconds=self.deadline_seconds)
            return await self._concluded(prepared, verdict)
        except AisecopsError as error:
            if prepared:
                self.rollout.failed(prepared.engine.bundle, error)
            await self._record_refusal(reading, error, prepared)
            raise
        except asyncio.CancelledError:
            # Who stops waiting was told nothing, but what they tried is on record.
            gone = EngineUnavailableError("the caller stopped waiting", why="deadline")
            await asyncio.shield(self._record_refusal(reading, gone, prepared))
            raise

    async def refuse(self, principal: Principal, error: AisecopsError, *, trace_id: str = "") -> None:
        """Record that a request was rejected before there was a text to screen."""
        await self.log.append_event(
            make_event(
                id=self.ids.event_id(),
                trace_id=trace_id or self.ids.trace_id(),
                plan_id="",
                decision_id=self.ids.decision_id(),
                stage=Stage.PLAN_EXTRACTION,
                type="text.rejected",
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

    async def _read(self, command: ScreenCommand) -> _Reading:
        if command.screening.characters > LONG_CHARACTERS:
            return await asyncio.to_thread(self._see, command)
        return self._see(command)

    def _see(self, command: ScreenCommand) -> _Reading:
        parts = tuple(read_part(part) for part in command.screening.parts)
        hashed = screen_hash(command.screening, parts, command.principal.id)
        return _Reading(command, parts, hashed, self.clock.now_ns())

    async def _prepared(self, reading: _Reading, engine: PolicyEngine) -> _Prepared:
        command, now = reading.command, self.clock.now_ns()
        asked = Asked(
            principal=command.principal,
            plan=as_sources(command.screening, reading.parts),
            plan_hash=reading.hash,
            mode=Mode.ENFORCE,
            now_ns=now,
            bundle=engine.bundle,
            approval_id=command.approval_id,
        )
        known = Circumstances(mode=Mode.ENFORCE, principal=command.principal, now_ns=now, salt=self.ids.nonce())
        circumstances = await gathered(self.controls, asked, known)
        document = build_screen_document(
            command.screening, reading.parts, hash=reading.hash, circumstances=circumstances
        )
        return _Prepared(reading, asked, engine, document)

    async def _concluded(
        self, prepared: _Prepared, verdict: Verdict
    ) -> tuple[DecisionRecord, Mapping[str, JsonValue], Mapping[str, str]]:
        asked, bundle, screening = prepared.asked, prepared.engine.bundle, prepared.reading.command.screening
        conclusion = conclude(
            verdict, step_ids=[StepId(part.id) for part in screening.parts], expected_revision=bundle.revision
        )
        texts = usable_texts(conclusion, screening)
        decision = asked.decided(conclusion, verdict, prepared.document, id=self.ids.decision_id(), tenant=self.tenant)
        commitment = await committed(self.controls, asked, decision)
        details = {**screening_details(decision, screening, prepared.reading.parts), **commitment.details}
        return self._record(prepared, decision, details, commitment), details, texts

    def _record(
        self, prepared: _Prepared, decision: Decision, details: Mapping[str, JsonValue], commitment: Commitment
    ) -> DecisionRecord:
        return DecisionRecord(
            decision=decision,
            document=prepared.document,
            events=screening_events(
                decision,
                prepared.asked.plan,
                received=prepared.reading.received,
                details=details,
                told=commitment.events,
                next_id=self.ids.event_id,
            ),
            idempotency=None,
            agent_id=decision.principal.id,
            intent="",
            tools=(),
            lowest_trust=decision.conclusion.lowest_trust.value,
            changes=(*self.rollout.required(prepared.engine.bundle), *commitment.changes),
        )

    async def _record_refusal(self, reading: _Reading, error: AisecopsError, prepared: _Prepared | None = None) -> None:
        await self.log.append_event(
            make_event(
                id=self.ids.event_id(),
                trace_id=reading.command.screening.trace_id,
                plan_id="",
                decision_id=self.ids.decision_id(),
                stage=Stage.OUTCOME,
                type="decision.refused",
                occurred_at_ns=prepared.asked.now_ns if prepared else reading.read_at_ns,
                details={
                    "tenant": self.tenant,
                    "principal": reading.command.principal.id,
                    "outcome": Outcome.DENY.value,
                    "mode": Mode.ENFORCE.value,
                    "reason": error.reason,
                    "message": error.message,
                    # Empty when it was refused before there was one.
                    "document_digest": digest(prepared.document) if prepared else "",
                    "plan_hash": reading.hash,
                    "steps": [],
                    **reading.received,
                },
            )
        )
