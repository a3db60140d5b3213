"""A control plane that serves: what it composes beside what acts, its listeners, and the tasks it does by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from types import MappingProxyType
from typing import Any

from aisecops_server.adapters.system import SystemClock
from aisecops_server.bootstrap.admission import work_queue
from aisecops_server.bootstrap.assurance import Watched, compliance_of, drift_of, metrics
from aisecops_server.bootstrap.authentication import listeners
from aisecops_server.bootstrap.cluster import parts_of
from aisecops_server.bootstrap.control_plane import ControlPlane, compose
from aisecops_server.bootstrap.replay import replaying
from aisecops_server.bootstrap.source import edge_use_cases
from aisecops_server.bootstrap.telemetry import telling
from aisecops_server.bootstrap.triggering import triggered
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.entrypoints.grpc.admission import WorkQueue
from aisecops_server.entrypoints.grpc.compliance_service import ComplianceUseCases
from aisecops_server.entrypoints.grpc.drift_service import DriftUseCases
from aisecops_server.entrypoints.grpc.edge_service import EdgeUseCases
from aisecops_server.entrypoints.grpc.replay_service import ReplayUseCases
from aisecops_server.entrypoints.grpc.server import Listening, RunningServer, serve
from aisecops_server.entrypoints.grpc.services import Served
from aisecops_server.entrypoints.local_http import app as local_http
from aisecops_server.settings import Settings
from aisecops_server.usecases.checkpoint import Committer
from aisecops_server.usecases.export_records import ExportRecords
from aisecops_server.usecases.judge_flips import JudgeFlips
from aisecops_server.usecases.read_maturity import ReadMaturity
from aisecops_server.usecases.record_refusals import RecordRefusals
from aisecops_server.usecases.shadow import ShadowWorker

GRACE_SECONDS = 5.0
_PROBE_SECONDS = 1.0
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


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[ControlPlane, RunningServer]]:
    """Compose a control plane, serve it, follow the policy repository, and take it all down again.

    What was live before is served again at once, whether or not the repository can be reached. The server
    answers (and refuses plans) even when nothing can be made live, so that its status can tell why.

    Raises:
        InvalidRequestError, EngineUnavailableError, LogUnavailableError, IntegrityError: see ``compose``.
    """
    listening = listeners(settings, SystemClock())
    async with (
        compose(settings) as plane,
        parts_of(settings) as cluster,
        replaying(settings, cluster=cluster) as replays,
    ):
        work = work_of(plane)
        watched = _watched(plane, work)
        drift = drift_of(settings, replays, watched, clock=plane.clock, ids=plane.ids)
        await drift.watch.recall()
        central = Central(
            maturity=plane.maturity(replays.reads, plane.clock),
            replays=replays.use_cases,
            review=JudgeFlips(replays.groups, plane.log, plane.log.reviews, plane.clock, plane.ids),
            compliance=compliance_of(settings, replays, watched),
            drift=drift,
            edges=edge_use_cases(settings, plane.log, plane.live, clock=plane.clock, ids=plane.ids),
        )
        async with (
            running(plane, listening, central=central, work=work, tasks=drift.tasks) as server,
            metrics(settings, watched, drift),
        ):
            yield plane, server


@contextlib.asynccontextmanager
async def running(
    plane: ControlPlane,
    listening: Listening,
    *,
    central: Central | None = None,
    work: WorkQueue | None = None,
    readiness: Callable[[], str] | None = None,
    tasks: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = MappingProxyType({}),
) -> AsyncIterator[RunningServer]:
    """Serve a control plane, with what it does by itself and the given ``tasks`` by name, while the block runs."""
    await _begin(plane)
    refusals = RecordRefusals(plane.log, plane.clock, plane.ids)
    server = await serve(
        Served(
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
            export=replace(plane.export, mapped=central.compliance.check.decided) if central else plane.export,
            records=ExportRecords(plane.log, plane.publish.keys.origin, metadata.version("aisecops")),
            replays=central.replays if central else None,
            review=central.review if central else None,
            compliance=central.compliance if central else None,
            drift=central.drift if central else None,
            authenticator=plane.authenticator,
            note_refusal=refusals.note,
            ids=plane.ids,
            readiness=readiness or plane.problem,
            work=work or work_of(plane),
            max_in_flight=plane.settings.max_in_flight,
            edges=central.edges if central else None,
            rollouts=plane.rollouts,
        ),
        listening,
    )
    committer = Committer(plane.publish, interval_seconds=plane.settings.checkpoint_seconds)
    standing = [
        asyncio.create_task(plane.poller.run(), name="follow the policy"),
        asyncio.create_task(committer.run(), name="commit to the log"),
        asyncio.create_task(plane.expire.run(), name="end requests for approval"),
        asyncio.create_task(plane.notices.run(), name="tell people of requests for approval"),
        *(asyncio.create_task(reaper.run(), name=f"end overdue {reaper.what}") for reaper in plane.reapers),
        asyncio.create_task(refusals.run(), name="record who was turned away"),
        *(
            asyncio.create_task(run(), name=name)
            for name, run in {**tasks, **_watching(plane), **telling(plane)}.items()
        ),
    ]
    try:
        async with _beside(server), triggered(plane.settings, plane.poller.ring, refusals.note):
            yield server
    finally:
        for task in standing:
            task.cancel()
        await asyncio.gather(*standing, return_exceptions=True)
        await server.stop(GRACE_SECONDS)
        await refusals.flush()


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


async def _begin(plane: ControlPlane) -> None:
    """Make live what can be; whatever cannot stands in the status, and plans are refused with that reason."""
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
    return {"watch a rollout": ShadowWorker(rollouts.room, rollouts.ask).run} if rollouts else {}


def _watched(plane: ControlPlane, work: WorkQueue) -> Watched:
    return Watched(
        plane.log,
        plane.publish,
        lambda: plane.live.current().bundle,
        plane.live.status,
        plane.log.append_event,
        work.queue.load,
    )
