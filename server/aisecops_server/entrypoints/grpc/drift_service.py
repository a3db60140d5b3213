"""DriftService: the last report on drift, and a look on request."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from aisecops.v1 import drift_service_pb2 as api

from aisecops_server.domain.replays.drift import DriftReport, PolicyDrift
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.decision_codec import timestamp
from aisecops_server.entrypoints.grpc.methods import read_message
from aisecops_server.usecases.reviews.watch_drift import WatchDrift


@dataclass(frozen=True, slots=True)
class DriftUseCases:
    """What looks for drift; ``standing`` says whether it does so without being asked."""

    watch: WatchDrift
    standing: bool

    @property
    def tasks(self) -> Mapping[str, Callable[[], Coroutine[Any, Any, None]]]:
        """Return what is to run while a control plane serves, by name."""
        return {"watch for drift": self.watch.run} if self.standing else {}


@dataclass(frozen=True, slots=True)
class DriftService:
    """The handlers of ``aisecops.v1.DriftService``."""

    drift_of: DriftUseCases

    async def drift(self, request: bytes, _caller: Caller) -> api.GetDriftResponse:
        """Answer GetDrift."""
        read_message(api.GetDriftRequest, request)
        watch = self.drift_of.watch
        last = watch.last
        return api.GetDriftResponse(
            report=_report(last) if last else None,
            interval_seconds=int(watch.interval_seconds) if self.drift_of.standing else 0,
            sample_size=watch.check.size,
        )

    async def check(self, request: bytes, caller: Caller) -> api.CheckDriftResponse:
        """Answer CheckDrift."""
        read_message(api.CheckDriftRequest, request)
        return api.CheckDriftResponse(report=_report(await self.drift_of.watch.now(asked_by=caller.principal.id)))


def _report(report: DriftReport) -> api.DriftReport:
    fidelity: Mapping[str, Any] = report.fidelity.as_json()
    return api.DriftReport(
        checked_at=timestamp(report.checked_at_ns),
        found=report.found,
        checked=fidelity["checked"],
        reproduced=fidelity["reproduced"],
        problems=[api.DriftProblem(**problem) for problem in fidelity["problems"]],
        coverage=[
            api.DriftCoverage(agent_id=row.agent_id, tool=row.tool, checked=row.checked, reproduced=row.reproduced)
            for row in report.rows
        ],
        policies=[_policy(policy) for policy in report.policies],
    )


def _policy(policy: PolicyDrift) -> api.PolicyDrift:
    return api.PolicyDrift(
        name=policy.name,
        revision=policy.revision,
        compared=policy.compared,
        looser=policy.looser,
        stricter=policy.stricter,
        risky=policy.risky,
        other=policy.other,
        undecided=policy.undecided,
        examples=policy.examples,
        problem=policy.problem,
    )
