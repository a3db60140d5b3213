"""An edge beside its centre: policy comes down signed, decisions are made without the centre, records go up."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from aisecops.v1 import approval_pb2, approval_service_pb2, bundle_service_pb2
from aisecops.v1.execution_service_pb2 import RedeemRequest
from aisecops_client import AisecopsClientError, Answer, AsyncClient, PlanBuilder, RetryLaterError
from aisecops_client.messages import bearer
from aisecops_server.adapters.signing.keys import open_key
from aisecops_server.adapters.system import SystemClock
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.bootstrap.edge import EdgePlane
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import AisecopsError, RepositoryUnavailableError
from aisecops_server.domain.log.edge_log import RECORDED
from aisecops_server.usecases.bundles.activate import Order

from tests.scenes.planes.edges import AGENT, EDGE, Site, centre_of, edge_of, plan, site

STRANGER = "spiffe://corp.example/agent/finance-assistant"


@dataclass
class MovedClock:
    """The machine's clock, and how far somebody moved it."""

    moved_ns: int = 0
    ran_ns: int = 0
    real: SystemClock = field(default_factory=SystemClock)

    def now_ns(self) -> int:
        return self.real.now_ns() + self.moved_ns

    def monotonic_ns(self) -> int:
        return self.real.monotonic_ns() + self.ran_ns

    def let_pass(self, seconds: int) -> None:
        self.moved_ns += seconds * 10**9
        self.ran_ns += seconds * 10**9


@pytest.fixture
def place(tmp_path: Path) -> Site:
    return site(tmp_path)


def client_as(edge: EdgePlane, agent: str, *roles: Role) -> AsyncClient:
    settings = edge.plane.settings
    return AsyncClient.connect(f"unix:{settings.socket}", issuer(settings).mint(agent, roles or (Role.AGENT,)))


def refund(amount: int) -> PlanBuilder:
    asked = f"Refund order o-77 of customer c-12 with {amount} EUR"
    builder = PlanBuilder(intent=asked, environment="production")
    arguments = {"order_id": "o-77", "customer_id": "c-12", "amount": amount, "reason": "late"}
    builder.step("crm/issue_refund", arguments, influenced_by=[builder.source("user_prompt", asked)])
    return builder


async def recorded(centre: ControlPlane) -> list[dict[str, Any]]:
    """Return what the centre holds of edges, in the order of its log."""
    events = [stored.event async for stored in centre.log.events(from_index=0, follow=False, trace_id="")]
    return [json.loads(event.body)["details"] for event in events if event.type == RECORDED]


async def reached(edge: EdgePlane) -> None:
    """Wait until the edge has found its centre again."""
    while True:
        with contextlib.suppress(RepositoryUnavailableError):
            await edge.forward()
            return
        await asyncio.sleep(0.05)


async def require_reconciled(edge: EdgePlane, centre: ControlPlane) -> None:
    head = await edge.forward()
    assert head == await edge.plane.log.head()
    held = [details["event"]["event_id"] for details in await recorded(centre)]
    own = [stored.event.id async for stored in edge.plane.log.events(from_index=0, follow=False, trace_id="")]
    assert held == own
    report = await centre.log.verify()
    assert report.ok, report.problem


def rules(answer: Answer) -> list[str]:
    return sorted(answer.rules)


@pytest.mark.asyncio
async def test_an_edge_that_is_cut_off_decides_by_the_last_policy_and_the_centre_records_it_later(place: Site) -> None:
    async with centre_of(place) as centre:
        released = centre.live.current().bundle
        async with edge_of(place) as (edge, client):
            first = await client.decide(plan())
            assert (first.outcome, first.decision.bundle_digest) == ("ALLOW", released.digest)
            await require_reconciled(edge, centre)
    # The centre is gone, and the edge starts anew.
    async with edge_of(place) as (edge, client):
        with pytest.raises(RepositoryUnavailableError, match="cannot be reached"):
            await edge.plane.policy.sync()
        with pytest.raises(RepositoryUnavailableError):
            await edge.forward()
        assert edge.problem() == ""
        answer = await client.decide(plan("T-4712"))
        assert (answer.outcome, answer.decision.bundle_digest) == ("ALLOW", released.digest)
        await require_granted_here(edge, client, answer)
        held = await client.decide(refund(500))
        assert (held.outcome, held.allowed) == ("REQUIRE_APPROVAL", False)
        async with client_as(edge, STRANGER) as stranger:
            assert "edge.agent_not_served" in rules(await stranger.decide(plan()))
        async with centre_of(place) as centre:
            await reached(edge)
            await require_reconciled(edge, centre)
            document = json.loads((await edge.plane.log.decision(answer.decision.decision_id)).document)
            assert document["edge"]["id"] == EDGE
            [known] = await centre.log.edges.edges()
            assert json.loads(known.grant_keys)["keys"] == json.loads(edge.plane.grants.key_set())["keys"]


