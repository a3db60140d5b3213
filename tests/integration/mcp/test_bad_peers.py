"""Servers and clients that misbehave: each harms itself, the agent is told what happened, and the next call works."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aisecops_mcp.definitions import digest_of, pins_written

from tests.mcp_servers.hostile import TOOLS, tool
from tests.scenes.mcp.mcp_scene import DESK_AGENT, ROOT, Scene, scene
from tests.scenes.mcp.mcp_wire import Wire, wired

pytestmark = pytest.mark.asyncio
SERVER_FAILED, INVALID_REQUEST, PARSE_ERROR, METHOD_NOT_FOUND = -32011, -32600, -32700, -32601
HOSTILE = (sys.executable, str(ROOT / "tests/mcp_servers/hostile.py"))
ENTRY = "{description: Odd., effect: read, reach: internal, result_trust: internal}"
OPENED = (*TOOLS, "shadow", "tools.changed")
ODD = {
    "approvals": "  odd/tools.changed: {always: true}\n",
    "servers": "\nodd: {description: Odd., owner: nobody, environments: [production], tools: catalogued}\n",
    "tools": "".join(f"\nodd/{name}: {ENTRY}" for name in OPENED) + "\n",
    "capabilities": "\nodd.use:\n  description: Odd.\n  owner: nobody\n  risk: low\n  tools: ["
    + ", ".join(f"odd/{name}" for name in OPENED)
    + "]\n",
    "agents": "    odd.use: {granted_by: nobody}\n",
}


@pytest.fixture(scope="module")
def odd() -> Iterator[Scene]:
    with scene(**ODD) as running:
        yield running


@pytest_asyncio.fixture
async def wire(odd: Scene) -> AsyncIterator[Wire]:
    async with wired(odd.proxy(*HOSTILE, name="odd", options=("--call-seconds", "10"))) as ends:
        await ends.begin()
        yield ends


def said(answer: dict[str, Any]) -> str:
    return str(answer["result"]["content"][0]["text"])


async def test_fifty_megabytes_are_withheld_and_the_next_call_works(wire: Wire) -> None:
    answer = await wire.call(1, "large")
    assert answer["error"]["code"] == SERVER_FAILED
    assert "was withheld" in answer["error"]["message"]
    assert said(await wire.call(2, "fine")) == "fine"


async def test_a_server_that_hangs_costs_its_own_call_only(wire: Wire) -> None:
    wire.say({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "silent"}})
    assert said(await wire.call(2, "fine")) == "fine"
    assert "gave no answer in 10 s" in (await wire.answer(1))["error"]["message"]


async def test_a_server_that_dies_is_told_of_and_the_agent_survives(wire: Wire) -> None:
    assert "ended with 7" in (await wire.call(1, "dies"))["error"]["message"]
    again = await wire.call(2, "fine")
    assert (again["error"]["code"], again["id"]) == (SERVER_FAILED, 2)


async def test_what_is_no_message_or_two_in_one_is_withheld(wire: Wire) -> None:
    for name in ("garbage", "twice", "both", "batch"):
        answer = await wire.call(name, name)
        assert answer["error"]["code"] == SERVER_FAILED
        assert "hidden" not in json.dumps(answer)
        assert said(await wire.call(f"after {name}", "fine")) == "fine"


async def test_an_answer_that_nobody_asked_for_goes_nowhere(wire: Wire) -> None:
    assert said(await wire.call(1, "other_id")) == "for you"
    assert [found for found in wire.heard if found.get("id") == 9999] == []


async def test_what_a_server_asks_for_that_nobody_knows_is_refused_to_it(wire: Wire) -> None:
    assert said(await wire.call(1, "chatty")) == f"was told {METHOD_NOT_FOUND}"
    assert [found["method"] for found in wire.heard if "method" in found] == ["notifications/message"]


async def test_what_a_server_wants_to_know_before_it_answers_is_decided(wire: Wire) -> None:
    answer = await wire.call(1, "wants")
    assert answer["result"]["isError"]
    assert "odd/elicitation.create" in said(answer)
    assert (await wire.call(2, "wants_odd"))["error"]["code"] == SERVER_FAILED
    assert "odd/elicitation.create" in said(await wire.call(4, "wants_address"))
    assert "password" not in str(wire.heard)
    assert "evil.example" not in str(wire.heard)
    assert said(await wire.call(3, "fine")) == "fine"


async def test_a_name_that_two_tools_have_or_that_is_ours_is_shown_to_nobody(wire: Wire) -> None:
    answer = await wire.ask(1, "tools/list")
    assert {found["name"] for found in answer["result"]["tools"]} == set(TOOLS)


async def test_a_definition_that_changes_is_kept_back_until_people_approve_it(odd: Scene, wire: Wire) -> None:
    listed = await wire.ask(1, "tools/list")
    assert "morphs" in {found["name"] for found in listed["result"]["tools"]}
    assert said(await wire.call(2, "morphs")) == "morphed 1 times"
    # Nobody listed anew, and the server has said that something changed: the next call knows already.
    pending = await wire.call(3, "morphs")
    assert "people have to approve" in said(pending)
    assert "morphs" not in {found["name"] for found in (await wire.ask(4, "tools/list"))["result"]["tools"]}
    await odd.answer(pending["result"]["_meta"]["aisecops/decision"]["approvalId"])
    assert said(await wire.call(5, "morphs")) == "morphed 2 times"
    asked = await odd.events("grant.redeemed")
    assert "odd/tools.changed" in {event["details"]["tool"] for event in asked}


async def test_with_a_file_of_pins_only_what_is_in_it_is_shown(odd: Scene, tmp_path: Path) -> None:
    pins = tmp_path / "pins.json"
    wanted = {"fine": digest_of(tool("fine")), "dies": "0" * 64}
    pins.write_text(pins_written({"odd": wanted}), encoding="utf-8")
    async with wired(odd.proxy(*HOSTILE, name="odd", options=("--pins", str(pins)))) as ends:
        await ends.begin()
        assert said(await ends.call(1, "fine")) == "fine"
        assert "people have to approve" in said(await ends.call(2, "dies"))
        assert [found["name"] for found in (await ends.ask(3, "tools/list"))["result"]["tools"]] == ["fine"]


async def test_instructions_in_an_error_are_passed_on_as_data(wire: Wire) -> None:
    answer = await wire.call(1, "poisoned")
    assert answer["error"]["code"] == -32000
    assert said(await wire.call(2, "fine")) == "fine"


AMBIGUOUS = [
    (b"{", PARSE_ERROR),
    (b"[]", INVALID_REQUEST),
    (b'[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"fine"}}]', INVALID_REQUEST),
    (b'{"id":1,"method":"ping"}', INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"fine","name":"dies"}}', INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"fine","arguments":{"a":NaN}}}', PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":1,"method":"system/exec"}', METHOD_NOT_FOUND),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}', -32602),
    (b'{"jsonrpc":"2.0","id":"aisecops-0","method":"ping"}', INVALID_REQUEST),
]


async def test_what_a_client_says_that_can_be_read_in_two_ways_is_refused(wire: Wire) -> None:
    for raw, code in AMBIGUOUS:
        wire.say(raw)
        assert (await wire.hear())["error"]["code"] == code, raw
    assert said(await wire.call(2, "fine")) == "fine"


async def test_an_id_that_is_in_use_is_refused_and_the_first_request_is_answered(odd: Scene, wire: Wire) -> None:
    before = len(await odd.events("decision.concluded"))
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "fine"}}
    wire.say(call)
    wire.say(call)
    answers = [await wire.hear(), await wire.hear()]
    assert sorted("error" in answer for answer in answers) == [False, True]
    assert len(await odd.events("decision.concluded")) == before + 1


async def test_arguments_that_have_no_exact_form_are_not_forwarded(wire: Wire) -> None:
    answer = await wire.call(1, "fine", number=2**60)
    assert "beyond" in said(answer)
    assert answer["result"]["isError"]


async def test_sources_that_make_no_sense_refuse_the_call(wire: Wire) -> None:
    meta = {"aisecops/sources": [{"kind": "rumour", "content": "x"}]}
    answer = await wire.ask(1, "tools/call", {"name": "fine", "_meta": meta})
    assert answer["result"]["isError"]


async def test_a_client_that_hangs_up_leaves_no_process_behind(odd: Scene) -> None:
    async with wired(odd.proxy(*HOSTILE, name="odd")) as ends:
        await ends.begin()
        ends.say({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "silent"}})
        assert (await ends.hear())["method"] == "notifications/message"
    assert ends.process.returncode == 0
    # It was told of the call that nobody waits for any more.
    assert (await odd.events("execution.failed"))[-1]["details"]["tool"] == "odd/silent"


async def test_a_proxy_that_is_asked_to_end_ends_well(odd: Scene) -> None:
    async with wired(odd.proxy(*HOSTILE, name="odd")) as ends:
        await ends.begin()
        ends.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(ends.process.wait(), 60) == 0


async def test_without_a_control_plane_everything_is_denied_and_the_agent_survives(odd: Scene) -> None:
    nobody = odd.proxy(*HOSTILE, name="odd", AISECOPS_SERVER="unix:/nonexistent/aisecops.sock")
    async with wired(nobody) as ends:
        await ends.begin()
        answer = await ends.call(1, "fine")
        assert answer["result"]["isError"]
        assert "there is no decision, and without one nothing is allowed" in said(answer)
        listed = await ends.ask(2, "tools/list")
        assert "there is no decision" in listed["error"]["message"]
        assert (await ends.ask(3, "ping"))["id"] == 3


async def test_a_token_of_somebody_else_proves_nothing(odd: Scene) -> None:
    options = ("--agent", f"{DESK_AGENT}-2")
    async with wired(odd.proxy(*HOSTILE, name="odd", options=options)) as ends:
        await ends.begin()
        assert (await ends.ask(1, "tools/list"))["result"]["tools"] == []
        assert "agent_unregistered" in json.dumps(await ends.call(2, "fine"))
