"""Makes a commit live: the only place where the live policy changes.

Ordering rules:

1. A revision is built, started and probed in a spare engine while the live one goes on deciding. Its process may be
   started before it is built; it is given what was checked and signed, or nothing.
2. Who changed what, and why, is durable in the log before the pointer moves.
   Where the channel's word is required, only the commit that it announces now gets this far, whoever asks.
3. The pointer moves in one step; decisions under way keep the engine that they took.
4. The move is remembered for a restart, and old and new engine are kept warm.

Whatever fails before 3 leaves the live revision as it was, is told in the status, and is logged. One change happens at
a time, and a caller that goes away does not stop one halfway.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aisecops_server.domain.bundles.bundle import Activated, CommitId
from aisecops_server.domain.bundles.bundle_status import BundleStatus
from aisecops_server.domain.callers.identity import DEFAULT_TENANT
from aisecops_server.domain.decisions.decision import Verdict
from aisecops_server.domain.documents.probe import probes, require_denied, require_not_allowed, text_probe
from aisecops_server.domain.errors import (
    AisecopsError,
    BundleRejectedError,
    ContendedError,
    LogUnavailableError,
    NotPermittedError,
    UnknownRevisionError,
)
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.events.event import Event, control_event
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.domain.rollouts.rollout_changes import MadeLive
from aisecops_server.ports import (
    ActivationStore,
    BundleBuilder,
    Clock,
    EnginePool,
    EventLog,
    Ids,
    PolicyEngine,
    PolicyRepository,
)
from aisecops_server.usecases.bundles.channel import Channel
from aisecops_server.usecases.bundles.live_policy import LivePolicy, Served

T = TypeVar("T")
# Stores the event of a change together with something else, or neither, and what is live with it.
Together = Callable[[Event, MadeLive], Awaitable[None]]

PROBE_DEADLINE_SECONDS = 5.0
_WHOLE_COMMIT_ID = 40


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants a change of the live policy, and why. Both are kept in the log."""

    principal: str
    reason: str


@dataclass(frozen=True, slots=True)
class ActivateCommand:
    """A commit id, branch or tag to make live; with a ``digest`` only if it is that very bundle."""

    revision: str
    order: Order
    digest: str = ""
    together: Together | None = None


