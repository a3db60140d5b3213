"""The composition root of what shows that the control plane does what it says: compliance.

Handed the log, what it commits to and what is live to look at, and replay to decide again with; nothing that acts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.bootstrap_replay import Replaying
from aisecops_server.domain.bundle import Bundle
from aisecops_server.entrypoints.grpc.access import ROLES_OF_CALL
from aisecops_server.entrypoints.grpc.compliance_service import ComplianceUseCases
from aisecops_server.ports.assurance import ReadableLog
from aisecops_server.settings import Settings
from aisecops_server.usecases.check_compliance import CheckCompliance
from aisecops_server.usecases.checkpoint import PublishCheckpoint
from aisecops_server.usecases.live_checks import LIVE_CHECKS, LiveChecks, LivePart
from aisecops_server.usecases.run_scenarios import RunScenarios
from aisecops_server.usecases.sample_decisions import SampleDecisions


@dataclass(frozen=True, slots=True)
class Watched:
    """What of a control plane is looked at. ``live`` gives the bundle that is live, or raises that none is."""

    log: ReadableLog
    publish: PublishCheckpoint
    live: Callable[[], Bundle]


def compliance_of(settings: Settings, replays: Replaying, watched: Watched) -> ComplianceUseCases:
    """Return what checks compliance of a control plane."""
    policies = replays.policies
    checks = LiveChecks(
        log=watched.log,
        proofs=watched.publish.log,
        checkpoints=watched.publish.store,
        sample=SampleDecisions(replays.history),
        fidelity=replays.fidelity,
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
