"""Whether a stored decision can be reproduced, and what is said when it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.bundles.bundle import BundleDigest
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.decisions.decision import Mode, Verdict
from aisecops_server.domain.errors import EngineUnavailableError
from aisecops_server.domain.plans.plan import PlanId, TraceId
from aisecops_server.domain.plans.plan_builder import Fresh, PlanDraft, StepDraft, build_plan
from aisecops_server.usecases.decisions.decide import Decide, DecideCommand
from aisecops_server.usecases.decisions.explain import Explain

from tests.fakes.clock import FakeClock
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.policy_engine import FakeEngine


@dataclass
class ChangedEngine(FakeEngine):
    """An engine whose verdicts are changed on their way out."""

    change: Callable[[Verdict], Verdict] = lambda verdict: verdict

    async def evaluate(self, document: bytes, *, deadline_seconds: float) -> Verdict:
        return self.change(await super().evaluate(document, deadline_seconds=deadline_seconds))


def milder(verdict: Verdict) -> Verdict:
    result: Any = json.loads(json.dumps(verdict.result))
    result["risk_score_milli"] -= 1
    return replace(verdict, result=result)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("later", "why_not"),
    [
        (lambda engine: engine, ""),
        (lambda engine: replace(engine, bundle=replace(engine.bundle, digest=BundleDigest("c" * 64))), "digest"),
        (lambda engine: replace(engine, change=lambda verdict: replace(verdict, engine_version="2.0")), "engine 2.0"),
        (lambda engine: replace(engine, change=milder), "another decision"),
        (lambda engine: replace(engine, change=lambda verdict: replace(verdict, revision="d" * 40)), "d" * 40),
        (lambda engine: replace(engine, failure=EngineUnavailableError("the engine is starting")), "is starting"),
    ],
    ids=["same", "bundle", "engine", "decision", "revision", "no engine"],
)
async def test_a_decision_is_reproduced_or_it_is_said_what_is_missing(
    later: Callable[[ChangedEngine], ChangedEngine], why_not: str
) -> None:
    log, engine = MemoryEventLog(), ChangedEngine()
    plan = build_plan(PlanDraft((StepDraft("s1", "db/delete", b"{}"),)), Fresh(TraceId("0" * 32), PlanId("p")))
    agent = Principal(PrincipalId("a"), "token", frozenset({Role.AGENT}))
    decide = Decide(engine, log, FakeClock(), RandomIds(), deadline_seconds=1.0)
    decided = await decide(DecideCommand(agent, plan, Mode.ENFORCE, "", ""))
    explain = Explain(later(engine), log, deadline_seconds=1.0)
    explained = await explain(str(decided.details["decision_id"]), full=False)
    assert explained.reproduced is (why_not == "")
    assert why_not in explained.why_not
    assert explained.stored.details == decided.details