class PolicySwitch:
    """Prepares revisions and moves the live pointer. Hold ``lock`` around whatever moves it."""

    def __init__(
        self,
        *,
        repository: PolicyRepository,
        builder: BundleBuilder,
        pool: EnginePool,
        log: EventLog,
        store: ActivationStore,
        live: LivePolicy,
        clock: Clock,
        ids: Ids,
        tenant: str = DEFAULT_TENANT,
        channel: Channel | None = None,
    ) -> None:
        self.repository = repository
        self.channel = channel
        self._tenant = tenant
        self.live = live
        self.store = store
        self.clock = clock
        self.pool = pool
        self.lock = asyncio.Lock()
        self.builder = builder
        self._log = log
        self.ids = ids
        # What the store held when it was read or written last.
        self.remembered: tuple[Activated, Activated | None] | None = None
        self._under_way: set[asyncio.Task[Any]] = set()

    async def unbroken(self, change: Coroutine[Any, Any, T]) -> T:
        """Run a change to its end even when the caller is cancelled meanwhile."""
        task = asyncio.ensure_future(change)
        self._under_way.add(task)
        task.add_done_callback(self._over)
        return await asyncio.shield(task)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        # Who asked may be gone, as when the process ends. What is not looked at here would be told as a fault of ours.
        if not task.cancelled():
            task.exception()

    async def engine(self, commit_id: CommitId) -> PolicyEngine:
        """Return a started and probed engine of a commit.

        Raises:
            BundleRejectedError: it cannot be built, the engine refuses it, or it answers a probe wrongly.
            EngineUnavailableError: no engine could be started.
        """
        engine = await self._started(commit_id)
        await _probe(engine)
        return engine

    async def _started(self, commit_id: CommitId) -> PolicyEngine:
        stored = await self.builder.stored(commit_id)
        if stored is not None:
            return await self.pool.acquire(stored)
        # While the bundle is checked and signed, a process is started that will load it, or else is thrown away.
        async with self.pool.anticipated():
            return await self.pool.acquire(await self.builder.build(await self.repository.tree(commit_id)))

    async def require_announced(self, commit_id: CommitId) -> None:
        """Let a commit decide only as the one that the channel announces, where its word is required.

        Raises:
            NotPermittedError: it is another one, or the announcement ended.
            LogUnavailableError, IntegrityError: it cannot be known.
        """
        if self.channel is None:
            return
        saved = await self.store.load() if self.live.live is None else None
        # What was live already, and is built anew by another version of the product after a restart, needs no new word.
        if saved is None or saved[0].revision != commit_id:
            await self.channel.require(commit_id)

    async def make_live(
        self, served: Served, order: Order, *, type: str = "bundle.activated", together: Together | None = None
    ) -> None:
        """Log the change, move the pointer, remember it; ``together`` logs it and remembers it in one step.

        Raises:
            NotPermittedError: it is not what the channel announces.
            LogUnavailableError: the change could not be logged, so it was not made.
        """
        old = self.live.live
        await self.require_announced(served.commit.id)
        event = self.event(
            type,
            {
                "revision": served.commit.id,
                "digest": served.engine.bundle.digest,
                "author": served.commit.author,
                "summary": served.commit.summary,
                "previous": old.commit.id if old else "",
                "previous_digest": old.engine.bundle.digest if old else "",
                "principal": order.principal,
                "reason": order.reason,
            },
        )
        if together is None or old is None:
            await self._log.append_event(event)
            self.live.flip(served)
            await self.remember()
            return
        kept = (_activated(served), _activated(old))
        await together(event, MadeLive(*kept, over=old.engine.bundle.digest))
        self.live.flip(served)
        self.remembered = kept
        await self._kept_warm()

    async def reject(self, commit_id: CommitId, order: Order, error: AisecopsError) -> None:
        """Note and log that a revision did not become live."""
        self.live.reject(commit_id, error)
        live = self.live.live
        details: dict[str, JsonValue] = {
            "revision": commit_id,
            "problem": error.message,
            "cause": error.reason,
            "live": live.commit.id if live else "",
            "principal": order.principal,
            "reason": order.reason,
        }
        # The rejection stands in the status anyway, and the error goes to the caller.
        with contextlib.suppress(LogUnavailableError):
            await self.record("bundle.rejected", details)

    async def remember(self) -> None:
        """Save what is live for a restart and keep its engines warm; a failure is told in the status."""
        live, previous = self.live.live, self.live.previous
        if live is None:
            return
        try:
            kept = (_activated(live), _activated(previous) if previous else None)
            await self.store.save(*kept)
            self.remembered = kept
            await self.keep_warm()
        except AisecopsError as error:
            self.live.problem = f"the live revision would not survive a restart: {error.message}"

    async def _kept_warm(self) -> None:
        try:
            await self.keep_warm()
        except AisecopsError as error:
            self.live.problem = f"the revision before is not kept ready: {error.message}"

    async def keep_warm(self) -> None:
        """Keep the engines of what is live and of what was live before."""
        kept = (self.live.live, self.live.previous)
        await self.pool.retain([served.engine.bundle.digest for served in kept if served])

    async def record(self, type: str, details: Mapping[str, JsonValue]) -> None:
        """Append an event about the control plane itself.

        Raises:
            LogUnavailableError: it could not be made durable.
        """
        await self.append(self.event(type, details))

    async def append(self, event: Event) -> None:
        """Append such an event.

        Raises:
            LogUnavailableError: it could not be made durable.
        """
        await self._log.append_event(event)

    async def record_change(self, events: Sequence[Event], change: Change) -> None:
        """Append events about the control plane together with the change that they tell of.

        Raises:
            ContendedError: the condition of the change does not hold.
            LogUnavailableError: they could not be made durable.
        """
        await self._log.append_change(ChangeRecord(tuple(events), (change,)))

    def event(self, type: str, details: Mapping[str, JsonValue]) -> Event:
        """Return an event about the control plane itself."""
        return control_event(
            type, {"tenant": self._tenant, **details}, id=self.ids.event_id(), now_ns=self.clock.now_ns()
        )


