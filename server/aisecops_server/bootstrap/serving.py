"""A control plane that serves: what it composes beside what acts, its listeners, and the tasks it does by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from types import MappingProxyType
from typing import Any

from aisecops_server.adapters.system import SystemClock
from aisecops_server.bootstrap.admission import work_queue, work_queues
from aisecops_server.bootstrap.assurance import Watched, compliance_of, drift_of, metrics
from aisecops_server.bootstrap.authentication import authenticating, listeners
from aisecops_server.bootstrap.cluster import parts_of
from aisecops_server.bootstrap.control_plane import ControlPlane, compose
from aisecops_server.bootstrap.replay import replaying
from aisecops_server.bootstrap.source import edge_use_cases
from aisecops_server.bootstrap.state import private
from aisecops_server.bootstrap.telemetry import telling
from aisecops_server.bootstrap.tenants import FOLDER, read_tenants
from aisecops_server.bootstrap.triggering import Rung, triggered
from aisecops_server.domain.callers.identity import DEFAULT_TENANT
from aisecops_server.domain.callers.refusal import Refusal
from aisecops_server.domain.errors import AisecopsError, InvalidRequestError
from aisecops_server.domain.events.event import Event
from aisecops_server.entrypoints.grpc.admission import WorkQueue
from aisecops_server.entrypoints.grpc.compliance_service import ComplianceUseCases
from aisecops_server.entrypoints.grpc.drift_service import DriftUseCases
from aisecops_server.entrypoints.grpc.edge_service import EdgeUseCases
from aisecops_server.entrypoints.grpc.replay_service import ReplayUseCases
from aisecops_server.entrypoints.grpc.server import Listening, RunningServer, serve_tenants
from aisecops_server.entrypoints.grpc.services import Served
from aisecops_server.entrypoints.local_http import app as local_http
from aisecops_server.ports import Authenticator
from aisecops_server.settings import Settings
from aisecops_server.usecases.compliance.read_maturity import ReadMaturity
from aisecops_server.usecases.evidence.export_records import ExportRecords
from aisecops_server.usecases.log.checkpoint import Committer
from aisecops_server.usecases.log.record_reads import RecordReads
from aisecops_server.usecases.log.record_refusals import RecordRefusals
from aisecops_server.usecases.log.rotate_key import FollowKeys
from aisecops_server.usecases.log.rounds import Rounds
from aisecops_server.usecases.reviews.judge_flips import JudgeFlips
from aisecops_server.usecases.rollouts.shadow import ShadowWorker

GRACE_SECONDS = 5.0
_PROBE_SECONDS = 1.0
# Well within the time that clocks may differ by, so that what is signed meanwhile counts.
_KEYS_SECONDS = 1.0
# Tenants that begin together would build and start engines all at once.
_BEGIN_AT_ONCE = 4
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Central:
    """What a control plane offers that is no edge of another."""

    maturity: ReadMaturity
    replays: ReplayUseCases
    review: JudgeFlips
    compliance: ComplianceUseCases
    drift: DriftUseCases
    edges: EdgeUseCases


@dataclass(frozen=True, slots=True)
class Housed:
    """One tenant in a house: its control plane, how it enters the queue, and what it does by itself beside deciding."""

    plane: ControlPlane
    work: WorkQueue
    readiness: Callable[[], str]
    central: Central | None = None
    tasks: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=dict)
    watched: Watched | None = None


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[ControlPlane, RunningServer]]:
    """Serve a control plane that has one tenant; as ``serving_tenants``."""
    async with serving_tenants(settings) as (planes, server):
        [plane] = planes.values()
        yield plane, server


@contextlib.asynccontextmanager
async def serving_tenants(settings: Settings) -> AsyncIterator[tuple[Mapping[str, ControlPlane], RunningServer]]:
    """Compose the control planes of all tenants, serve them, follow their policy repositories, and take all down again.

    What was live before is served again at once, whether or not a repository can be reached. The server answers (and
    refuses plans) even when nothing can be made live, so that its status can tell why.

    Raises:
        InvalidRequestError, EngineUnavailableError, LogUnavailableError, IntegrityError: see ``compose``.
    """
    clock, tenants = SystemClock(), read_tenants(settings)
    listening = listeners(settings, clock)
    # What is above a tenant's directory is nobody else's either.
    private(settings.state_dir)
    if settings.tenants_file:
        private(settings.state_dir / FOLDER)
    queues = work_queues(settings, tenants.settings) if settings.tenants_file else {}
    async with contextlib.AsyncExitStack() as closing:
        callers = closing.enter_context(authenticating(settings, clock, tenants.callers))
        housed = {
            name: await closing.enter_async_context(_housed(own, queues.get(name)))
            for name, own in tenants.settings.items()
        }
        await _require_apart(housed)
        server = await closing.enter_async_context(answering(housed, listening, callers, settings))
        looked_at = {
            name: (own.watched, own.central.drift) for name, own in housed.items() if own.watched and own.central
        }
        load = next(iter(housed.values())).work.queue.load
        await closing.enter_async_context(metrics(settings, looked_at, load))
        yield {name: own.plane for name, own in housed.items()}, server


@contextlib.asynccontextmanager
async def _housed(settings: Settings, work: WorkQueue | None) -> AsyncIterator[Housed]:
    """Compose everything of one tenant and take it down again."""
    async with (
        compose(settings) as plane,
        parts_of(settings) as cluster,
        replaying(settings, cluster=cluster) as replays,
    ):
        watched = _watched(plane)
        drift = drift_of(settings, replays, watched, clock=plane.clock, ids=plane.ids)
        await drift.watch.recall()
        central = Central(
            maturity=plane.maturity(replays.reads, plane.clock),
            replays=replays.use_cases,
            review=JudgeFlips(replays.groups, plane.log, plane.log.reviews, plane.clock, plane.ids),
            compliance=compliance_of(settings, replays, watched),
            drift=drift,
            edges=edge_use_cases(settings, plane.log, plane.live, clock=plane.clock, ids=plane.ids, held=plane.closed),
        )
        yield Housed(plane, work or work_of(plane), plane.problem, central, drift.tasks, watched)


async def _require_apart(housed: Mapping[str, Housed]) -> None:
    """Refuse to serve two tenants from one log, such as one whose directory leads to another's."""
    names: dict[str, str] = {}
    for name, own in housed.items():
        log = await own.plane.log.identity()
        if log in names:
            raise InvalidRequestError(
                f"the tenants {names[log]} and {name} would share a log",
                hint="Give each a directory of its own below the state directory",
                field="tenants_file",
            )
        names[log] = name


