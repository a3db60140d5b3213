"""The composition root of what shows that the control plane does what it says: compliance, drift, metrics.

Handed the log, what it commits to and what is live to look at, and replay to decide again with; nothing that acts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.adapters.metrics.exposition import CONTENT_TYPE, exposition
from aisecops_server.adapters.sqlite.last_look import SqliteLastLook
from aisecops_server.bootstrap.replay import Replaying
from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.bundles.bundle_status import BundleStatus
from aisecops_server.domain.bundles.channel_standing import ChannelStanding
from aisecops_server.domain.replays.drift import DriftReport
from aisecops_server.domain.tenants.fair_queue import QueueLoad
from aisecops_server.entrypoints.grpc.access import ROLES_OF_CALL
from aisecops_server.entrypoints.grpc.compliance_service import ComplianceUseCases
from aisecops_server.entrypoints.grpc.drift_service import DriftUseCases
from aisecops_server.entrypoints.metrics.app import listening
from aisecops_server.ports import Clock, Ids
from aisecops_server.ports.assurance import ReadableLog
from aisecops_server.settings import Settings
from aisecops_server.usecases.compliance.check_compliance import CheckCompliance
from aisecops_server.usecases.compliance.live_checks import LIVE_CHECKS, LiveChecks, LivePart
from aisecops_server.usecases.log.checkpoint import PublishCheckpoint
from aisecops_server.usecases.log.count_events import CountEvents
from aisecops_server.usecases.replays.check_drift import CheckDrift
from aisecops_server.usecases.replays.run_scenarios import RunScenarios
from aisecops_server.usecases.replays.sample_decisions import SampleDecisions
from aisecops_server.usecases.reviews.watch_drift import Record, WatchDrift


@dataclass(frozen=True, slots=True)
class Watched:
    """What of a control plane is looked at. ``live`` gives the bundle that is live, or raises that none is.

    ``status`` says which revisions there are to judge by, ``signing`` why no grant can be signed, ``missing`` of each
    other key why it signs nothing, and ``record`` writes an event, which is all that can.
    """

    log: ReadableLog
    publish: PublishCheckpoint
    live: Callable[[], Bundle]
    status: Callable[[], BundleStatus]
    record: Record
    signing: Callable[[], str]
    missing: Callable[[], Mapping[str, str]]


def compliance_of(settings: Settings, replays: Replaying, watched: Watched) -> ComplianceUseCases:
    """Return what checks compliance of a control plane."""
    policies = replays.policies
    checks = LiveChecks(
        log=watched.log,
        proofs=watched.publish.log,
        checkpoints=watched.publish.store,
        sample=SampleDecisions(replays.history),
        fidelity=replays.judges.fidelity,
        engines=replays.engines,
        live=LivePart(watched.live, policies.builder, policies.repository),
        roles=ROLES_OF_CALL,
        deadline_seconds=settings.deadline_seconds,
    )
    check = CheckCompliance(
        policies=policies,
        scenarios=RunScenarios(replays.engines, settings.deadline_seconds),
        parse=parse_yaml,
        checks=LIVE_CHECKS,
        run_checks=checks,
        kinds=replays.log,
    )
    return ComplianceUseCases(check, watched.live)


def drift_of(settings: Settings, replays: Replaying, watched: Watched, *, clock: Clock, ids: Ids) -> DriftUseCases:
    """Return what watches for drift: a look that can only look, and a recorder that can only record its report."""
    judges = replays.judges
    check = CheckDrift(
        sample=SampleDecisions(replays.history),
        fidelity=judges.fidelity,
        judge=judges.judge,
        policies=replays.policies,
        clock=clock,
        size=settings.drift_sample,
    )

    def revisions() -> list[tuple[str, str]]:
        status = watched.status()
        if status.live is None:
            return []
        live = status.live.commit.id
        return [("live", live), *([("next", status.wanted)] if status.wanted not in ("", live) else [])]

    watch = WatchDrift(
        check,
        revisions,
        record=watched.record,
        clock=clock,
        ids=ids,
        interval_seconds=settings.drift_minutes * 60,
        log=watched.log,
        place=SqliteLastLook(settings.state_dir / "drift.db"),
    )
    return DriftUseCases(watch, standing=settings.drift_watch)


@contextlib.asynccontextmanager
async def metrics(
    settings: Settings, tenants: Mapping[str, tuple[Watched, DriftUseCases]], load: Callable[[], QueueLoad]
) -> AsyncIterator[str]:
    """Serve metrics of tenants while the block runs, where the settings say so; gives the address, or nothing.

    ``load`` tells how full the queue of decisions is.

    Raises:
        InvalidRequestError: it cannot be served there.
    """
    if not settings.metrics_address:
        yield ""
        return
    counts = {
        name: CountEvents(
            watched.log,
            watched.publish.log.head,
            partial(_last, drift),
            partial(_standing, watched),
            watched.signing,
            watched.missing,
        )
        for name, (watched, drift) in tenants.items()
    }
    first = {name: (await count.head()).size for name, count in counts.items()}

    async def render() -> bytes:
        return exposition({name: await count.snapshot() for name, count in counts.items()}, load())

    async with listening(render, CONTENT_TYPE, settings.metrics_address) as address:
        counting = [
            asyncio.create_task(count.run(from_index=first[name]), name="count events")
            for name, count in counts.items()
        ]
        try:
            yield address
        finally:
            for task in counting:
                task.cancel()
            await asyncio.gather(*counting, return_exceptions=True)


def _last(drift: DriftUseCases) -> DriftReport | None:
    return drift.watch.last


def _standing(watched: Watched) -> ChannelStanding | None:
    return watched.status().channel
