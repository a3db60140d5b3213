"""A revision on its way to agents, on real Git, real engines and a real log: shadow, canary, promotion, and back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aisecops.v1.decision_pb2 import Outcome
from aisecops.v1.execution_service_pb2 import RedeemRequest
from aisecops.v1.plan_pb2 import ExecutionPlan
from aisecops_client import AsyncClient, PlanBuilder
from aisecops_client.answers import Answer
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.domain.errors import BundleRejectedError, InvalidRequestError, RolloutRefusedError
from aisecops_server.domain.rollouts.rollout import RolloutStage, Selector
from aisecops_server.domain.rollouts.rollout_tally import COMPARED
from aisecops_server.settings import Settings
from aisecops_server.usecases.bundles.activate import ActivateCommand, Order
from aisecops_server.usecases.rollouts.rollouts import Rollouts, RolloutStatus, StartCommand

from tests.integration.api.real import AGENT, running, settings_in
from tests.scenes.planes.processes import children
from tests.scenes.policy.git_remotes import Remote
from tests.support import opa_binary

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

ADA, BEN = Order("ada", "the limit is too high"), Order("ben", "it is watched now")
PATIENCE_SECONDS = 120.0
BEFORE, AFTER = "    amount_over: 100\n", "    amount_over: 50\n"


STEPS = ("rollout.started", "rollout.canary_set", "rollout.rolled_back")
ACCEPTED = """- rule: approval.amount_over_limit
  direction: stricter
  max_count: 5
  owner: payments
  reason: People look at refunds from fifty euros on.
  expires: {day}
"""


def settings_in_again(root: Path) -> Settings:
    """Return the settings of a control plane that was there before."""
    return Settings(
        state_dir=root / "s",
        engine_path=opa_binary(),
        repository=str(root / "policy"),
        deadline_milliseconds=10_000,
        poll_seconds=3600,
    )


def refund(amount: int = 64) -> ExecutionPlan:
    """Return a plan that needs no approval below the limit of the policy that ships."""
    builder = PlanBuilder(intent="refund a customer", environment="production")
    prompt = builder.source("user_prompt", f"Refund INV-2041, {amount} euros", id="prompt")
    builder.step("crm/issue_refund", {"invoice": "INV-2041", "amount": amount}, influenced_by=[prompt])
    return builder.build()


@dataclass
class Scene:
    plane: ControlPlane
    client: AsyncClient
    remote: Remote

    @property
    def rollouts(self) -> Rollouts:
        assert self.plane.rollouts is not None
        return self.plane.rollouts

    async def decide(self, times: int = 1) -> list[tuple[str, str]]:
        """Decide refunds and return outcome and revision of each."""
        answers = [await self.client.decide(refund()) for _ in range(times)]
        return [(Outcome.Name(answer.decision.outcome), answer.decision.bundle_revision) for answer in answers]

    async def compared(self, count: int) -> RolloutStatus:
        """Return the status once so many decisions were compared."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                status = await self.rollouts.status()
                assert status is not None
                if status.tally.compared + status.tally.errors >= count or not status.rollout.stage.is_under_way:
                    return status
                await asyncio.sleep(0.05)

    async def events(self, type: str) -> list[dict[str, Any]]:
        return [
            stored.event.details()
            async for stored in self.plane.log.events(from_index=0, follow=False, trace_id="")
            if stored.event.type == type
        ]


@asynccontextmanager
async def scene(root: Path, *, gates: str = "rollout: {seconds: 0, decisions: 5}\n") -> AsyncIterator[Scene]:
    """Serve the policy that ships, with gates that tests can wait for."""
    settings = settings_in(root).model_copy(update={"grant_seconds": 300})
    remote = Remote(root / "policy")
    remote.commit({"gates.yaml": gates.encode()}, "gates")
    async with running(settings) as (plane, client):
        yield Scene(plane, client, remote)


def stricter(remote: Remote, more: dict[str, bytes] | None = None) -> str:
    """Commit a limit below the refunds of these tests, on a branch that nobody follows; return the commit."""
    text = (remote.path / "data/approvals.yaml").read_text(encoding="utf-8")
    assert BEFORE in text
    remote.git("switch", "--quiet", "--force-create", "stricter", "main")
    made = remote.commit({"data/approvals.yaml": text.replace(BEFORE, AFTER).encode(), **(more or {})}, "lower limit")
    remote.git("switch", "--quiet", "main")
    return made


