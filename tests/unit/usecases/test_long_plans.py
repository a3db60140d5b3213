"""Reading a long plan keeps nobody else waiting."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.decision import Mode, Outcome
from aisecops_server.domain.identity import Principal, PrincipalId, Role
from aisecops_server.domain.plan import PlanId, TraceId
from aisecops_server.domain.plan_builder import Fresh, PlanDraft, SourceDraft, StepDraft, build_plan
from aisecops_server.domain.provenance import SourceKind
from aisecops_server.domain.source_text import Scalar
from aisecops_server.usecases.decide import LONG_CHARACTERS, Decide, DecideCommand, Decided

from tests.fakes.clock import FakeClock
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.policy_engine import FakeEngine


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
    assert [reader != threading.get_ident() for reader in readers] == [elsewhere, elsewhere]
