"""Starts replays, tells how far they are, and stops them. One runs at a time, others wait their turn.

The same question has the same id, so asking again joins the replay that runs, returns the answer that is there, or
goes on with one that was stopped. What a replay found is kept part by part; nothing else of it has to survive.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace

from aisecops_server.domain.errors import AisecopsError, NotFoundError, OverloadedError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.replays.replay import Progress, Question, ReplayId, ReplayRecord, ReplayState, Selection
from aisecops_server.ports import Clock
from aisecops_server.ports.replay import History, ReplayStore
from aisecops_server.usecases.replays.judge_decisions import Contest, Thoroughness
from aisecops_server.usecases.replays.replay import Replay, Watch
from aisecops_server.usecases.replays.resolve_policy import ResolvePolicy, WantedPolicy

MOST_WAITING = 16


@dataclass(frozen=True, slots=True)
class ReplayCommand:
    """What to replay, on what, compared with what (nothing: with what is on record), for whom."""

    selection: Selection
    candidate: WantedPolicy
    asked_by: str
    baseline: WantedPolicy | None = None
    thoroughness: Thoroughness = Thoroughness.AS_NEEDED


@dataclass(slots=True)
class _Running:
    record: ReplayRecord
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def update(self, record: ReplayRecord) -> None:
        """Note how far it is, and wake everybody who waits for that."""
        self.record = record
        self.changed.set()
        self.changed = asyncio.Event()


class RunReplays:
    """Runs replays in the background of this process."""

    def __init__(
        self, *, history: History, store: ReplayStore, policies: ResolvePolicy, replay: Replay, clock: Clock
    ) -> None:
        self._history = history
        self._store = store
        self._policies = policies
        self._replay = replay
        self._clock = clock
        self._running: dict[ReplayId, _Running] = {}
        self._turn = asyncio.Semaphore(1)

    async def start(self, command: ReplayCommand) -> ReplayRecord:
        """Start a replay, or find the one that answers the same question.

        Raises:
            NotFoundError: nothing is selected.
            InvalidRequestError, UnknownRevisionError, BundleRejectedError, EngineUnavailableError: there is no
                such policy or engine to replay on.
            OverloadedError: too many replays wait already.
        """
        candidate = await self._policies(command.candidate)
        baseline = await self._policies(command.baseline) if command.baseline else None
        head = await self._history.head()
        question = Question(command.selection, candidate.side, head, baseline.side if baseline else None)
        if question.replay_id in self._running:
            return self._running[question.replay_id].record
        earlier = await self._store.load(question.replay_id)
        if earlier is not None and _is_answer(earlier) and command.thoroughness is Thoroughness.AS_NEEDED:
            return earlier
        if not await self._history.count(command.selection, until=head.size):
            raise NotFoundError(
                "no recorded decision is selected, so there is nothing to replay",
                hint="Drop a filter; 'aisecops trace list' shows what is recorded",
            )
        return await self._begin(question, Contest(candidate, baseline, command.thoroughness), command.asked_by)

    def running(self, replay_id: ReplayId) -> ReplayRecord | None:
        """Return how far a replay of this process is, if it is one."""
        running = self._running.get(replay_id)
        return running.record if running else None

    async def watch(self, replay_id: ReplayId) -> AsyncGenerator[ReplayRecord, None]:
        """Yield how far a replay is, now and whenever that changes, until it is over.

        Raises:
            NotFoundError: there is no such replay.
        """
        while running := self._running.get(replay_id):
            changed = running.changed
            yield running.record
            await changed.wait()
        stored = await self._store.load(replay_id)
        if stored is None:
            raise no_replay(replay_id)
        yield as_left(stored)

    async def cancel(self, replay_id: ReplayId) -> None:
        """Stop a replay; what it found is kept. One that is over already stays as it is."""
        running = self._running.get(replay_id)
        if running is not None and running.task is not None:
            running.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running.task

    async def close(self) -> None:
        """Stop all replays; they can be gone on with."""
        for replay_id in list(self._running):
            await self.cancel(replay_id)

    async def _begin(self, question: Question, contest: Contest, asked_by: str) -> ReplayRecord:
        if len(self._running) > MOST_WAITING:
            raise OverloadedError("too many replays wait already", hint="Wait for one to end, or cancel one")
        for side in (contest.candidate, contest.baseline):
            # A draft stands nowhere else, and somebody may ask later why it decides as it does.
            if side is not None and side.tree is not None and side.tree.drafted:
                await self._store.keep_draft(side.tree)
        record = ReplayRecord(
            id=question.replay_id,
            question=question.as_json(),
            state=ReplayState.RUNNING,
            asked_by=asked_by,
            started_at_ns=self._clock.now_ns(),
        )
        running = self._running[question.replay_id] = _Running(record)
        await self._store.save(record)
        running.task = asyncio.create_task(self._run(running, question, contest), name=f"replay {record.id}")
        return record

    async def _run(self, running: _Running, question: Question, contest: Contest) -> None:
        def told(progress: Progress) -> None:
            running.update(replace(running.record, progress=progress))

        def early(report: Mapping[str, JsonValue]) -> None:
            running.update(replace(running.record, early=report))

        try:
            async with self._turn:
                report = await self._replay(question, contest, Watch(told, early))
            await self._end(running, state=ReplayState.DONE, report=report)
        except AisecopsError as error:
            await self._end(running, state=ReplayState.FAILED, reason=error.reason, problem=error.diagnostics())
        except asyncio.CancelledError:
            await self._end(running, state=ReplayState.CANCELLED)
            raise

    async def _end(
        self,
        running: _Running,
        *,
        state: ReplayState,
        report: Mapping[str, JsonValue] | None = None,
        reason: str = "",
        problem: str = "",
    ) -> None:
        at_ns = self._clock.now_ns()
        record = replace(
            running.record, state=state, report=report, reason=reason, problem=problem, finished_at_ns=at_ns
        )
        try:
            await self._store.save(record)
        finally:
            del self._running[record.id]
            running.update(record)


def as_left(record: ReplayRecord) -> ReplayRecord:
    """Return a replay as it is when no process runs it."""
    return replace(record, state=ReplayState.INTERRUPTED) if record.state is ReplayState.RUNNING else record


def no_replay(replay_id: ReplayId) -> NotFoundError:
    """Return the error for a replay that is not there."""
    return NotFoundError(
        f"there is no replay {replay_id[:64]}",
        hint="'aisecops replay list' shows them",
        id=replay_id[:64],
    )


def _is_answer(record: ReplayRecord) -> bool:
    """Return whether a replay has answered for good; errors are tried again."""
    if record.state is not ReplayState.DONE or record.report is None:
        return False
    classes = record.report["classes"]
    listed = classes if isinstance(classes, list) else []
    return not any(entry["verdict_class"] == "ERROR" and entry["count"] for entry in listed if isinstance(entry, dict))
