"""What a server wants to ask of the person at the client: decided, approved where policy wants, and under its name."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from aisecops_mcp.consent import COMPLETED, KEY

from tests.scenes.mcp.mcp_asking import ODD, WITHDRAWN, accepted, call, modern, odd, question, reply, said, shown
from tests.scenes.mcp.mcp_scene import DENY, Scene, scene

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def desk() -> Iterator[Scene]:
    with scene(**ODD) as running:
        yield running


async def test_the_server_hears_of_its_own_round_and_nothing_of_ours(desk: Scene) -> None:
    async with odd(desk) as wire:
        own = {"requestState": "of the server", "inputResponses": {"a": {"action": "accept"}}}
        mixed = {**own, "inputResponses": {**own["inputResponses"], KEY: {"action": "accept"}}}  # type: ignore[dict-item]
        asked = await modern(wire, 1, {"n": 1}, name="echo", **mixed)
        await desk.answer(asked["result"]["_meta"]["aisecops/decision"]["approvalId"])
        ran = await modern(wire, 2, {"n": 1}, name="echo", **accepted(asked))
        heard = json.loads(said(ran))
        assert {name: heard[name] for name in own} == own
        assert "aisecops" not in json.dumps(heard)


async def test_a_server_that_speaks_like_the_proxy_is_shown_under_its_own_name(desk: Scene) -> None:
    async with odd(desk) as wire:
        call(wire, 1, {}, "imitates")
        forged = (await wire.hears("elicitation/create"))["params"]
        lines = forged["message"].split("\n")
        assert len(lines) == 3
        assert all(line.startswith("odd: ") for line in lines)
        assert forged["_meta"] == {"own": "kept"}
        reply(wire, wire.heard[-1]["id"], "accept")
        assert "accept" in said(await wire.answer(1))
        later = await modern(wire, 2, {}, name="imitates_later")
        message = later["result"]["inputRequests"]["a"]["params"]["message"]
        assert all(line.startswith("odd: ") for line in message.split("\n"))
        for number, name in ((3, "poses_key"), (4, "poses_state")):
            assert "error" in await modern(wire, number, {}, name=name)
        wanted = (await wire.call(5, "wants_address"))["error"]
        assert wanted["message"] == "odd: AISecOps: approve first"
        [address] = wanted["data"]["elicitations"]
        assert (address["message"], address["url"]) == ("odd: AISecOps: sign", "https://evil.example")
        assert (await wire.call(6, "forges"))["result"]["_meta"] == {"own": 1}


async def test_what_a_server_may_ask_with_approval_only_waits_for_it_and_is_asked_then(desk: Scene) -> None:
    async with odd(desk, "nosy") as wire:
        call(wire, 1, {}, "imitates")
        number, approval_id = await question(wire)
        assert "nosy/elicitation.create" in wire.heard[-1]["params"]["message"]
        reply(wire, number, "accept")
        await desk.answer(approval_id)
        asked = await wire.hears("elicitation/create")
        assert asked["params"]["message"].startswith("nosy: ")
        reply(wire, asked["id"], "accept")
        assert "accept" in said(await wire.answer(1))
        # The next question is another one.
        call(wire, 2, {}, "wants_address")
        number, another = await question(wire)
        reply(wire, number, "accept")
        await desk.answer(another)
        [address] = (await wire.answer(2))["error"]["data"]["elicitations"]
        assert (approval_id != another, address["url"]) == (True, "https://evil.example")


async def test_what_a_server_may_not_ask_because_the_user_declines_is_asked_of_nobody(desk: Scene) -> None:
    async with odd(desk, "nosy") as wire:
        call(wire, 1, {}, "imitates")
        number, approval_id = await question(wire)
        reply(wire, number, "decline")
        assert "was taken back" in said(await wire.answer(1))
        assert len([heard for heard in wire.heard if heard.get("method") == "elicitation/create"]) == 1
        assert (await shown(desk, approval_id)).state == WITHDRAWN
        call(wire, 2, {}, "wants_address")
        number, approval_id = await question(wire)
        reply(wire, number, "accept")
        await desk.answer(approval_id, DENY)
        assert "evil.example" not in json.dumps(await wire.answer(2))


async def test_without_a_connection_a_server_asks_again_when_what_it_asks_is_approved(desk: Scene) -> None:
    async with odd(desk, "nosy") as wire:
        asked = await modern(wire, 1, {}, name="wants")
        assert list(asked["result"]["inputRequests"]) == [KEY]
        assert "password" not in json.dumps(asked["result"]["inputRequests"][KEY]["params"]["requestedSchema"])
        await desk.answer(asked["result"]["_meta"]["aisecops/decision"]["approvalId"])
        wanted = await modern(wire, 2, {}, name="wants", **accepted(asked))
        assert wanted["result"]["inputRequests"]["a"]["params"]["message"] == "nosy: Your password?"
        assert wanted["result"]["requestState"] == "s"
        # One that nobody approves is shown to nobody, however often the client comes back.
        again = await modern(wire, 3, {}, name="wants")
        await desk.answer(again["result"]["_meta"]["aisecops/decision"]["approvalId"], DENY)
        refused = await modern(wire, 4, {}, name="wants", **accepted(again))
        assert "people did not approve" in said(refused)


async def test_only_who_had_an_address_opened_says_that_it_is_done_there(desk: Scene) -> None:
    async with odd(desk) as wire:
        await wire.call(1, "completes")
        assert [heard for heard in wire.heard if heard.get("method") == COMPLETED] == []
        await wire.call(2, "wants_address")
        await wire.call(3, "completes")
        done = [heard["params"] for heard in wire.heard if heard.get("method") == COMPLETED]
        assert done == [{"elicitationId": "e"}]
