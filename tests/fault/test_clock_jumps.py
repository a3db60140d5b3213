"""The machine's clock jumps by a year, forth and back, while a control plane holds grants, approvals and budgets open.

A process of its own is run whose wall clock is turned beneath it (``wall_clock.c``); the time that passes is real.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import struct
import subprocess
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aisecops.v1 import budget_service_pb2, budget_service_pb2_grpc, execution_service_pb2, grant_pb2
from aisecops_client import AccessRefusedError, ApprovalNotUsableError, AsyncClient, PlanBuilder
from aisecops_client.errors import AisecopsClientError
from aisecops_client.messages import bearer
from aisecops_server.adapters.system import SystemClock
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings

from tests.integration.api.real import settings_in
from tests.integration.api.test_approvals import ADA, GRANTED, answered, refund
from tests.scenes.planes.serving_process import SECONDS, require_on_record, serving

SOURCE = Path(__file__).with_name("wall_clock.c")

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not shutil.which("cc"), reason="what turns the clock of a process is compiled: there is no 'cc'"
    ),
]

YEAR = 366 * 24 * 3600
PAYER = "spiffe://corp.example/agent/finance-assistant"
SUPPORT = "spiffe://corp.example/agent/support-assistant"
WRITES = f"agent:{PAYER}/writes/day"
IBAN = "DE89370400440532013000"
ENDED = {"execution.expired_unknown", "approval.expired"}


@dataclass
class TurnedClock:
    """The clock of the process, also for who gives out credentials beside it; ``seconds`` is how far it is turned."""

    folder: Path
    seconds: int = 0

    def __post_init__(self) -> None:
        command = ["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(self.folder / "wall_clock.so"), str(SOURCE)]
        subprocess.run(command, check=True)
        self.turn(0)

    def turn(self, seconds: int) -> None:
        """Have it be ``seconds`` ahead of the real time from now on, or behind it."""
        self.seconds = seconds
        with (self.folder / "offset").open("r+b" if (self.folder / "offset").exists() else "wb") as file:
            # One write of eight bytes: the process maps them and never sees a half.
            file.write(struct.pack("=q", seconds))

    def now_ns(self) -> int:
        return SystemClock().now_ns() + self.seconds * 1_000_000_000

    def monotonic_ns(self) -> int:
        return SystemClock().monotonic_ns()

    @property
    def environment(self) -> Mapping[str, str]:
        """What turns the clock of a process that is started with it."""
        return {"LD_PRELOAD": str(self.folder / "wall_clock.so"), "WALL_CLOCK_OFFSET": str(self.folder / "offset")}


@dataclass
class Scene:
    """A control plane whose clock is turned, and who calls it."""

    settings: Settings
    clock: TurnedClock

    @asynccontextmanager
    async def who(self, name: str, *roles: Role) -> AsyncIterator[AsyncClient]:
        """Be connected with a credential of the time that the process believes in."""
        token = replace(issuer(self.settings), clock=self.clock).mint(name, roles)
        async with AsyncClient.connect(f"unix:{self.settings.socket}", token) as client:
            client.timeout_seconds = SECONDS
            async with asyncio.timeout(SECONDS):
                await client.channel.channel_ready()
            yield client

    async def writes(self) -> tuple[int, int]:
        """Return what the agent's budget of writes of today has used, and what is reserved."""
        async with self.who("audit", Role.AUDITOR) as reader:
            request = budget_service_pb2.GetBudgetRequest(name=WRITES)
            stub = budget_service_pb2_grpc.BudgetServiceStub(reader.channel)
            found = (await stub.GetBudget(request, metadata=bearer(reader.token), timeout=SECONDS)).budget
            return found.used, found.reserved

    async def until_ended(self, things: Collection[str]) -> None:
        """Wait until the log says of each grant and approval that it ended without having been used."""
        left = set(things)
        async with self.who("audit", Role.AUDITOR) as reader, asyncio.timeout(SECONDS):
            async for event in reader.events(follow=True):
                if event.type in ENDED:
                    details = json.loads(event.body_json)["details"]
                    left -= {details.get("grant"), details.get("approval_id")}
                if not left:
                    return


@dataclass(frozen=True)
class Held:
    """What was open when the clock jumped: a grant, an approval that people gave, and one that they were asked for."""

    grant: grant_pb2.Grant
    plan: PlanBuilder
    approved: str
    asked: str


@asynccontextmanager
async def scene(root: Path) -> AsyncIterator[Scene]:
    """Serve under a clock that can be turned, which at first is right."""
    settings = settings_in(root)
    clock = TurnedClock(root)
    issuer(settings)
    with serving(settings, more={**clock.environment, "AISECOPS_GRANT_SECONDS": "300"}):
        yield Scene(settings, clock)