@contextlib.asynccontextmanager
async def running(
    plane: ControlPlane,
    listening: Listening,
    *,
    readiness: Callable[[], str] | None = None,
    tasks: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = MappingProxyType({}),
) -> AsyncIterator[RunningServer]:
    """Serve one control plane, with what it does by itself and the given ``tasks`` by name, while the block runs."""
    housed = Housed(plane, work_of(plane), readiness or plane.problem, tasks=tasks)
    with authenticating(plane.settings, plane.clock) as callers:
        async with answering({DEFAULT_TENANT: housed}, listening, callers, plane.settings) as server:
            yield server


@contextlib.asynccontextmanager
async def answering(
    housed: Mapping[str, Housed], listening: Listening, callers: Authenticator, settings: Settings
) -> AsyncIterator[RunningServer]:
    """Serve tenants by their names, with what each does by itself, while the block runs."""
    beginning = asyncio.Semaphore(_BEGIN_AT_ONCE)
    await asyncio.gather(*(_begin(own.plane, beginning) for own in housed.values()))
    refusals = {name: RecordRefusals(own.plane.log, own.plane.clock, own.plane.ids) for name, own in housed.items()}
    reads = {name: RecordReads(own.plane.log, own.plane.clock, own.plane.ids) for name, own in housed.items()}
    [*first] = refusals.values()
    strangers = first[0] if len(first) == 1 else RecordRefusals(ToldInLines(), first[0].clock, first[0].ids)
    server = await serve_tenants(
        {name: _served(own, callers, refusals[name].note, reads[name]) for name, own in housed.items()},
        listening,
        callers,
        strangers.note,
    )
    recorders = {id(each): each for each in (*first, strangers)}.values()
    standing = [
        *(task for own in housed.values() for task in _standing(own)),
        *(asyncio.create_task(each.run(), name="record who was turned away") for each in recorders),
        *(asyncio.create_task(each.run(), name="record who reads") for each in reads.values()),
    ]
    rung = {name: Rung(own.plane.settings, own.plane.poller.ring, refusals[name].note) for name, own in housed.items()}
    try:
        async with _beside(server), triggered(settings, rung, strangers.note):
            yield server
    finally:
        for task in standing:
            task.cancel()
        await asyncio.gather(*standing, return_exceptions=True)
        await server.stop(GRACE_SECONDS)
        for each in recorders:
            await each.flush()
        for told in reads.values():
            await told.flush()