async def require_granted_here(edge: EdgePlane, client: AsyncClient, answer: Answer) -> None:
    """The edge gives a grant by its own key, good for one use, at the edge."""
    [grant] = answer.grants
    assert edge.plane.grants.redeem.signer.read(grant.token).agent_id == AGENT
    request = RedeemRequest(
        token=grant.token,
        tool=grant.tool,
        arguments_sha256=grant.arguments_sha256,
        redemption_key="the-first-use-of-it",
    )
    await client.redeem(request)
    request.redemption_key = "the-second-use-of-it"
    with pytest.raises(AisecopsClientError, match="used before"):
        await client.redeem(request)


@pytest.mark.asyncio
async def test_a_policy_that_is_too_old_denies_everything_by_name_until_the_centre_was_reached(place: Site) -> None:
    clock = MovedClock()
    async with centre_of(place), edge_of(place, clock=clock) as (edge, client):
        assert (await client.decide(plan())).allowed
        clock.let_pass(3700)
        answer = await client.decide(plan())
        [finding] = answer.decision.findings
        assert (answer.outcome, finding.rule) == ("DENY", "edge.bundle_stale")
        age = int(finding.message.split("edge ")[1].split(" seconds")[0])
        assert 3700 <= age < 3800
        assert finding.message.endswith("and it counts for 3600 seconds.")
        assert "Let the edge reach its centre" in finding.remedy
        assert (await client.dry_run(plan())).outcome == "DENY"
        with pytest.raises(RetryLaterError) as refused:
            await client.screen("Summarise my day", direction="prompt")
        assert refused.value.reason == "POLICY_STALE"
        assert refused.value.metadata["limit"] == "3600"
        assert "and it counts for 3600 seconds" in edge.problem()
        await edge.plane.policy.sync()
        assert (edge.problem(), (await client.decide(plan())).allowed) == ("", True)
        # Whoever sets the clock back gains nothing, and neither does who sets it right again.
        clock.moved_ns -= 7200 * 10**9
        back = await client.decide(plan())
        assert (back.outcome, rules(back)) == ("DENY", ["edge.clock_unsound"])
        clock.moved_ns += 7200 * 10**9
        assert (await client.decide(plan())).outcome == "DENY"
        await edge.plane.policy.sync()
        assert (await client.decide(plan())).allowed


@pytest.mark.asyncio
async def test_a_policy_without_the_rule_is_no_way_around_its_age(place: Site) -> None:
    harmless = "package aisecops.rules.edge.{0}\n\nfindings := set()\n"
    names = ("bundle_stale", "clock_unsound", "agent_not_served")
    place.commit({f"rego/aisecops/rules/edge/{name}/{name}.rego": harmless.format(name) for name in names})
    clock = MovedClock()
    async with centre_of(place), edge_of(place, clock=clock) as (edge, client):
        assert (await client.decide(plan())).allowed
        clock.let_pass(3700)
        with pytest.raises(RetryLaterError) as refused:
            await client.decide(plan())
        assert (refused.value.reason, refused.value.metadata["why"]) == ("POLICY_STALE", "age")
        last = [event.event async for event in edge.plane.log.events(from_index=0, follow=False, trace_id="")][-1]
        assert last.type == "decision.refused"


@pytest.mark.asyncio
async def test_an_edge_follows_what_people_change_at_the_centre_back_and_forth_and_changes_nothing_itself(
    place: Site,
) -> None:
    async with centre_of(place) as centre:
        first = centre.live.current().bundle.revision
        async with edge_of(place) as (edge, client):
            place.register(max_age_seconds=120)
            second = (await centre.policy.sync()).wanted
            assert (await edge.plane.policy.sync()).wanted == second
            assert (await client.decide(plan())).decision.bundle_revision == second
            await centre.policy.rollback(Order("ada", "too strict"))
            await edge.plane.policy.sync()
            bundle = edge.plane.live.current().bundle
            assert (bundle.revision, edge.feed.standing(bundle).counter) == (first, 3)
            await require_left_alone(edge, second)
            await require_reconciled(edge, centre)


async def require_left_alone(edge: EdgePlane, revision: str) -> None:
    """Nobody activates, rolls back or votes at an edge, whatever their role."""
    vote = approval_service_pb2.VoteRequest(
        approval_id="apr-1", choice=approval_pb2.CHOICE_APPROVE, statement_digest="0" * 64
    )
    async with client_as(edge, "spiffe://corp.example/person/eve", *Role) as eve:
        for call, request in (
            ("BundleService/Activate", bundle_service_pb2.ActivateRequest(revision=revision, reason="mine")),
            ("BundleService/Rollback", bundle_service_pb2.RollbackRequest(reason="mine")),
            ("ApprovalService/Vote", vote),
        ):
            method = eve.channel.unary_unary(f"/aisecops.v1.{call}")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await method(request.SerializeToString(), metadata=bearer(eve.token), timeout=60)
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED, call
            assert "at the centre" in str(refused.value.details())


