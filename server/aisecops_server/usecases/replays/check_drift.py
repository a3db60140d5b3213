"""Recent decisions in, what drifted out: asked again on their own policy and engine, and judged by other revisions.

It is part of replay's world: handed history to read, policy to build and engines to ask, and nothing that acts or
records. What it finds is recorded by whoever runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.replays.drift import DriftReport, PolicyDrift, policy_drift, reproduced
from aisecops_server.domain.replays.fidelity import Fidelity
from aisecops_server.domain.replays.recorded_decision import RecordedDecision
from aisecops_server.ports import Clock
from aisecops_server.usecases.replays.check_fidelity import CheckFidelity
from aisecops_server.usecases.replays.judge_decisions import Contest, JudgeDecisions
from aisecops_server.usecases.replays.resolve_policy import ResolvePolicy, WantedPolicy
from aisecops_server.usecases.replays.sample_decisions import SampleDecisions

# What counts as recent.
WINDOW_SECONDS = 7 * 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class CheckDrift:
    """Looks at up to ``size`` recent decisions of every kind."""

    sample: SampleDecisions
    fidelity: CheckFidelity
    judge: JudgeDecisions
    policies: ResolvePolicy
    clock: Clock
    size: int
    window_seconds: int = WINDOW_SECONDS

    async def __call__(self, revisions: Sequence[tuple[str, str]]) -> DriftReport:
        """Return what drifted; ``revisions`` are the ones to judge by, each with its name.

        Raises:
            LogUnavailableError, IntegrityError: history cannot be read.
        """
        now = self.clock.now_ns()
        decisions = await self.sample(self.size, from_micros=now // 1000 - self.window_seconds * 1_000_000)
        checks = await self.fidelity(decisions)
        return DriftReport(
            checked_at_ns=now,
            window_seconds=self.window_seconds,
            fidelity=Fidelity(tuple(checks)),
            rows=reproduced(decisions, checks),
            policies=tuple([await self._policy(name, revision, decisions) for name, revision in revisions]),
        )

    async def _policy(self, name: str, revision: str, decisions: Sequence[RecordedDecision]) -> PolicyDrift:
        try:
            policy = await self.policies(WantedPolicy(revision=revision))
            judged = await self.judge(decisions, Contest(policy))
        except AisecopsError as error:
            return PolicyDrift(name, revision, problem=error.message)
        compared = ((decision, each.comparison) for decision, each in zip(decisions, judged, strict=True))
        return policy_drift(name, policy.side.revision, compared)
