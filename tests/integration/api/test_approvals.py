"""An agent that asks and people who answer, on everything real: Git, engine, SQLite, gRPC, TLS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aisecops.v1 import approval_pb2
from aisecops_client import (
    AccessRefusedError,
    ApprovalNotUsableError,
    AsyncClient,
    Client,
    NotFoundError,
    PlanBuilder,
    RequestRefusedError,
    tls,
)
from aisecops_client.votes import VoteSigner
from aisecops_server.adapters.signing.voter_key import read_voter_key
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.bootstrap.serving import serving
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.formats.canonical import digest
from aisecops_server.settings import Settings

from tests.integration.api.real import AGENT, running, settings_in
from tests.integration.api.test_serving import trial
from tests.scenes.servers.webhook_receiver import is_genuine, receiver

pytestmark = pytest.mark.asyncio

APPROVE, DENY = approval_pb2.CHOICE_APPROVE, approval_pb2.CHOICE_DENY
GRANTED, REJECTED, CONSUMED = (
    approval_pb2.ApprovalState.Value(f"APPROVAL_STATE_{name}") for name in ("GRANTED", "REJECTED", "CONSUMED")
)
ADA, BOB = "ada@corp.example", "bob@corp.example"


def refund(amount: int = 164, reason: str = "Parcel lost", step: str = "refund") -> PlanBuilder:
    """Return a plan that the shipped policy escalates: more money than the agent may give back alone."""
    plan = PlanBuilder(intent=f"Refund {amount} for order 48213", environment="production")
    asked = f"Refund order 48213 of customer C-20417, {amount} EUR. {reason}"
    prompt = plan.source("user_prompt", asked, id="request")
    arguments = {"order_id": "48213", "customer_id": "C-20417", "amount": amount, "reason": reason}
    plan.step("crm/issue_refund", arguments, id=step, influenced_by=[prompt])
    return plan


@asynccontextmanager
async def people(settings: Settings, plane: ControlPlane, *names: str) -> AsyncIterator[list[AsyncClient]]:
    """Connect people of security operations."""
    clients = []
    for name in names:
        token = issuer(settings).mint(name, (Role.SECOPS,))
        clients.append(AsyncClient.connect(f"unix:{plane.settings.socket}", token))
    try:
        for client in clients:
            # Another client's failed attempts, while nothing was served, hold back this one's.
            await client.channel.channel_ready()
        yield clients
    finally:
        for client in clients:
            await client.close()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_in(tmp_path_factory.mktemp("approvals"))


async def answered(client: AsyncClient, approval_id: str, choice: Any = APPROVE, note: str = "") -> Any:
    return await client.approvals.vote(await client.approvals.show(approval_id), choice, note=note)


async def test_an_agent_waits_people_agree_and_it_runs_once(settings: Settings) -> None:
    async with running(settings) as (plane, agent), people(settings, plane, ADA) as [ada]:
        plan = refund()
        answer = await agent.decide(plan)
        assert (answer.waits_for_people, answer.allowed) == (True, False)
        waiting = asyncio.create_task(agent.wait_for_approval(answer))
        listed = (await ada.approvals.page(states=[approval_pb2.APPROVAL_STATE_REQUESTED])).approvals[0]
        assert (listed.approval_id, listed.agent_id, listed.tools) == (answer.approval_id, AGENT, ["crm/issue_refund"])
        assert [found.rule for found in listed.findings] == ["approval.amount_over_limit"]
        granted = await answered(ada, answer.approval_id, note="checked with the carrier")
        assert (granted.state, (await waiting).state) == (GRANTED, GRANTED)
        used = await agent.decide(plan, approval_id=answer.approval_id)
        assert (used.allowed, used.approval_id) == (True, answer.approval_id)
        with pytest.raises(ApprovalNotUsableError) as again:
            await agent.decide(plan, approval_id=answer.approval_id)
        assert again.value.metadata["why"] == "consumed"
        shown = (await ada.approvals.show(answer.approval_id)).approval
        assert (shown.state, shown.consumed_by) == (CONSUMED, used.decision.decision_id)
        [vote] = shown.votes
        assert (vote.approver, vote.note, vote.signed_by) == (
            ADA,
            "checked with the carrier",
            approval_pb2.SIGNED_BY_CONTROL_PLANE,
        )


async def test_one_call_asks_waits_and_decides_in_one_trace(settings: Settings) -> None:
    async with running(settings, *Role) as (plane, agent), people(settings, plane, ADA) as [ada]:
        deciding = asyncio.create_task(agent.decide_with_people(refund(201)))
        approval_id = await _request_of(ada, refund(201))
        await answered(ada, approval_id)
        answer = await deciding
        assert answer.allowed
        trace = await ada.trace(answer.decision.trace_id)
        assert [event.type for event in trace.events if event.type.startswith(("approval", "decision"))] == [
            "approval.required",
            "approval.requested",
            "decision.concluded",
            "approval.voted",
            "approval.consumed",
            "decision.concluded",
        ]
        assert (await ada.explain(answer.decision.decision_id)).replay.reproduced
        assert not (await agent.decide_with_people(refund(202), seconds=0.2)).allowed


async def test_a_denial_ends_the_wait_and_the_next_vote_comes_too_late(settings: Settings) -> None:
    async with running(settings) as (plane, agent), people(settings, plane, ADA, BOB) as [ada, bob]:
        answer = await agent.decide(refund(301))
        await answered(ada, answer.approval_id, DENY, "no ticket for this")
        decided = await agent.wait_for_approval(answer)
        assert (decided.state, decided.votes[0].note) == (REJECTED, "no ticket for this")
        [past] = (await bob.approvals.show((await agent.decide(refund(309))).approval_id)).past_answers[:1]
        assert (past.approval_id, past.state, past.tools) == (answer.approval_id, REJECTED, ["crm/issue_refund"])
        assert (past.vote.approver, past.vote.note, past.intent) == (
            ADA,
            "no ticket for this",
            refund(301).build().intent,
        )
        with pytest.raises(ApprovalNotUsableError) as late:
            await answered(bob, answer.approval_id)
        assert late.value.metadata["why"] == "rejected"


async def test_the_agent_itself_and_its_kind_have_no_vote(settings: Settings) -> None:
    async with running(settings, Role.AGENT, Role.SECOPS) as (_plane, agent):
        answer = await agent.decide(refund(302))
        shown = await agent.approvals.show(answer.approval_id)
        with pytest.raises(AccessRefusedError):
            await agent.approvals.vote(shown, APPROVE)
        other = "spiffe://corp.example/agent/finance-assistant"
        token = issuer(settings).mint(other, (Role.AGENT,))
        async with AsyncClient.connect(f"unix:{settings.socket}", token) as stranger:
            with pytest.raises(AccessRefusedError):
                await stranger.approvals.vote(shown, APPROVE)
            for asking in (stranger.approvals.show, stranger.approvals.wait, stranger.approvals.withdraw):
                with pytest.raises(NotFoundError):
                    await asking(answer.approval_id)
            assert list((await stranger.approvals.page()).approvals) == []
            with pytest.raises(ApprovalNotUsableError) as foreign:
                await stranger.decide(refund(302), approval_id=answer.approval_id)
            assert foreign.value.metadata["why"] == "other_agent"
        withdrawn = await agent.approvals.withdraw(answer.approval_id, note="done by hand")
        assert (withdrawn.closed_by, withdrawn.closed_note) == (AGENT, "done by hand")


async def test_what_is_shown_is_all_that_would_run_and_nothing_hides_in_it(settings: Settings) -> None:
    async with running(settings) as (plane, agent), people(settings, plane, ADA) as [ada]:
        hidden = "lost\u202e\u200b \x1b[2Kfine\U000e0041"
        answer = await agent.decide(refund(303, reason=hidden))
        shown = await ada.approvals.show(answer.approval_id)
        text = shown.statement_json.decode()
        assert all(mark not in text for mark in "\u202e\u200b\x1b\U000e0041")
        statement = json.loads(text)
        assert statement["steps"] == [
            {
                "id": "refund",
                "tool": "crm/issue_refund",
                "capability": "",
                "arguments": {"order_id": "48213", "customer_id": "C-20417", "amount": 303, "reason": hidden},
                "depends_on": [],
            }
        ]
        assert [source["id"] for source in statement["sources"]] == ["request"]
        assert "approval.amount_over_limit" in {finding["rule"] for finding in statement["findings"]}
        assert digest(shown.statement_json) == shown.approval.statement_digest
        assert shown.decision.decision_id == answer.decision.decision_id
        assert shown.caller == ADA
        shown.statement_json = shown.statement_json.replace(b"303", b"3.3")
        with pytest.raises(ValueError, match="not what is asked"):
            await ada.approvals.vote(shown, APPROVE)


async def test_identical_requests_are_answered_together_by_either_client(settings: Settings) -> None:
    async with running(settings) as (plane, agent), people(settings, plane, ADA) as [ada]:
        first, second, third, fourth = [
            (await agent.decide(refund(330, step=f"refund-{number}"))).approval_id for number in range(4)
        ]
        other = (await agent.decide(refund(331))).approval_id
        shown = [await ada.approvals.show(name) for name in (first, second)]
        assert [one.approval_id for one in shown[0].identical] == [second, third, fourth]
        assert {one.hash_class for one in shown[0].identical} == {shown[0].approval.hash_class}
        told = (await ada.approvals.vote_together(shown, APPROVE, note="twice")).answered
        assert [(one.approval.approval_id, one.approval.state, one.reason) for one in told] == [
            (first, GRANTED, ""),
            (second, GRANTED, ""),
        ]
        with pytest.raises(RequestRefusedError) as mixed:
            await ada.approvals.vote_together([await ada.approvals.show(name) for name in (third, other)], DENY)
        assert mixed.value.metadata["field"] == "seen"

        def denied() -> list[tuple[int, str]]:
            with Client.connect(f"unix:{plane.settings.socket}", ada.token) as client:
                both = [client.approvals.show(name) for name in (second, third, fourth)]
                answered = client.approvals.vote_together(both, DENY).answered
                return [(one.approval.state, one.reason) for one in answered]

        assert await asyncio.to_thread(denied) == [(GRANTED, "APPROVAL_NOT_USABLE"), (REJECTED, ""), (REJECTED, "")]
        assert (await agent.decide(refund(330, step="refund-0"), approval_id=first)).allowed


async def test_asking_wrongly_is_told_by_field(settings: Settings) -> None:
    async with running(settings) as (plane, agent), people(settings, plane, ADA) as [ada]:
        answer = await agent.decide(refund(304))
        shown = await ada.approvals.show(answer.approval_id)
        with pytest.raises(RequestRefusedError) as long:
            await ada.approvals.vote(shown, APPROVE, note="x" * 1001)
        assert long.value.metadata["field"] == "note"
        with pytest.raises(RequestRefusedError) as nothing:
            await ada.approvals.vote(shown, approval_pb2.CHOICE_UNSPECIFIED)
        assert nothing.value.metadata["field"] == "choice"
        for wrong in ("", "no such id", "x" * 65):
            with pytest.raises(RequestRefusedError) as unknown:
                await ada.approvals.show(wrong)
            assert unknown.value.metadata["field"] == "approval_id"
        with pytest.raises(RequestRefusedError):
            await agent.decide(refund(304), approval_id="no such id")
        with pytest.raises(NotFoundError):
            await ada.approvals.show("apr-0")


async def test_a_restart_in_the_middle_of_everything_loses_nothing(settings: Settings) -> None:
    token = issuer(settings).mint(AGENT, (Role.AGENT,))
    async with AsyncClient.connect(f"unix:{settings.socket}", token) as agent:
        agent.timeout_seconds = 60.0
        async with running(settings):
            answer = await agent.decide(refund(401))
            waiting = asyncio.create_task(agent.wait_for_approval(answer))
            await asyncio.sleep(0)
        async with running(settings) as (plane, _), people(settings, plane, ADA) as [ada]:
            await answered(ada, answer.approval_id)
            assert (await waiting).state == GRANTED
        async with running(settings):
            await agent.channel.channel_ready()
            assert (await agent.decide(refund(401), approval_id=answer.approval_id)).allowed
        async with running(settings):
            await agent.channel.channel_ready()
            with pytest.raises(ApprovalNotUsableError) as used:
                await agent.decide(refund(401), approval_id=answer.approval_id)
            assert used.value.metadata["why"] == "consumed"


async def test_the_client_that_waits_says_the_same(settings: Settings) -> None:
    async with running(settings, *Role) as (plane, agent), people(settings, plane, ADA) as [ada]:
        address, token = f"unix:{plane.settings.socket}", agent.token

        def story() -> bool:
            with Client.connect(address, token) as client:
                client.timeout_seconds = 60.0
                return client.decide_with_people(refund(501)).allowed

        def refusals(approval_id: str) -> str:
            with Client.connect(address, token) as client:
                shown = client.approvals.show(approval_id)
                with pytest.raises(AccessRefusedError):
                    client.approvals.vote(shown, APPROVE)
                [listed] = client.approvals.page(agent_id=AGENT, page_size=1).approvals
                assert listed.approval_id == approval_id
                assert client.approvals.wait(approval_id, seconds=0.1).state == approval_pb2.APPROVAL_STATE_REQUESTED
                return client.approvals.withdraw(approval_id).closed_by

        deciding = asyncio.create_task(asyncio.to_thread(story))
        await answered(ada, await _request_of(ada, refund(501)))
        assert await deciding
        answer = await agent.decide(refund(502))
        assert await asyncio.to_thread(refusals, answer.approval_id) == AGENT


async def test_a_person_with_a_certificate_signs_with_its_key(tmp_path: Path) -> None:
    found = trial(tmp_path)
    settings = Settings(**settings_in(tmp_path).model_dump() | found)
    token = issuer(settings).mint(AGENT, (Role.AGENT,))
    async with (
        serving(settings) as (plane, server),
        AsyncClient.connect(f"unix:{server.socket}", token) as agent,
    ):
        agent.timeout_seconds = 60.0
        answer = await agent.decide(refund())
        place = tmp_path / "ca" / "person/ada"
        key = read_voter_key(Path(f"{place}.key"))
        signer = VoteSigner(key.algorithm, key.key_id, key.sign)
        credentials = tls(ca=found["tls_client_ca"], certificate=f"{place}.pem", key=f"{place}.key")
        async with AsyncClient.connect(f"localhost:{server.ports[0]}", credentials=credentials) as ada:
            shown = await ada.approvals.show(answer.approval_id)
            assert shown.caller == "spiffe://corp.example/person/ada"
            granted = await ada.approvals.vote(
                shown, APPROVE, signer=signer, at_seconds=plane.clock.now_ns() // 10**9, token_id="vote-1"
            )
            again = [
                await ada.approvals.show((await agent.decide(refund(step=step))).approval_id) for step in ("b", "c")
            ]
            together = await ada.approvals.vote_together(
                again, APPROVE, signer=signer, at_seconds=plane.clock.now_ns() // 10**9, token_ids=("vote-2", "vote-3")
            )
            assert {one.approval.votes[0].signed_by for one in together.answered} == {approval_pb2.SIGNED_BY_VOTER}
        [vote] = granted.votes
        assert (vote.signed_by, vote.key_id, vote.authenticated_by) == (
            approval_pb2.SIGNED_BY_VOTER,
            key.key_id,
            "certificate",
        )
        assert vote.credential_sha256
        assert (await agent.decide(refund(), approval_id=answer.approval_id)).allowed


async def test_people_are_told_also_when_nobody_listened_and_the_control_plane_restarted(tmp_path: Path) -> None:
    async with receiver() as away:
        setting = away.endpoint(tmp_path)
    settings = Settings(**settings_in(tmp_path).model_dump() | {"webhooks": (setting,)})
    async with running(settings) as (plane, agent):
        answer = await agent.decide(refund())
        [waiting] = await plane.log.approvals.pending("pager", limit=9)
    async with receiver(port=away.port) as to, running(settings) as (plane, _):
        await to.arrived.wait()
        [message] = to.received
        assert (message.id, message.body["approval_id"]) == (waiting.notice.id, answer.approval_id)
        assert is_genuine(message, now=plane.clock.now_ns() // 10**9)
        async for stored in plane.log.events(from_index=0, follow=True, trace_id=answer.decision.trace_id):
            if stored.event.type == "notice.delivered":
                break
        assert (await plane.log.approvals.counts()).pending == 0


async def _request_of(client: AsyncClient, plan: PlanBuilder) -> str:
    """Return the id of the request for ``plan`` as soon as there is one; the log says when to look."""
    async for event in client.events(follow=True):
        if event.type == "approval.requested":
            page = await client.approvals.page(states=[approval_pb2.APPROVAL_STATE_REQUESTED])
            if found := [approval for approval in page.approvals if approval.intent == plan.intent]:
                return str(found[0].approval_id)
    raise AssertionError("the log ended")
