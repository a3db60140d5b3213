"""Reading a long plan keeps nobody else waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.decisions.decision import MOST_FINDINGS, Mode, Outcome, Verdict, conclude
from aisecops_server.domain.errors import AisecopsError, NoDecisionError
from aisecops_server.domain.grounding.source_text import Scalar
from aisecops_server.domain.plans.plan import PlanId, StepId, TraceId
from aisecops_server.domain.plans.plan_builder import Fresh, PlanDraft, SourceDraft, StepDraft, build_plan, plan_hash
from aisecops_server.domain.plans.provenance import SourceKind
from aisecops_server.usecases.decisions.decide import BATCH_LANES, LONG_CHARACTERS, Decide, DecideCommand, Decided

from tests.fakes.clock import FakeClock
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.policy_engine import FakeEngine
from tests.fakes.verdicts import whole


def command(characters: int) -> DecideCommand:
    page = SourceDraft("page", SourceKind.TOOL_RESULT, content=b"x" * characters)
    draft = PlanDraft(steps=(StepDraft("s1", "mail/send", b"{}"),), sources=(page,))
    plan = build_plan(draft, Fresh(TraceId("0" * 32), PlanId("p")))
    return DecideCommand(Principal(PrincipalId("a"), "token", frozenset({Role.AGENT})), plan, Mode.ENFORCE, "", "")


@pytest.mark.asyncio
@pytest.mark.parametrize(("characters", "elsewhere"), [(LONG_CHARACTERS, False), (LONG_CHARACTERS + 1, True)])
async def test_a_long_plan_is_read_beside_the_event_loop(characters: int, *, elsewhere: bool) -> None:
    readers: list[int] = []

    def read(_text: str) -> Sequence[Scalar] | None:
        readers.append(threading.get_ident())
        return None

    decide = Decide(FakeEngine(), MemoryEventLog(), FakeClock(), RandomIds(), deadline_seconds=1.0, read_records=read)
    alone = await decide(command(characters))
    (together,) = await decide.batch([command(characters)])
    assert isinstance(together, Decided)
    assert alone.outcome is together.outcome is Outcome.ALLOW
    assert {reader != threading.get_ident() for reader in readers} == {elsewhere}


@dataclass
class CountingEngine(FakeEngine):
    """Counts how many batches are being evaluated at once."""

    under_way: int = 0
    most: int = 0

    async def evaluate_batch(
        self, documents: Sequence[bytes], *, deadline_seconds: float
    ) -> list[Verdict | AisecopsError]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        # An engine takes longer than building the next chunk does.
        for _ in range(20):
            await asyncio.sleep(0)
        self.under_way -= 1
        return await super().evaluate_batch(documents, deadline_seconds=deadline_seconds)


@pytest.mark.asyncio
async def test_a_large_batch_goes_through_a_few_lanes_and_answers_in_order() -> None:
    engine = CountingEngine()
    decide = Decide(engine, MemoryEventLog(), FakeClock(), RandomIds(), deadline_seconds=1.0, batch_chunk=2)
    commands = [command(number) for number in range(1, 40)]
    results = await decide.batch(commands)
    assert 1 < engine.most <= BATCH_LANES
    hashes = [result.details["plan_hash"] for result in results if isinstance(result, Decided)]
    assert hashes == [plan_hash(asked.plan, asked.principal.id) for asked in commands]


def test_an_answer_with_more_findings_than_can_be_told_is_none() -> None:
    finding = {
        **dict.fromkeys(("rule", "title", "message", "step", "remedy"), ""),
        "effect": "deny",
        "severity": "low",
        "facts": [],
    }
    denied = [{"id": "s1", "outcome": "DENY"}]
    result = whole({"outcome": "DENY", "findings": [finding] * MOST_FINDINGS, "steps": denied})
    steps = [StepId("s1")]
    assert conclude(Verdict(result, "r", "v", 0), step_ids=steps, expected_revision="r").outcome is Outcome.DENY
    result = whole({"outcome": "DENY", "findings": [finding] * (MOST_FINDINGS + 1), "steps": denied})
    with pytest.raises(NoDecisionError):
        conclude(Verdict(result, "r", "v", 0), step_ids=steps, expected_revision="r")