def _served(
    own: Housed, callers: Authenticator, note_refusal: Callable[[Refusal], None], tell_reading: RecordReads
) -> Served:
    plane, central = own.plane, own.central
    return Served(
        decide=plane.decide,
        explain=plane.explain,
        screen=plane.screen,
        policy=plane.policy,
        agents=plane.agents,
        maturity=central.maturity if central else None,
        approvals=plane.approvals,
        grants=plane.grants,
        budgets=plane.budgets,
        retention=plane.retention,
        log=plane.log,
        publish=plane.publish,
        rotate=plane.rotate,
        grant_keys=plane.grant_keys,
        signing_keys=plane.signing_keys,
        export=replace(plane.export, mapped=central.compliance.check.decided) if central else plane.export,
        records=ExportRecords(plane.log, plane.publish.keys.origin, metadata.version("aisecops")),
        replays=central.replays if central else None,
        review=central.review if central else None,
        compliance=central.compliance if central else None,
        drift=central.drift if central else None,
        authenticator=callers,
        note_refusal=note_refusal,
        tell_reading=tell_reading,
        ids=plane.ids,
        readiness=own.readiness,
        work=own.work,
        max_in_flight=plane.settings.max_in_flight,
        edges=central.edges if central else None,
        rollouts=plane.rollouts,
    )


def _standing(own: Housed) -> list[asyncio.Task[None]]:
    """Begin what a tenant does by itself."""
    plane = own.plane
    committer = Committer(plane.publish, interval_seconds=plane.settings.checkpoint_seconds)
    running = {
        "follow the policy": plane.poller.run,
        "commit to the log": committer.run,
        "end requests for approval": plane.expire.run,
        "tell people of requests for approval": plane.notices.run,
        **{f"end overdue {what}": reaper.run for what, reaper in plane.reapers.items()},
        **_following_keys(plane),
        **own.tasks,
        **_watching(plane),
        **telling(plane),
    }
    return [asyncio.create_task(run(), name=name) for name, run in running.items()]


def _following_keys(plane: ControlPlane) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
    """Return what looks which keys sign: where nobody else writes the log it is known, but for one that is not here."""
    signing = [rotate.keys for rotate in plane.signing_keys.values()]
    followed: tuple[FollowKeys[Any], ...] = (plane.grant_keys.keys, *signing)
    return {
        f"follow the key of {keys.use.signs}": Rounds(
            keys,
            done=f"keys of {keys.use.signs} taken up, as the log says",
            failed=f"it is not known which key signs {keys.use.signs}",
            interval_seconds=_KEYS_SECONDS,
        ).run
        for keys in followed
        if plane.settings.database_url or keys.ring.problem
    }


class ToldInLines:
    """Where it is told who was turned away when they are of no tenant, and so of no log: on standard error."""

    async def append_event(self, event: Event) -> None:
        """Write one line."""
        _logger.warning("turned away at the door: %s", event.body.decode())


def work_of(plane: ControlPlane) -> WorkQueue:
    """Return a queue for what a control plane is asked."""
    return work_queue(plane.settings, lambda: plane.live.current().bundle.tables)


def _beside(server: RunningServer) -> contextlib.AbstractAsyncContextManager[Any]:
    return local_http.listening(server.calls, server.socket) if server.socket else contextlib.nullcontext()


def is_served(settings: Settings) -> bool:
    """Return whether a control plane answers on the socket of ``settings``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(str(settings.socket))
        except OSError:
            return False
    return True


async def _begin(plane: ControlPlane, turns: asyncio.Semaphore) -> None:
    """Make live what can be; whatever cannot stands in the status, and plans are refused with that reason."""
    async with turns:
        await _made_live(plane)


async def _made_live(plane: ControlPlane) -> None:
    if plane.live.live is None:
        try:
            await plane.resume()
        except AisecopsError as error:
            _logger.warning("%s", error.diagnostics())
    if plane.live.live is None:
        # What goes wrong here goes wrong again in the poller's first round, which tells it.
        with contextlib.suppress(AisecopsError):
            await plane.policy.sync()
    if plane.rollouts is not None:
        try:
            await plane.rollouts.resume()
        except AisecopsError as error:
            _logger.warning("%s", error.diagnostics())


def _watching(plane: ControlPlane) -> Mapping[str, Callable[[], Coroutine[Any, Any, None]]]:
    rollouts = plane.rollouts
    if rollouts is None:
        return {}
    watching = {"watch a rollout": ShadowWorker(rollouts.room, rollouts.ask).run}
    # In a file nobody else moves it.
    return {**watching, "follow a rollout": rollouts.watch} if plane.settings.database_url else watching


def _watched(plane: ControlPlane) -> Watched:
    return Watched(
        plane.log,
        plane.publish,
        lambda: plane.live.current().bundle,
        plane.live.status,
        plane.log.append_event,
        lambda: plane.grant_keys.keys.ring.problem,
        lambda: {use.value: keys.keys.ring.problem for use, keys in plane.signing_keys.items()},
    )
