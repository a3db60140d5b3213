"""How runtime controls stand around policy: facts before, changes after, everything again when too late."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.decisions.decision import Decision, Mode, Outcome
from aisecops_server.domain.documents.input_document import Circumstances
from aisecops_server.domain.errors import AisecopsError, ContendedError, NotFoundError
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.events.event import Stage, make_event
from aisecops_server.domain.log.record import DecisionRecord, Receipt
from aisecops_server.domain.plans.plan_builder import Fresh, PlanDraft, StepDraft, build_plan
from aisecops_server.usecases.decisions.controls import Asked, Commitment
from aisecops_server.usecases.decisions.decide import MOST_ATTEMPTS, Decide, DecideCommand, Decided

from tests.fakes.clock import FakeClock
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.policy_engine import FakeEngine

IDS = RandomIds()


@dataclass(frozen=True, slots=True)
class Take(Change):
    kind = "token"
    number: int


@dataclass
class Tokens:
    """A control that tells how many tokens are left, takes one, and counts how often it was asked."""

    left: int = 9
    asked: int = 0
    unknown: bool = False

    async def facts(self, asked: Asked, known: Circumstances) -> Circumstances:
        self.asked += 1
        if self.unknown:
            raise NotFoundError("nobody knows")
        return dataclasses.replace(known, session_calls=self.left)

    async def commitment(self, asked: Asked, decision: Decision) -> Commitment:
        event = make_event(
            id=IDS.event_id(),
            trace_id=decision.trace_id,
            plan_id=decision.plan_id,
            decision_id=decision.id,
            stage=Stage.BUDGET,
            type="token.taken",
            occurred_at_ns=asked.now_ns,
            details={"attempt": self.asked},
        )
        return Commitment((Take(self.asked),), (event,), {"token": self.asked})


@dataclass
class BusyLog(MemoryEventLog):
    """Refuses the changes of the first attempts with ``refusal``."""

    busy: int = 0
    refusal: AisecopsError = field(default_factory=lambda: ContendedError("somebody was faster"))

    async def append(self, record: DecisionRecord) -> Receipt:
        if record.changes and self.busy:
            self.busy -= 1
            raise self.refusal
        return await super().append(record)

    async def append_many(self, records: Sequence[DecisionRecord]) -> list[Receipt | AisecopsError]:
        results: list[Receipt | AisecopsError] = []
        for record in records:
            try:
                results.append(await self.append(record))
            except AisecopsError as error:
                results.append(error)
        return results


def command(tool: str = "mail/read", mode: Mode = Mode.ENFORCE) -> DecideCommand:
    draft = PlanDraft(steps=(StepDraft("s1", tool, b"{}"),))
    plan = build_plan(draft, Fresh(IDS.trace_id(), IDS.plan_id()))
    return DecideCommand(Principal(PrincipalId("a"), "token", frozenset({Role.AGENT})), plan, mode, "", "")


def deciding(log: MemoryEventLog, tokens: Tokens) -> Decide:
    return Decide(FakeEngine(), log, FakeClock(), IDS, deadline_seconds=1.0, controls=(tokens,))


def types(log: MemoryEventLog) -> list[str]:
    return [stored.event.type for stored in log.stored]


async def one(decide: Decide, asked: DecideCommand) -> Decided:
    return await decide(asked)


async def in_a_batch(decide: Decide, asked: DecideCommand) -> Decided:
    (result,) = await decide.batch([asked])
    if isinstance(result, AisecopsError):
        raise result
    return result


Way = Callable[[Decide, DecideCommand], Awaitable[Decided]]
WAYS = pytest.mark.parametrize("decided", [one, in_a_batch])


@pytest.mark.asyncio
@WAYS
async def test_policy_sees_what_controls_know_and_the_record_tells_what_they_change(decided: Way) -> None:
    log, tokens = MemoryEventLog(), Tokens(left=7)
    decide = deciding(log, tokens)
    answer = await decided(decide, command())
    (record,) = log.records
    assert json.loads(record.document)["usage"]["session_calls"] == 7
    assert record.changes == (Take(1),)
    assert (answer.details["token"], json.loads(record.events[-1].body)["details"]["token"]) == (1, 1)
    assert types(log)[-2:] == ["token.taken", "decision.concluded"]


@pytest.mark.asyncio
@WAYS
@pytest.mark.parametrize("busy", [1, MOST_ATTEMPTS - 1])
async def test_who_was_too_late_asks_again_and_only_what_counted_is_on_record(decided: Way, busy: int) -> None:
    log, tokens = BusyLog(busy=busy), Tokens()
    answer = await decided(deciding(log, tokens), command())
    assert (answer.outcome, answer.details["token"], tokens.asked) == (Outcome.ALLOW, busy + 1, busy + 1)
    assert types(log).count("decision.concluded") == types(log).count("token.taken") == len(log.records) == 1


@pytest.mark.asyncio
@WAYS
async def test_who_is_always_too_late_is_refused_on_record(decided: Way) -> None:
    log, tokens = BusyLog(busy=MOST_ATTEMPTS), Tokens()
    with pytest.raises(ContendedError):
        await decided(deciding(log, tokens), command())
    (event,) = log.stored
    details = event.event.details()
    assert (event.event.type, details["reason"], tokens.asked) == ("decision.refused", "CONTENDED", MOST_ATTEMPTS)


@pytest.mark.asyncio
@WAYS
async def test_a_change_that_is_refused_for_good_is_not_tried_again(decided: Way) -> None:
    log, tokens = BusyLog(busy=1, refusal=NotFoundError("it is gone")), Tokens()
    with pytest.raises(NotFoundError):
        await decided(deciding(log, tokens), command())
    assert (types(log), tokens.asked) == (["decision.refused"], 1)


@pytest.mark.asyncio
@WAYS
async def test_nothing_is_decided_on_what_is_not_known(decided: Way) -> None:
    log = MemoryEventLog()
    with pytest.raises(NotFoundError):
        await decided(deciding(log, Tokens(unknown=True)), command())
    assert (types(log), log.records) == (["decision.refused"], [])


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", [Mode.DRY_RUN, Mode.SHADOW])
async def test_what_is_not_enforced_commits_to_nothing_but_is_told_the_facts(mode: Mode) -> None:
    log, tokens = MemoryEventLog(), Tokens(left=3)
    await deciding(log, tokens)(command(mode=mode))
    (record,) = log.records
    assert (record.changes, "token.taken" in types(log)) == ((), False)
    assert json.loads(record.document)["usage"]["session_calls"] == 3


@pytest.mark.asyncio
async def test_one_plan_of_a_batch_that_is_too_late_does_not_hold_up_the_others() -> None:
    log, tokens = BusyLog(busy=1), Tokens()
    answers = await deciding(log, tokens).batch([command(), command("db/delete"), command("mail/read")])
    assert [isinstance(answer, Decided) and answer.outcome for answer in answers] == [
        Outcome.ALLOW,
        Outcome.DENY,
        Outcome.ALLOW,
    ]
    assert types(log).count("decision.concluded") == 3
