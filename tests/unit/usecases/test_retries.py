"""A retry gets the stored answer, and an allow does not outlive the policy that gave it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.bundle import CommitId
from aisecops_server.domain.decision import Mode, Outcome
from aisecops_server.domain.errors import IdempotencyConflictError
from aisecops_server.domain.identity import Principal, PrincipalId, Role
from aisecops_server.domain.plan import PlanId, TraceId
from aisecops_server.domain.plan_builder import Fresh, PlanDraft, StepDraft, build_plan
from aisecops_server.usecases.decide import Decide, DecideCommand

from tests.fakes.clock import FakeClock
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.policy_engine import FakeEngine, fake_bundle


def command(tool: str) -> DecideCommand:
    draft = PlanDraft(steps=(StepDraft("s1", tool, b"{}"),))
    plan = build_plan(draft, Fresh(TraceId("0" * 32), PlanId("p")))
    principal = Principal(PrincipalId("a"), "token", frozenset({Role.AGENT}))
    return DecideCommand(principal, plan, Mode.ENFORCE, "key", "digest")


@pytest.mark.asyncio
async def test_an_allow_of_an_earlier_policy_is_not_given_again() -> None:
    engine = FakeEngine()
    decide = Decide(engine, MemoryEventLog(), FakeClock(), RandomIds(), deadline_seconds=1.0)
    first = await decide(command("mail/send"))
    assert (await decide(command("mail/send"))).details == first.details
    engine.bundle = replace(fake_bundle(), revision=CommitId("c" * 40))
    with pytest.raises(IdempotencyConflictError):
        await decide(command("mail/send"))


@pytest.mark.asyncio
async def test_a_denial_is_given_again_whatever_is_live() -> None:
    engine = FakeEngine()
    decide = Decide(engine, MemoryEventLog(), FakeClock(), RandomIds(), deadline_seconds=1.0)
    first = await decide(command("db/delete"))
    engine.bundle = replace(fake_bundle(), revision=CommitId("c" * 40))
    again = await decide(command("db/delete"))
    assert (again.outcome, again.details, again.receipt.replayed) == (Outcome.DENY, first.details, True)