@pytest.mark.asyncio
async def test_who_is_no_edge_of_the_centre_gets_neither_policy_nor_anything_recorded(place: Site) -> None:
    stranger = place.edge_of("spiffe://corp.example/edge/stranger", state="x")
    posing = place.edge.model_copy(
        update={"edge_id": "spiffe://corp.example/edge/other", "state_dir": place.root / "y"}
    )
    async with centre_of(place) as centre:
        for settings, why in ((stranger, "not registered"), (posing, "is for the edge")):
            async with edge_of(place, settings=settings) as (edge, client):
                assert edge.problem()
                with pytest.raises(AisecopsError, match=why):
                    await edge.plane.policy.sync()
                with pytest.raises(RetryLaterError, match="no policy revision is live"):
                    await client.decide(plan())
        assert [known.edge_id for known in await centre.log.edges.edges()] in ([], [EDGE])
        async with AsyncClient.connect(
            f"unix:{place.centre.socket}", issuer(place.centre).mint(EDGE, (Role.AGENT,))
        ) as agent:
            call = agent.channel.unary_unary("/aisecops.v1.EdgeService/GetRelease")
            with pytest.raises(grpc.aio.AioRpcError, match="needs the role edge"):
                await call(b"", metadata=bearer(agent.token), timeout=60)


@pytest.mark.asyncio
async def test_a_policy_that_was_altered_on_the_disk_is_not_decided_by(place: Site) -> None:
    async with centre_of(place), edge_of(place) as (_edge, client):
        assert (await client.decide(plan())).allowed
    [archive] = (place.edge.state_dir / "bundles" / "released").glob("*.tar.gz")
    content = archive.read_bytes()
    archive.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    async with edge_of(place) as (edge, client):
        assert edge.problem()
        with pytest.raises(RetryLaterError):
            await client.decide(plan())
    # What the centre never signed is not believed either, wherever it comes from.
    (place.root / "centre.pem").write_text(open_key(place.root / "eve", "bundle").public_pem)
    async with centre_of(place), edge_of(place, settings=place.edge_of(EDGE, pin=False)) as (edge, client):
        with pytest.raises(AisecopsError, match="was not signed with the pinned key"):
            await edge.plane.policy.sync()
        refusals = [event.event async for event in edge.plane.log.events(from_index=0, follow=False, trace_id="")]
        assert [event.type for event in refusals if event.type == "release.refused"] == ["release.refused"]
        with pytest.raises(RetryLaterError):
            await client.decide(plan())


@pytest.mark.asyncio
async def test_an_edge_uses_its_lease_of_a_limit_and_the_centre_what_is_left(place: Site) -> None:
    table = yaml.safe_load((place.root / "policy/data/budgets.yaml").read_text())
    for profile in table["profiles"].values():
        profile["limits"] = {"day": {"calls": 5}}
    place.commit({"data/budgets.yaml": yaml.safe_dump(table)})
    place.register(budget_percent=40)
    async with centre_of(place), edge_of(place) as (edge, client):
        token = issuer(place.centre).mint(AGENT, (Role.AGENT,))
        async with AsyncClient.connect(f"unix:{place.centre.socket}", token) as central:
            central.timeout_seconds = 60.0
            for asked, share in ((client, 2), (central, 3)):
                for _ in range(share):
                    assert (await asked.decide(plan())).allowed
                over = await asked.decide(plan())
                assert (over.outcome, rules(over)) == ("DENY", ["budget.exhausted"])
                assert f" {share} " in over.decision.findings[0].message
        assert edge.problem() == ""


@pytest.mark.asyncio
async def test_an_allow_of_before_is_no_authority_once_the_policy_is_too_old_or_the_clock_was_set_back(
    place: Site,
) -> None:
    clock = MovedClock()
    async with centre_of(place), edge_of(place, clock=clock) as (edge, client):
        first = await client.decide(plan(), idempotency_key="asked-before")
        [grant] = first.grants
        clock.let_pass(3700)
        again = await client.decide(plan(), idempotency_key="asked-before")
        assert again.decision.decision_id == first.decision.decision_id
        assert [given.token for given in again.grants] in ([], [grant.token])
        request = RedeemRequest(
            token=grant.token,
            tool=grant.tool,
            arguments_sha256=grant.arguments_sha256,
            redemption_key="kept-until-later",
        )
        with pytest.raises(AisecopsClientError, match="expired"):
            await client.redeem(request)
        clock.moved_ns -= 3700 * 10**9
        # As if no time had passed: the grant is of the right age again, by a clock that cannot be believed any more.
        with pytest.raises(AisecopsClientError, match="went back"):
            await client.redeem(request)
        why = [
            json.loads(stored.event.body)["details"]["why"]
            async for stored in edge.plane.log.events(from_index=0, follow=False, trace_id="")
            if stored.event.type == "grant.refused"
        ]
        assert why == ["expired", "held"]