async def test_a_shadow_sees_live_plans_and_decides_none(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        base = here.remote.head()
        candidate = stricter(here.remote)
        started = await here.rollouts.start(StartCommand(candidate, ADA))
        assert started.rollout.stage is RolloutStage.SHADOW
        assert set(await here.decide(6)) == {("OUTCOME_ALLOW", base)}
        status = await here.compared(6)
        assert (status.tally.stricter, status.tally.looser, status.tally.errors) == (6, 0, 0)
        assert status.tally.rules == {("approval.amount_over_limit", "stricter"): 6}
        assert status.tally.agents == {(AGENT, "stricter"): 6}
        told = await here.events(COMPARED)
        assert {(each["decided_by"], each["outcome"], each["candidate"]) for each in told} == {
            ("base", "REQUIRE_APPROVAL", candidate)
        }
        decided = {each["decision_id"] for each in await here.events("decision.concluded")}
        assert {flip.decision_id for flip in status.tally.flips} == decided
        assert (await here.plane.log.verify()).ok


async def test_a_canary_decides_for_those_who_were_chosen_and_for_nobody_else(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        base = here.remote.head()
        candidate = stricter(here.remote)
        await here.rollouts.start(StartCommand(candidate, ADA))
        await here.rollouts.canary(Selector(agents=("spiffe://corp.example/agent/somebody-else",)), BEN)
        assert await here.decide() == [("OUTCOME_ALLOW", base)]
        await here.rollouts.canary(Selector(percent=100), BEN)
        assert await here.decide() == [("OUTCOME_REQUIRE_APPROVAL", candidate)]
        batch = await here.client.decide_batch([refund(), refund()])
        revisions = [answer.decision.bundle_revision for answer in batch if isinstance(answer, Answer)]
        assert revisions == [candidate, candidate]
        status = await here.compared(4)
        assert (status.tally.stricter, status.tally.compared) == (4, 4)
        assert [each["decided_by"] for each in await here.events(COMPARED)].count("candidate") == 3
        await here.rollouts.rollback(BEN)
        assert await here.decide() == [("OUTCOME_ALLOW", base)]
        ended = await here.rollouts.status()
        assert ended is not None
        assert (ended.rollout.stage, ended.rollout.moved.by) == (RolloutStage.ROLLED_BACK, "ben")
        steps = [each["principal"] for kind in STEPS for each in await here.events(kind)]
        assert steps == ["ada", "ben", "ben", "ben"]


async def test_what_disagrees_is_not_promoted_unless_it_is_accepted_or_forced(tmp_path: Path) -> None:
    gates = "most_flips: 2\nrollout: {seconds: 0, decisions: 5}\n"
    async with scene(tmp_path, gates=gates) as here:
        base = here.remote.head()
        candidate = stricter(here.remote)
        await here.rollouts.start(StartCommand(candidate, ADA))
        with pytest.raises(RolloutRefusedError, match="0 of 5 decisions were compared"):
            await here.rollouts.promote(ADA)
        await here.decide(5)
        await here.compared(5)
        with pytest.raises(RolloutRefusedError, match="5 outcomes flip that no entry accepts; 2 may"):
            await here.rollouts.promote(ADA)
        assert await here.decide() == [("OUTCOME_ALLOW", base)]
        with pytest.raises(RolloutRefusedError, match="needs a reason"):
            await here.rollouts.promote(Order("ada", ""), force=True)
        forced = await here.rollouts.promote(ADA, force=True)
        assert (forced.rollout.stage, forced.rollout.moved.forced) == (RolloutStage.PROMOTED, True)
        [told] = await here.events("rollout.promoted")
        assert (told["forced"], told["principal"], len(told["against"])) == (True, "ada", 1)
        assert await here.decide() == [("OUTCOME_REQUIRE_APPROVAL", candidate)]
        back = await here.rollouts.rollback(BEN)
        assert back.rollout.stage is RolloutStage.ROLLED_BACK
        assert await here.decide() == [("OUTCOME_ALLOW", base)]
        with pytest.raises(RolloutRefusedError, match="no rollout is there"):
            await here.rollouts.rollback(BEN)


async def test_what_its_own_change_accepts_is_promoted(tmp_path: Path) -> None:
    async with scene(tmp_path, gates="most_flips: 0\nrollout: {seconds: 0, decisions: 5}\n") as here:
        soon = (datetime.now(tz=UTC) + timedelta(days=30)).date()
        candidate = stricter(here.remote, {"accepted-flips.yaml": ACCEPTED.format(day=soon).encode()})
        await here.rollouts.start(StartCommand(candidate, ADA))
        await here.decide(5)
        status = await here.compared(5)
        assert status.problems == ()
        await here.rollouts.promote(ADA)
        assert here.plane.live.current().bundle.revision == candidate


async def test_a_grant_of_the_candidate_is_redeemed_after_it_was_taken_back_and_after_it_was_promoted(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as here:
        candidate = stricter(here.remote)
        await here.rollouts.start(StartCommand(candidate, ADA))
        await here.rollouts.canary(Selector(percent=100), BEN)
        before = await here.client.decide(refund(40))
        await here.rollouts.abort(BEN)
        await here.rollouts.start(StartCommand(candidate, ADA))
        await here.rollouts.canary(Selector(percent=100), BEN)
        later = await here.client.decide(refund(41))
        await here.rollouts.promote(ADA, force=True)
        for answer in (before, later):
            assert answer.decision.bundle_revision == candidate
            [grant] = answer.grants
            await here.client.redeem(
                RedeemRequest(
                    token=grant.token,
                    redemption_key=answer.decision.decision_id,
                    tool=grant.tool,
                    arguments_sha256=grant.arguments_sha256,
                )
            )
            [redeemed] = [each for each in await here.events("grant.redeemed") if each["grant"] == grant.grant_id]
            assert redeemed["tool"] == "crm/issue_refund"


async def test_a_candidate_that_does_not_answer_is_taken_back_by_itself(tmp_path: Path) -> None:
    async with scene(tmp_path, gates="rollout: {seconds: 0, decisions: 5, least: 3}\n") as here:
        base = here.remote.head()
        candidate = stricter(here.remote)
        others = children()
        await here.rollouts.start(StartCommand(candidate, ADA))
        [engine] = children() - others
        os.kill(engine, signal.SIGSTOP)
        assert set(await here.decide(6)) == {("OUTCOME_ALLOW", base)}
        status = await here.compared(100)
        assert (status.rollout.stage, status.rollout.moved.by) == (RolloutStage.ROLLED_BACK, "control-plane")
        assert "evaluations of the candidate failed" in status.rollout.moved.reason
        [told] = await here.events("rollout.rolled_back")
        assert told["errors"] >= 3


async def test_a_rollout_goes_on_after_a_restart_with_what_was_counted(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        candidate = stricter(here.remote)
        await here.rollouts.start(StartCommand(candidate, ADA))
        await here.rollouts.canary(Selector(percent=100), BEN)
        await here.decide(3)
        before = await here.compared(3)
    async with running(settings_in_again(tmp_path)) as (plane, client):
        again = Scene(plane, client, Remote(tmp_path / "policy"))
        assert await again.decide() == [("OUTCOME_REQUIRE_APPROVAL", candidate)]
        after = await again.compared(4)
        assert after.rollout == before.rollout
        assert (after.tally.compared, after.tally.stricter) == (4, 4)
        assert [flip.rules for flip in after.tally.flips] == [("approval.amount_over_limit",)] * 4


async def test_a_rollout_ends_when_something_else_becomes_live(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        candidate = stricter(here.remote)
        await here.rollouts.start(StartCommand(candidate, ADA))
        await here.rollouts.canary(Selector(percent=100), BEN)
        other = here.remote.commit({"data/modes.yaml": b"default: enforce\nagents: {}\nrules: {}\n"}, "other")
        await here.plane.policy.activate(ActivateCommand(other, BEN))
        assert await here.decide() == [("OUTCOME_ALLOW", other)]
        await here.rollouts.ask([])
        status = await here.rollouts.status()
        assert status is not None
        assert (status.rollout.stage, status.rollout.moved.reason) == (
            RolloutStage.ABORTED,
            "another revision became live",
        )


async def test_what_cannot_be_a_candidate_changes_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        base = here.remote.head()
        here.remote.git("switch", "--quiet", "--create", "broken")
        broken = here.remote.commit({"data/agents.yaml": b"support: {owner: }\n"}, "broken")
        here.remote.git("switch", "--quiet", "main")
        for revision, refusal in ((broken, BundleRejectedError), (base, RolloutRefusedError)):
            with pytest.raises(refusal):
                await here.rollouts.start(StartCommand(revision, ADA))
        with pytest.raises(RolloutRefusedError):
            await here.rollouts.canary(Selector(percent=5), BEN)
        with pytest.raises(InvalidRequestError):
            await here.rollouts.canary(Selector(), BEN)
        candidate = stricter(here.remote)
        await here.rollouts.start(StartCommand(candidate, ADA))
        with pytest.raises(RolloutRefusedError, match="a rollout is under way"):
            await here.rollouts.start(StartCommand(candidate, ADA))
        assert await here.decide() == [("OUTCOME_ALLOW", base)]
