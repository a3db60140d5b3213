"""A call that people have to approve waits while its client asks its user; what is answered there is no vote."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aisecops.v1 import approval_pb2
from aisecops_client import ApprovalNotUsableError
from aisecops_mcp.consent import COMPLETED, KEY
from aisecops_server.domain.callers.identity import Role
from mcp import Client
from mcp.types import ElicitRequestURLParams, ElicitResult

from tests.scenes.mcp.mcp_asking import (
    ERA,
    FORM,
    ODD,
    WITHDRAWN,
    accepted,
    begun,
    call,
    modern,
    question,
    reply,
    request_in,
    said,
    shown,
    told,
)
from tests.scenes.mcp.mcp_front import Front, Listening, front
from tests.scenes.mcp.mcp_front import modern as without_session
from tests.scenes.mcp.mcp_scene import APPROVE, APPROVER, DENY, DESK_AGENT, Scene, scene
from tests.scenes.mcp.mcp_wire import SECONDS, Wire, wired

pytestmark = pytest.mark.asyncio
INVALID_PARAMS = -32602
ORDERS = map(str, itertools.count(1000))


@pytest.fixture(scope="module")
def desk() -> Iterator[Scene]:
    with scene(**ODD) as running:
        yield running


@pytest.fixture(scope="module")
def listening(desk: Scene) -> Iterator[Front]:
    with front(Listening(desk)) as running:
        yield running


@pytest.fixture
def order() -> dict[str, Any]:
    return {"order_id": next(ORDERS), "amount": 20}


def text(result: Any) -> str:
    return "\n".join(block.text for block in result.content)


def refunds(desk: Scene, order: dict[str, Any]) -> int:
    return len([one for one in desk.done("refund") if one["order_id"] == order["order_id"]])


def answering(action: str, asked: list[str], then: Callable[[str], Any] | None = None) -> Any:
    """Return how a client answers what it is asked: always ``action``; ``then`` is done with the request meanwhile."""
    tasks = []

    async def elicited(context: object, params: Any) -> ElicitResult:
        asked.append(params.message)
        if then is not None:
            tasks.append(asyncio.create_task(then(request_in(params.message))))
        return ElicitResult(action=action, content={} if action == "accept" else None)

    return elicited


MODES = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])


@MODES
async def test_a_call_that_is_accepted_and_approved_runs_without_being_made_again(
    desk: Scene, order: dict[str, Any], mode: str
) -> None:
    asked: list[str] = []
    client = Client(desk.desk(), mode=mode, elicitation_callback=answering("accept", asked, desk.answer))
    async with client:
        result = await client.call_tool("refund", order)
        assert (result.is_error, text(result)) == (False, "refunded 20")
    [words] = asked
    assert words.startswith("AISecOps: people have to approve this call")
    assert f'desk/refund {{"amount":20,"order_id":"{order["order_id"]}"}}' in words
    assert refunds(desk, order) == 1
    # What ran is what was approved, by the approver's vote and nobody else's.
    approval = await shown(desk, request_in(words))
    assert [vote.principal_id for vote in approval.votes] == [APPROVER]
    async with desk.client("auditor@corp.example", Role.AUDITOR) as auditor:
        used = (await auditor.explain(approval.consumed_by)).decision
    assert used.plan_hash == approval.plan_hash
    [ran] = await desk.events("execution.executed", trace=approval.trace_id)
    assert ran["decision_id"] == approval.consumed_by


@MODES
async def test_an_accepting_client_alone_lets_nothing_run(desk: Scene, order: dict[str, Any], mode: str) -> None:
    asked: list[str] = []
    proxy = desk.desk("--approval-seconds", "1")
    async with Client(proxy, mode=mode, elicitation_callback=answering("accept", asked)) as client:
        result = await client.call_tool("refund", order)
        assert result.is_error
        approval_id = request_in(text(result))
        assert refunds(desk, order) == 0
        approval = await shown(desk, approval_id)
        assert (approval.state, list(approval.votes)) == (approval_pb2.APPROVAL_STATE_REQUESTED, [])
        # It is resumed when it is granted: by the same call, under the same request.
        await desk.answer(approval_id, APPROVE)
        assert text(await client.call_tool("refund", order)) == "refunded 20"
    assert refunds(desk, order) == 1
    assert len(asked) == 1


@MODES
@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_call_that_is_declined_is_withdrawn_and_never_runs(
    desk: Scene, order: dict[str, Any], mode: str, action: str
) -> None:
    asked: list[str] = []
    async with Client(desk.desk(), mode=mode, elicitation_callback=answering(action, asked)) as client:
        result = await client.call_tool("refund", order)
        assert "the request was taken back" in text(result)
        approval_id = request_in(asked[0])
        assert (await shown(desk, approval_id)).state == WITHDRAWN
        with pytest.raises(ApprovalNotUsableError):
            await desk.answer(approval_id, APPROVE)
        # Whoever makes the call again asks people anew.
        await client.call_tool("refund", order)
        assert request_in(asked[1]) != approval_id
    assert refunds(desk, order) == 0


@MODES
async def test_a_call_that_the_approver_denies_does_not_run(desk: Scene, order: dict[str, Any], mode: str) -> None:
    async def deny(approval_id: str) -> None:
        await desk.answer(approval_id, DENY)

    async with Client(desk.desk(), mode=mode, elicitation_callback=answering("accept", [], deny)) as client:
        result = await client.call_tool("refund", order)
        assert "people did not approve the call" in text(result)
    assert refunds(desk, order) == 0


@MODES
async def test_a_client_that_can_open_an_address_is_sent_to_the_page_of_the_request(
    desk: Scene, order: dict[str, Any], mode: str
) -> None:
    seen: list[ElicitRequestURLParams] = []
    votes = []

    async def elicited(context: object, params: Any) -> ElicitResult:
        assert isinstance(params, ElicitRequestURLParams)
        seen.append(params)
        votes.append(asyncio.create_task(desk.answer(request_in(params.message))))
        return ElicitResult(action="accept")

    proxy = desk.desk("--approvals-url", "https://control.corp.example/")
    async with Client(proxy, mode=mode, elicitation_callback=elicited) as client:
        assert text(await client.call_tool("refund", order)) == "refunded 20"
    [params] = seen
    assert params.url == f"https://control.corp.example/approvals/{request_in(params.message)}"
    assert bool(params.elicitation_id) == (mode == "legacy")


async def test_what_people_decide_before_the_user_answers_ends_the_question(desk: Scene, order: dict[str, Any]) -> None:
    async with begun(desk) as wire:
        call(wire, 1, order)
        number, approval_id = await question(wire)
        await desk.answer(approval_id)
        assert (await wire.hears("notifications/cancelled"))["params"]["requestId"] == number
        assert said(await wire.answer(1)) == "refunded 20"
        # What the user says afterwards finds nobody.
        reply(wire, number, "decline")
        assert (await wire.ask(2, "ping"))["result"] == {}
    assert (await shown(desk, approval_id)).state == approval_pb2.APPROVAL_STATE_CONSUMED


async def test_a_call_that_is_cancelled_while_it_waits_is_taken_up_by_the_next_same_call(
    desk: Scene, order: dict[str, Any]
) -> None:
    async with begun(desk) as wire:
        call(wire, 1, order)
        number, approval_id = await question(wire)
        wire.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        assert (await wire.hears("notifications/cancelled"))["params"]["requestId"] == number
        call(wire, 2, order)
        again, same = await question(wire)
        assert (again != number, same) == (True, approval_id)
        reply(wire, again, "accept")
        await desk.answer(approval_id)
        assert said(await wire.answer(2)) == "refunded 20"
    assert refunds(desk, order) == 1


@pytest.mark.parametrize("can", [{}, {"elicitation": {"url": {}}}, {"elicitation": "yes"}], ids=str)
async def test_a_client_that_cannot_ask_is_told_the_id_of_the_request(
    desk: Scene, order: dict[str, Any], can: dict[str, Any]
) -> None:
    async with begun(desk, capabilities=can) as wire:
        answer = await wire.call(1, "refund", **order)
        pending = await modern(wire, 2, order, capabilities=can)
        assert request_in(said(answer)) == request_in(said(pending))
        assert [found for found in wire.heard if "method" in found] == []


async def test_a_client_that_said_it_could_ask_and_cannot_is_told_the_id(desk: Scene, order: dict[str, Any]) -> None:
    async with begun(desk) as wire:
        call(wire, 1, order)
        number, approval_id = await question(wire)
        wire.say({"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "no"}})
        assert request_in(said(await wire.answer(1))) == approval_id
        call(wire, 2, order)
        number, _ = await question(wire)
        reply(wire, number, "approve")
        assert request_in(said(await wire.answer(2))) == approval_id
    assert refunds(desk, order) == 0


async def test_two_calls_that_are_the_same_need_an_approval_each(desk: Scene, order: dict[str, Any]) -> None:
    async with begun(desk) as wire:
        call(wire, 1, order)
        first, one = await question(wire)
        call(wire, 2, order)
        second, other = await question(wire)
        assert (first != second, one != other) == (True, True)
        reply(wire, first, "accept")
        reply(wire, second, "accept")
        # The one that was made later is approved, and the earlier is not.
        await desk.answer(other)
        assert said(await wire.answer(2)) == "refunded 20"
        assert refunds(desk, order) == 1
        await desk.answer(one, DENY)
        assert "people did not approve the call" in said(await wire.answer(1))
    assert refunds(desk, order) == 1


async def test_two_same_calls_without_a_connection_run_once_for_each_approval(
    desk: Scene, order: dict[str, Any]
) -> None:
    async with wired(desk.desk()) as wire:
        wire.say(told(1, "refund", order))
        wire.say(told(2, "refund", order))
        one, other = await wire.answer(1), await wire.answer(2)
        await desk.answer(one["result"]["_meta"]["aisecops/decision"]["approvalId"])
        wire.say(told(3, "refund", order, **accepted(one)))
        assert said(await wire.answer(3)) == "refunded 20"
        asked = other["result"]["_meta"]["aisecops/decision"]["approvalId"]
        if asked != one["result"]["_meta"]["aisecops/decision"]["approvalId"]:
            await desk.answer(asked, DENY)
        again = await modern(wire, 4, order, **accepted(other))
        assert "refunded" not in json.dumps(again)
    assert refunds(desk, order) == 1


async def test_a_user_who_answers_twice_or_what_was_never_asked_changes_nothing(
    desk: Scene, order: dict[str, Any]
) -> None:
    async with begun(desk) as wire, begun(desk) as elsewhere:
        for number in (f"aisecops?{'0' * 32}", "aisecops-1", 1):
            reply(wire, number, "accept")
        call(wire, 1, order)
        number, approval_id = await question(wire)
        # Another session's answer is not this one's.
        reply(elsewhere, number, "decline")
        assert (await elsewhere.ask(7, "ping"))["result"] == {}
        assert (await shown(desk, approval_id)).state == approval_pb2.APPROVAL_STATE_REQUESTED
        reply(wire, number, "accept")
        reply(wire, number, "decline")
        assert (await wire.ask(2, "ping"))["result"] == {}
        assert (await shown(desk, approval_id)).state == approval_pb2.APPROVAL_STATE_REQUESTED
        await desk.answer(approval_id)
        assert said(await wire.answer(1)) == "refunded 20"
    assert refunds(desk, order) == 1


async def test_a_state_counts_once_in_its_session_for_its_call_and_unchanged(
    desk: Scene, order: dict[str, Any]
) -> None:
    async with wired(desk.desk()) as wire, wired(desk.desk()) as elsewhere:
        # Answered before it is asked: it is asked all the same, and the server hears nothing of it.
        early = {"inputResponses": {KEY: {"action": "accept"}}}
        asked = await modern(wire, 1, order, **early)
        approval_id = asked["result"]["_meta"]["aisecops/decision"]["approvalId"]
        await desk.answer(approval_id)
        state = asked["result"]["requestState"]
        refused = [
            await modern(wire, 2, order, **{**accepted(asked), "requestState": state[:-1] + "x"}),
            await modern(elsewhere, 3, order, **accepted(asked)),
            await modern(wire, 4, {**order, "amount": 2000}, **accepted(asked)),
            # The last one used it up.
            await modern(wire, 5, order, **accepted(asked)),
        ]
        assert [answer["error"]["code"] for answer in refused] == [INVALID_PARAMS] * 4
        assert refunds(desk, order) == 0
        # By itself, without a state, the call is the one that people approved.
        assert said(await modern(wire, 6, order)) == "refunded 20"
        unanswered = await modern(wire, 7, order)
        bare = await modern(wire, 8, order, requestState=unanswered["result"]["requestState"])
        assert bare["error"]["code"] == INVALID_PARAMS
    assert refunds(desk, order) == 1


@MODES
async def test_a_client_over_http_is_asked_alike(listening: Front, order: dict[str, Any], mode: str) -> None:
    asked: list[str] = []
    callback = answering("accept", asked, listening.scene.answer)
    async with listening.client(mode=mode, elicitation_callback=callback) as client:
        assert text(await client.call_tool("refund", order)) == "refunded 20"
    assert (len(asked), refunds(listening.scene, order)) == (1, 1)


async def test_a_state_over_http_is_of_its_agent(listening: Front, order: dict[str, Any]) -> None:
    body, headers = without_session(1, "tools/call", {"name": "refund", "arguments": order})
    body["params"]["_meta"][f"{ERA}clientCapabilities"] = FORM
    async with listening.wire() as wire, listening.wire(listening.token(f"{DESK_AGENT}-2")) as elsewhere:
        asked = (await wire.send("POST", body, **headers)).json
        body["params"] |= accepted(asked)
        refused = (await elsewhere.send("POST", body, **headers)).json
        assert refused["error"]["code"] == INVALID_PARAMS
        await listening.scene.answer(asked["result"]["_meta"]["aisecops/decision"]["approvalId"])
        assert said((await wire.send("POST", body, **headers)).json) == "refunded 20"
    assert refunds(listening.scene, order) == 1


async def test_a_client_that_opened_the_page_hears_when_people_have_decided(desk: Scene, order: dict[str, Any]) -> None:
    can = {"elicitation": {"form": {}, "url": {}}}
    async with begun(desk, "--approvals-url", "https://control.corp.example", capabilities=can) as wire:
        call(wire, 1, order)
        asked = await wire.hears("elicitation/create")
        reply(wire, asked["id"], "accept")
        await desk.answer(request_in(asked["params"]["message"]))
        told = await wire.hears(COMPLETED)
        assert told["params"] == {"elicitationId": asked["params"]["elicitationId"]}
        assert said(await wire.answer(1)) == "refunded 20"
        # Who takes a request back has nothing to hear.
        call(wire, 2, {**order, "amount": 21})
        declined = await wire.hears("elicitation/create")
        reply(wire, declined["id"], "decline")
        await wire.answer(2)
        assert len([heard for heard in wire.heard if heard.get("method") == COMPLETED]) == 1


async def test_a_control_plane_that_goes_while_a_call_waits_leaves_it_open(order: dict[str, Any]) -> None:
    with scene() as running:
        async with begun(running, "--approval-seconds", "5") as wire:
            call(wire, 1, order)
            number, approval_id = await question(wire)
            reply(wire, number, "accept")
            running.stop()
            assert request_in(said(await wire.answer(1))) == approval_id
            running.start()
            await running.answer(approval_id)
            assert await once_found_again(wire, order) == "refunded 20"
        assert refunds(running, order) == 1


async def once_found_again(wire: Wire, order: dict[str, Any]) -> str:
    """Make a call for as long as the answer is that it can be tried again later: a channel reconnects in seconds."""
    async with asyncio.timeout(SECONDS):
        for number in itertools.count(2):
            words = said(await wire.call(number, "refund", **order))
            if "tried again later" not in words:
                return words
    raise AssertionError("unreachable")


async def test_a_request_that_cannot_be_taken_back_still_does_not_run(order: dict[str, Any]) -> None:
    with scene() as running:
        async with begun(running) as wire:
            call(wire, 1, order)
            number, _ = await question(wire)
            running.stop()
            reply(wire, number, "decline")
            assert "could not be taken back" in said(await wire.answer(1))
            running.start()
        assert refunds(running, order) == 0