def payment(amount: int = 480) -> PlanBuilder:
    """Return a plan that the shipped policy allows: a person named the account."""
    plan = PlanBuilder(intent="pay an invoice", environment="production")
    prompt = plan.source("user_prompt", f"Pay invoice 2291 of Brightwater Ltd, {amount} EUR, to {IBAN}")
    arguments = {"payee": "Brightwater Ltd", "iban": IBAN, "amount": amount, "currency": "EUR", "reference": "2291"}
    plan.step("payments/create_transfer", arguments, influenced_by=[prompt])
    return plan


async def opened(at: Scene, payer: AsyncClient) -> Held:
    """Have a grant, an approval and a request open."""
    paid = await payer.decide(payment())
    assert paid.allowed, paid.explanation
    [grant] = paid.grants
    plan = refund(164)
    async with at.who(SUPPORT, Role.AGENT) as support, at.who(ADA, Role.SECOPS) as ada:
        approved = (await support.decide(plan)).approval_id
        assert (await answered(ada, approved)).state == GRANTED
        asked = (await support.decide(refund(165))).approval_id
    return Held(grant, plan, approved, asked)


async def redeemed(client: AsyncClient, grant: grant_pb2.Grant) -> str:
    """Use up a grant; return its id."""
    request = execution_service_pb2.RedeemRequest(
        token=grant.token, redemption_key="k" * 16, tool=grant.tool, arguments_sha256=grant.arguments_sha256
    )
    return (await client.redeem(request)).grant_id


async def require_nothing_usable(at: Scene, held: Held) -> None:
    """Require that neither the approval nor the request is good for anything."""
    async with at.who(SUPPORT, Role.AGENT) as support, at.who(ADA, Role.SECOPS) as ada:
        with pytest.raises(ApprovalNotUsableError) as used:
            await support.decide(held.plan, approval_id=held.approved)
        with pytest.raises(ApprovalNotUsableError) as voted:
            await answered(ada, held.asked)
        assert (used.value.metadata["why"], voted.value.metadata["why"]) == ("expired", "expired")


async def test_a_clock_that_jumps_by_a_year_forth_and_back_opens_nothing(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    async with scene(tmp_path) as at, at.who(PAYER, Role.AGENT) as payer:
        held = await opened(at, payer)
        assert await at.writes() == (0, 1)

        at.clock.turn(YEAR)
        with pytest.raises(AccessRefusedError):
            await payer.decide(payment())
        async with at.who(PAYER, Role.AGENT) as later:
            with pytest.raises(AisecopsClientError) as expired:
                await redeemed(later, held.grant)
            assert expired.value.reason == "GRANT_NOT_USABLE"
            await require_nothing_usable(at, held)
            # It decides on, in a period of its own.
            future = await later.decide(payment(481))
            acknowledged.append(future.decision.decision_id)
            assert (future.allowed, await at.writes()) == (True, (0, 1))
            await at.until_ended({held.grant.grant_id, held.approved, held.asked})

            at.clock.turn(0)
            # What was given by the time of then is not good yet, whoever has it.
            for client in (later, payer):
                with pytest.raises(AisecopsClientError):
                    await redeemed(client, future.grants[0])
        # What ended stays ended, and what was never reported counts in the period that it was allowed in.
        with pytest.raises(AisecopsClientError) as ended:
            await redeemed(payer, held.grant)
        assert ended.value.reason == "GRANT_NOT_USABLE"
        await require_nothing_usable(at, held)
        assert await at.writes() == (1, 0)
        present = await payer.decide(payment(482))
        acknowledged.append(present.decision.decision_id)
        assert (present.allowed, await at.writes()) == (True, (1, 1))

        at.clock.turn(-YEAR)
        with pytest.raises(AisecopsClientError):
            await redeemed(payer, present.grants[0])
        await require_nothing_usable(at, held)
        async with at.who(PAYER, Role.AGENT) as earlier:
            past = await earlier.decide(payment(483))
            acknowledged.append(past.decision.decision_id)
            assert (past.allowed, await at.writes()) == (True, (0, 1))

        at.clock.turn(0)
        assert await at.writes() == (1, 1)
        assert await redeemed(payer, present.grants[0])
    await require_on_record(at.settings.log_path, acknowledged)


async def test_a_clock_that_stands_right_leaves_all_of_it_usable(tmp_path: Path) -> None:
    async with scene(tmp_path) as at, at.who(PAYER, Role.AGENT) as payer:
        held = await opened(at, payer)
        at.clock.turn(0)
        assert await redeemed(payer, held.grant) == held.grant.grant_id
        async with at.who(SUPPORT, Role.AGENT) as support, at.who(ADA, Role.SECOPS) as ada:
            assert (await support.decide(held.plan, approval_id=held.approved)).allowed
            assert (await answered(ada, held.asked)).state == GRANTED
        assert await at.writes() == (0, 1)
