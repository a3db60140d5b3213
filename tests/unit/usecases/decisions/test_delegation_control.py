"""The control that holds a chain of agents against the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aisecops_server.domain.bundles.bundle import Bundle, BundleDigest, CommitId
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.decisions.decision import Mode
from aisecops_server.domain.documents.input_document import Circumstances
from aisecops_server.domain.errors import LogUnavailableError
from aisecops_server.domain.plans.plan import Delegate, PlanId, TraceId
from aisecops_server.domain.plans.plan_builder import DelegateDraft, Fresh, PlanDraft, StepDraft, build_plan
from aisecops_server.usecases.decisions.controls import Asked
from aisecops_server.usecases.decisions.delegation_control import DelegationControl

TRACES = {"root": "a" * 32, "middle": "b" * 32}
ROOT, MIDDLE = (Delegate(agent, trace) for agent, trace in TRACES.items())


@dataclass
class Record:
    """A log that shows what it is told to, and counts how often it is asked."""

    shown: set[tuple[Delegate, tuple[Delegate, ...]]] = field(default_factory=set)
    asked: int = 0
    fails: bool = False

    async def acted(self, agent_id: str, trace_id: str, *, below: Sequence[Delegate]) -> bool:
        self.asked += 1
        if self.fails:
            raise LogUnavailableError("cannot be read")
        return (Delegate(agent_id, trace_id), tuple(below)) in self.shown


def asked(*chain: Delegate) -> tuple[Asked, Circumstances]:
    plan = build_plan(
        PlanDraft(
            steps=(StepDraft(id="s1", tool="mail/send", arguments_json=b"{}"),),
            delegation=tuple(DelegateDraft(link.agent_id, link.trace_id) for link in chain),
        ),
        Fresh(TraceId("f" * 32), PlanId("plan-1")),
    )
    caller = Principal(PrincipalId("caller"), "token", frozenset({Role.AGENT}))
    bundle = Bundle(CommitId("c" * 40), BundleDigest("d" * 64), Path("bundle.tar.gz"), ())
    return Asked(caller, plan, "hash", Mode.ENFORCE, 0, bundle), Circumstances(Mode.ENFORCE, caller, 0)


async def verified(control: DelegationControl, *chain: Delegate) -> tuple[bool, ...]:
    return (await control.facts(*asked(*chain))).verified_links


@pytest.mark.asyncio
async def test_who_acts_alone_is_not_looked_up() -> None:
    record = Record()
    assert await verified(DelegationControl(record)) == ()
    assert record.asked == 0


@pytest.mark.asyncio
async def test_each_link_is_held_against_the_chain_above_it() -> None:
    record = Record({(ROOT, ()), (MIDDLE, (ROOT,))})
    control = DelegationControl(record)
    assert await verified(control, ROOT, MIDDLE) == (True, True)
    assert await verified(control, MIDDLE) == (False,)
    assert await verified(control, MIDDLE, ROOT) == (False, False)
    assert await verified(control, Delegate("root", "")) == (False,)


@pytest.mark.asyncio
async def test_what_was_shown_once_is_remembered_and_what_was_not_is_asked_again() -> None:
    record = Record({(ROOT, ())})
    control = DelegationControl(record)
    for _ in range(3):
        assert await verified(control, ROOT) == (True,)
        assert await verified(control, ROOT, MIDDLE) == (True, False)
    assert record.asked == 1 + 3
    record.shown.add((MIDDLE, (ROOT,)))
    assert await verified(control, ROOT, MIDDLE) == (True, True)


@pytest.mark.asyncio
async def test_a_log_that_cannot_be_read_decides_nothing() -> None:
    with pytest.raises(LogUnavailableError):
        await verified(DelegationControl(Record(fails=True)), ROOT)


@pytest.mark.asyncio
async def test_what_is_remembered_is_bounded() -> None:
    record = Record()
    control = DelegationControl(record)
    for number in range(4200):
        link = Delegate("root", f"{number:032x}")
        record.shown.add((link, ()))
        await verified(control, link)
    assert len(control._shown) <= 4096
