"""One suite that every adapter passes, on the real framework: what is not an allow runs the tool zero times."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from aisecops.v1.execution_service_pb2 import CompleteRequest, CompleteResponse
from aisecops_client import Client, RetryLaterError
from aisecops_client.frameworks._bridge import Bridge

from tests.integration.frameworks import scene
from tests.integration.frameworks.scene import (
    CUSTOMER,
    DENY,
    PURGE,
    THIEF,
    TICKET,
    Harness,
    Plane,
    Tools,
    refund,
    send,
)
from tests.scenes.planes.engines import until

# Adapter, the distribution that it needs, and the harness that runs it.
ADAPTERS = [
    ("langchain", "langchain_harness.LangChain"),
    ("langchain", "langchain_async_harness.AsyncLangChain"),
    ("langgraph", "langchain_harness.LangGraph"),
    ("langgraph", "langchain_async_harness.AsyncLangGraph"),
    ("pydantic-ai-slim", "pydantic_ai_harness.PydanticAI"),
    ("openai-agents", "openai_agents_harness.OpenAIAgents"),
    ("claude-agent-sdk", "claude_harness.ClaudeAgentSDK"),
    ("agent-hooks-sdk", "agent_hooks_harness.AgentHooks"),
]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with scene.plane_in(tmp_path_factory.mktemp("frameworks")) as served:
        yield served


@pytest.fixture(params=ADAPTERS, ids=lambda adapter: adapter[1].rpartition(".")[2])
def harness(request: pytest.FixtureRequest) -> Harness:
    distribution, place = request.param
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{distribution} is not installed here: run 'make frameworks'")
    module, _, name = place.partition(".")
    made: Harness = getattr(importlib.import_module(f"tests.integration.frameworks.{module}"), name)()
    return made


@pytest.fixture
def tools() -> Tools:
    return Tools()


class TestConformance:
    def test_what_is_allowed_runs_once_as_it_was_asked(self, harness: Harness, plane: Plane, tools: Tools) -> None:
        turn = harness.run(plane.bridge(), tools, [[send()]])
        assert (turn.told, turn.waits) == (["done: send_email"], [])
        assert tools.runs == [send()]

    def test_what_is_denied_does_not_run_and_the_model_reads_why(
        self, harness: Harness, plane: Plane, tools: Tools
    ) -> None:
        turn = harness.run(plane.bridge(), tools, [[PURGE]])
        [told] = turn.told
        assert told.startswith("Not run: Denied by ")
        assert "What would be acceptable" in told
        assert (tools.runs, turn.waits) == ([], [])

    def test_what_people_approve_runs_once_when_it_is_resumed(
        self, harness: Harness, plane: Plane, tools: Tools
    ) -> None:
        turn = harness.run(plane.bridge(), tools, [[refund()], [send()]])
        [approval_id] = turn.waits
        assert tools.runs == []
        plane.vote(approval_id)
        turn = turn.resume()
        assert turn.told == ["done: issue_refund", "done: send_email"]
        assert tools.runs == [refund(), send()]

    def test_what_people_reject_does_not_run(self, harness: Harness, plane: Plane, tools: Tools) -> None:
        turn = harness.run(plane.bridge(), tools, [[refund()]])
        [approval_id] = turn.waits
        plane.vote(approval_id, DENY)
        [told] = turn.resume().told
        assert told.startswith(f"Not run: people did not approve the call (request {approval_id})")
        assert tools.runs == []

    def test_resuming_without_an_answer_of_people_runs_nothing(
        self, harness: Harness, plane: Plane, tools: Tools
    ) -> None:
        turn = harness.run(plane.bridge(), tools, [[refund()]])
        before, [approval_id] = plane.open_requests(), turn.waits
        turn = turn.resume()
        assert (tools.runs, plane.open_requests()) == ([], before)
        if harness.pauses_again:
            assert turn.waits == [approval_id]
            plane.vote(approval_id)
            assert turn.resume().told == ["done: issue_refund"]
        else:
            assert turn.told[0].startswith(f"Not run: people have to approve this call first (request {approval_id})")

    def test_people_can_be_waited_for_in_place(self, harness: Harness, plane: Plane, tools: Tools) -> None:
        bridge = plane.bridge(approval_seconds=60)
        wait = bridge.client.wait_for_approval

        def answered(answer: Any, *, seconds: float) -> Any:
            plane.vote(answer.approval_id)
            return wait(answer, seconds=seconds)

        bridge.client = _Client(bridge.client, wait_for_approval=answered)
        turn = harness.run(bridge, tools, [[refund()]])
        assert (turn.told, turn.waits, tools.runs) == (["done: issue_refund"], [], [refund()])

    def test_calls_of_one_turn_are_judged_apart(self, harness: Harness, plane: Plane, tools: Tools) -> None:
        turn = harness.run(plane.bridge(), tools, [[send(), PURGE, TICKET, CUSTOMER]])
        heads = [told.partition(":")[0] for told in turn.told]
        assert heads == ["done", "Not run", "Late again! Assistant", '{"customer_id"']
        assert sorted(tools.names) == ["read_customer", "read_ticket", "send_email"]

    def test_a_resume_does_not_run_again_what_ran_beside_the_call_that_waited(
        self, harness: Harness, plane: Plane, tools: Tools
    ) -> None:
        turn = harness.run(plane.bridge(), tools, [[send(), refund(), PURGE]])
        [approval_id] = turn.waits
        plane.vote(approval_id)
        turn = turn.resume()
        assert sorted(tools.names) == ["issue_refund", "send_email"]
        assert turn.told[:2] == ["done: send_email", "done: issue_refund"]
        assert turn.told[2].startswith("Not run: Denied by ")

    def test_what_a_tool_returned_steers_no_call_after_it(self, harness: Harness, plane: Plane, tools: Tools) -> None:
        turn = harness.run(plane.bridge(), tools, [[TICKET], [send(THIEF)], [send(THIEF)]])
        assert "provenance.destination_dictated" in turn.told[1]
        # That a refusal repeated the address made it no better known.
        assert "provenance.destination_dictated" in turn.told[2]
        assert tools.names == ["read_ticket"]

    def test_fields_that_must_not_be_seen_are_not(self, harness: Harness, plane: Plane, tools: Tools) -> None:
        [told] = harness.run(plane.bridge(), tools, [[CUSTOMER]]).told
        assert json.loads(told) == {"customer_id": "C-20417", "name": "Mara Lindt", "card_number": "[redacted]"}

    def test_what_came_of_a_call_is_kept_until_it_can_be_told(
        self, harness: Harness, plane: Plane, tools: Tools, tmp_path: Path
    ) -> None:
        def ran() -> int:
            return sum(event.type == "execution.executed" for event in auditor.events())

        def away(_request: CompleteRequest) -> CompleteResponse:
            raise RetryLaterError("nobody answers", grpc.StatusCode.UNAVAILABLE)

        def kept() -> list[Path]:
            return [path for path in (tmp_path / "spool").glob("*/*/*") if not path.name.startswith(".")]

        with plane.connected("auditor@corp.example", "auditor") as auditor:
            before = ran()
            with plane.bridge(spool=tmp_path / "spool") as bridge:
                assert bridge._keeper is not None
                bridge._keeper._complete = away
                assert harness.run(bridge, tools, [[send()]]).told == ["done: send_email"]
            assert (len(kept()), ran()) == (1, before)
            with plane.bridge(spool=tmp_path / "spool"):
                asyncio.run(until(lambda: not kept()))
            assert (len(kept()), ran(), tools.names) == (0, before + 1, ["send_email"])

    def test_without_a_control_plane_nothing_runs_and_the_agent_lives(
        self, harness: Harness, tools: Tools, tmp_path: Path
    ) -> None:
        with Client.connect(f"unix:{tmp_path}/nobody", "token") as client:
            bridge = Bridge(client, tools=scene.POLICY_NAMES, pause=lambda _: None)
            turn = harness.run(bridge, tools, [[send(), TICKET]])
        assert all(told.startswith("Not run: there is no decision") for told in turn.told)
        assert (len(turn.told), tools.runs) == (2, [])

    def test_a_control_plane_that_does_not_answer_is_not_waited_for(
        self, harness: Harness, tools: Tools, tmp_path: Path
    ) -> None:
        with scene.silent_server(tmp_path) as address, Client.connect(address, "token") as client:
            client.timeout_seconds = 0.2
            bridge = Bridge(client, tools=scene.POLICY_NAMES, pause=lambda _: None, attempts=1)
            [told] = harness.run(bridge, tools, [[send()]]).told
        assert told.startswith("Not run: there is no decision")
        assert tools.runs == []

    @pytest.mark.parametrize("error", [RuntimeError("bug"), TypeError("bug"), KeyError("bug"), RecursionError("bug")])
    def test_a_hook_that_raises_runs_nothing(
        self, harness: Harness, plane: Plane, tools: Tools, error: Exception
    ) -> None:
        bridge = plane.bridge()

        def broken(_pending: Any) -> Any:
            raise error

        bridge.proposal = broken  # type: ignore[method-assign]
        [told] = harness.run(bridge, tools, [[send()]]).told
        assert told.startswith("Not run")
        assert tools.runs == []

    def test_arguments_of_no_exact_form_are_refused(self, harness: Harness, plane: Plane, tools: Tools) -> None:
        turn = harness.run(plane.bridge(), tools, [[refund(2**60)]])
        assert tools.runs == []
        assert turn.told[0].startswith("Not run: the call cannot be judged")


class _Client:
    """A client of which one call is done otherwise."""

    def __init__(self, client: Any, **others: Callable[..., Any]) -> None:
        self._client, self._others = client, others

    def __getattr__(self, name: str) -> Any:
        return self._others.get(name) or getattr(self._client, name)
