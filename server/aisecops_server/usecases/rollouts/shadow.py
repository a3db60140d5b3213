"""Asks the revision that did not decide, after the answer went out, and writes down what it would have said.

Ordering rules:

1. Taking note of a decision neither waits nor raises; what does not fit into the room for it is dropped and counted.
2. Nothing is asked before the decision is on record, and then a while later, many at once: a decision under way has the
   processor to itself for all but a small share of the time.
3. What is counted is in the log first. What the other revision said is never told to an agent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aisecops_server.domain.decisions.decision import Decision, Verdict, conclude
from aisecops_server.domain.decisions.decision_json import CONCLUSION_FIELDS, conclusion_details
from aisecops_server.domain.errors import AisecopsError, LogUnavailableError
from aisecops_server.domain.events.event import Event, Stage, make_event
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.log.record import Receipt
from aisecops_server.domain.plans.plan import StepId
from aisecops_server.domain.replays.comparison import Conclusion, compare
from aisecops_server.domain.rollouts.rollout import Rollout
from aisecops_server.domain.rollouts.rollout_tally import COMPARED, Tally, compared_details, failed_details
from aisecops_server.ports import Clock, EventLog, Ids, PolicyEngine
from aisecops_server.usecases.decisions.turns import Turns

# How long decisions gather before the other revision is asked about them, and about how many at once.
GATHER_SECONDS = 0.25
AT_ONCE = 64
# What may wait: bounded by number and by the documents' bytes, because documents may be large.
MOST_WAITING = 2_048
MOST_BYTES = 32 * 1024 * 1024
# What one document of a batch may take on top of what a decision may.
_SECONDS_EACH = 0.05


@dataclass(frozen=True, slots=True)
class Sample:
    """A decision whose other side is to be asked; ``by_candidate`` says which side decided."""

    decision: Decision
    details: Mapping[str, JsonValue]
    document: bytes
    by_candidate: bool

    @property
    def conclusion(self) -> Conclusion:
        """Return what was decided."""
        return {name: self.details[name] for name in CONCLUSION_FIELDS if name in self.details}

    @property
    def step_ids(self) -> list[StepId]:
        """Return the steps that were decided, in order."""
        return [step.step_id for step in self.decision.conclusion.steps]


@dataclass(slots=True)
class Room:
    """Samples that wait, oldest first."""

    waiting: deque[Sample] = field(default_factory=deque)
    bytes: int = 0
    filled: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, sample: Sample) -> bool:
        """Add a sample; return whether there was room."""
        if len(self.waiting) >= MOST_WAITING or self.bytes + len(sample.document) > MOST_BYTES:
            return False
        self.waiting.append(sample)
        self.bytes += len(sample.document)
        self.filled.set()
        return True

    def take(self) -> list[Sample]:
        """Remove and return the oldest, as many as are asked about at once."""
        taken = [self.waiting.popleft() for _ in range(min(AT_ONCE, len(self.waiting)))]
        self.bytes -= sum(len(sample.document) for sample in taken)
        if not self.waiting:
            self.filled.clear()
        return taken

    def clear(self) -> None:
        """Forget what waits."""
        self.waiting.clear()
        self.bytes = 0
        self.filled.clear()


@dataclass(slots=True)
class UnderWay:
    """The rollout that is under way, with an engine of either side and what was seen so far.

    ``own`` is what was counted here and stands in no event. Where replicas share a rollout it is apart from ``tally``,
    which is counted from the log, and ``others`` counted theirs; an engine may be missing then: ``problem`` says why.
    """

    rollout: Rollout
    base: PolicyEngine | None
    candidate: PolicyEngine | None
    tally: Tally
    own: Tally
    others: Tally = field(default_factory=Tally)
    problem: str = ""
    problems: tuple[str, ...] = ()
    # Its end was found in the log: what comes behind it is not counted any more.
    is_counted: bool = False

    @property
    def is_shared(self) -> bool:
        """Return whether other control planes follow it."""
        return self.own is not self.tally

    @property
    def total(self) -> Tally:
        """Return what was counted in all."""
        return self.tally.plus(self.own).plus(self.others) if self.is_shared else self.tally


@dataclass(frozen=True, slots=True)
class Shadow:
    """Evaluates the other side of decisions and records how the two compare."""

    log: EventLog
    clock: Clock
    ids: Ids
    deadline_seconds: float

    async def __call__(self, under_way: UnderWay, samples: Sequence[Sample]) -> None:
        """Ask about ``samples``, record each, and count what is recorded."""
        for by_candidate in (False, True):
            own = [sample for sample in samples if sample.by_candidate is by_candidate]
            engine = under_way.base if by_candidate else under_way.candidate
            if own and engine is None:
                under_way.own.dropped += len(own)
            elif own and engine is not None:
                await self._ask(under_way, own, engine)

    async def size(self) -> int:
        """Return how many events are in the log."""
        return (await self.log.head()).size

    async def recount(self, rollout: Rollout, tally: Tally) -> None:
        """Count what the log holds of a rollout behind what is counted already."""
        async with contextlib.aclosing(
            self.log.events(from_index=tally.counted_to, follow=False, trace_id="")
        ) as events:
            async for stored in events:
                event = stored.event
                if event.type == COMPARED and (details := event.details())["rollout"] == rollout.id:
                    tally.count(details, decision_id=event.decision_id, trace_id=event.trace_id)
                tally.counted_to = stored.index + 1

    async def _ask(self, under_way: UnderWay, samples: Sequence[Sample], engine: PolicyEngine) -> None:
        verdicts = await engine.evaluate_batch(
            [sample.document for sample in samples],
            deadline_seconds=self.deadline_seconds + _SECONDS_EACH * len(samples),
        )
        told: list[tuple[Event, Mapping[str, JsonValue]]] = []
        turns = Turns()
        for sample, verdict in zip(samples, verdicts, strict=True):
            await turns.after(len(sample.document))
            found = _details(under_way.rollout, sample, verdict, engine)
            told.append((self._event(sample.decision, found), found))
        receipts = await asyncio.gather(*(self._recorded(event) for event, _ in told))
        for (event, details), receipt in zip(told, receipts, strict=True):
            if receipt is None:
                under_way.own.dropped += 1
                continue
            if under_way.is_shared:
                # Counted where everybody counts: in the log, in its order.
                continue
            under_way.tally.count(details, decision_id=event.decision_id, trace_id=event.trace_id)
            under_way.tally.counted_to = max(under_way.tally.counted_to, receipt.log_index + 1)

    async def _recorded(self, event: Event) -> Receipt | None:
        try:
            return await self.log.append_event(event)
        except LogUnavailableError:
            return None

    def _event(self, decision: Decision, details: Mapping[str, JsonValue]) -> Event:
        return make_event(
            id=self.ids.event_id(),
            trace_id=decision.trace_id,
            plan_id=decision.plan_id,
            decision_id=decision.id,
            stage=Stage.POLICY,
            type=COMPARED,
            occurred_at_ns=self.clock.now_ns(),
            details=details,
        )


def _details(
    rollout: Rollout, sample: Sample, verdict: Verdict | AisecopsError, engine: PolicyEngine
) -> dict[str, JsonValue]:
    agent = str(sample.decision.principal.id)
    try:
        if isinstance(verdict, AisecopsError):
            raise verdict
        concluded = conclude(verdict, step_ids=sample.step_ids, expected_revision=engine.bundle.revision)
    except AisecopsError as error:
        return failed_details(rollout, agent=agent, by_candidate=sample.by_candidate, error=error.reason)
    other = conclusion_details(concluded)
    sides = (other, sample.conclusion) if sample.by_candidate else (sample.conclusion, other)
    return compared_details(
        rollout,
        agent=agent,
        by_candidate=sample.by_candidate,
        comparison=compare(*sides),
        other=other,
        evaluation_ns=verdict.evaluation_ns,
    )


@dataclass(slots=True)
class ShadowWorker:
    """Empties the room while a control plane serves. ``after`` is called when some samples were asked about."""

    room: Room
    ask: Callable[[Sequence[Sample]], Awaitable[None]]
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(self) -> None:
        """Ask about what gathers until cancelled."""
        while True:
            await self.room.filled.wait()
            await self.pause(GATHER_SECONDS)
            await self.ask(self.room.take())