class Activate:
    """Makes a commit live."""

    def __init__(self, switch: PolicySwitch) -> None:
        self._switch = switch

    async def __call__(self, command: ActivateCommand) -> BundleStatus:
        """Build, verify and probe a commit and make it live.

        Raises:
            UnknownRevisionError: nothing has that name, not even after reading the repository again.
            BundleRejectedError, EngineUnavailableError, LogUnavailableError: the live revision stays.
        """
        commit_id = await self.resolve(command.revision)
        return await self._switch.unbroken(self._activate(commit_id, command))

    async def resolve(self, name: str) -> CommitId:
        """Return the commit that ``name`` names, after reading the repository again where that may matter.

        Raises:
            UnknownRevisionError: nothing has that name.
        """
        repository = self._switch.repository
        if len(name) == _WHOLE_COMMIT_ID:
            with contextlib.suppress(UnknownRevisionError):
                return await repository.resolve(name)
        # Names move and new commits arrive; what the mirror knows still counts when the remote does not answer.
        with contextlib.suppress(AisecopsError):
            await repository.fetch()
        return await repository.resolve(name)

    async def _activate(self, commit_id: CommitId, command: ActivateCommand) -> BundleStatus:
        switch = self._switch
        async with switch.lock:
            # Looked up beside the rest; what the branch gets meanwhile is for the next time that it is followed.
            following = asyncio.create_task(self._followed(commit_id, promoted=bool(command.digest)))
            try:
                await self._make_live(commit_id, command)
                switch.live.followed = await following
            finally:
                following.cancel()
        return switch.live.status()

    async def _make_live(self, commit_id: CommitId, command: ActivateCommand) -> None:
        switch = self._switch
        live = switch.live.live
        if live is not None and live.commit.id == commit_id:
            return
        try:
            await switch.require_announced(commit_id)
            engine = await switch.engine(commit_id)
            _require_exact(engine, command.digest)
            served = Served(await switch.repository.commit(commit_id), engine)
            await switch.make_live(served, command.order, together=command.together)
        except ContendedError:
            # Another control plane was first; that says nothing about the revision.
            raise
        except AisecopsError as error:
            await switch.reject(commit_id, command.order, error)
            raise

    async def _followed(self, commit_id: CommitId, *, promoted: bool) -> CommitId:
        """Return the head that counts as dealt with, so that following neither undoes this nor blesses a rewrite."""
        repository, followed = self._switch.repository, self._switch.live.followed
        if self._switch.channel is not None:
            return commit_id
        try:
            head = await repository.head()
            if promoted and await repository.is_descendant(head, of=commit_id):
                # What came while it was watched comes next.
                return commit_id
            if not followed or head == commit_id or await repository.is_descendant(head, of=followed):
                return head
        except AisecopsError:
            return followed or commit_id
        return followed


class Rollback:
    """Makes the previous revision live again, from its warm engine."""

    def __init__(self, switch: PolicySwitch) -> None:
        self._switch = switch

    async def __call__(self, order: Order, *, together: Together | None = None) -> BundleStatus:
        """Swap the live and the previous revision.

        Raises:
            UnknownRevisionError: there is no previous revision.
            NotPermittedError: it is not what the channel announces.
            EngineUnavailableError, LogUnavailableError: the live revision stays.
        """
        return await self._switch.unbroken(self._roll_back(order, together))

    async def _roll_back(self, order: Order, together: Together | None) -> BundleStatus:
        switch = self._switch
        async with switch.lock:
            previous = switch.live.previous
            if previous is None:
                raise UnknownRevisionError(
                    "there is no previous revision to go back to",
                    hint="'aisecops bundle list' shows the commits that can be activated",
                )
            try:
                await switch.require_announced(previous.commit.id)
                engine = await switch.pool.acquire(previous.engine.bundle)
                served = Served(previous.commit, engine)
                await switch.make_live(served, order, type="bundle.rolled_back", together=together)
            except NotPermittedError as error:
                await switch.reject(previous.commit.id, order, error)
                raise
        return switch.live.status()


def _require_exact(engine: PolicyEngine, digest: str) -> None:
    if digest and engine.bundle.digest != digest:
        raise BundleRejectedError(
            "the commit is built into another bundle than the one that was watched",
            hint="Start a rollout anew",
            revision=engine.bundle.revision,
        )


async def _probe(engine: PolicyEngine) -> None:
    asked, text = probes(engine.bundle.tools), text_probe()
    documents = [probe.document for probe in asked]
    together, alone, [screened] = await asyncio.gather(
        engine.evaluate_batch(documents, deadline_seconds=PROBE_DEADLINE_SECONDS),
        # The single entry point is another one than the batch's; one document shows that it answers as well.
        _alone(engine, documents[0]),
        engine.evaluate_batch([text.document], deadline_seconds=PROBE_DEADLINE_SECONDS),
    )
    for probe, verdict in zip(asked, together, strict=True):
        require_denied(probe, verdict, revision=engine.bundle.revision)
    require_denied(asked[0], alone, revision=engine.bundle.revision)
    require_not_allowed(text, screened, revision=engine.bundle.revision)


async def _alone(engine: PolicyEngine, document: bytes) -> Verdict | AisecopsError:
    try:
        return await engine.evaluate(document, deadline_seconds=PROBE_DEADLINE_SECONDS)
    except AisecopsError as error:
        return error


def _activated(served: Served) -> Activated:
    return Activated(served.commit.id, served.engine.bundle.digest)
