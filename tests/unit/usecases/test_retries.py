"""A retry gets the stored answer, an allow does not outlive its policy, and what was asked is on record."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.bundles.bundle import CommitId
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.decisions.decision import Mode, Outcome, Verdict
from aisecops_server.domain.errors import IdempotencyConflictError
from aisecops_server.domain.plans.plan import PlanId, TraceId
from aisecops_server.domain.plans.plan_builder import Fresh, PlanDraft, StepDraft, build_plan
from aisecops_server.usecases.decisions.decide import Decide, DecideCommand

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


@dataclass
class SilentEngine(FakeEngine):
    """Is asked and never answers."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def evaluate(self, document: bytes, *, deadline_seconds: float) -> Verdict:
        del document, deadline_seconds
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody set it")


@pytest.mark.asyncio
async def test_what_was_asked_is_on_record_even_if_the_caller_does_not_wait() -> None:
    engine, log = SilentEngine(), MemoryEventLog()
    decide = Decide(engine, log, FakeClock(), RandomIds(), deadline_seconds=1.0)
    asking = asyncio.create_task(decide(command("mail/send")))
    await engine.asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    (refused,) = [stored.event async for stored in log.events(from_index=0, follow=False, trace_id="")]
    assert (refused.type, refused.details()["message"]) == (
        "decision.refused",
        "the caller stopped waiting",
    )
