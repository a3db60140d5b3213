"""What people or programs change of a call after it was proposed is what is judged, and what was agreed to is exact."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("langchain", reason="langchain is not installed here: run 'make frameworks'")

from aisecops_client.frameworks.langchain import Governance, governed
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from tests.integration.frameworks import scene
from tests.integration.frameworks.langchain_harness import scripted
from tests.integration.frameworks.scene import PROMPT, THIEF, TICKET, Plane, Tools, refund, send

_threads = itertools.count(1)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with scene.plane_in(tmp_path_factory.mktemp("edits")) as served:
        yield served


def agent(plane: Plane, tools: Tools, turns: Any, *before: Any, **more: Any) -> tuple[Any, Any]:
    made = create_agent(
        scripted(turns),
        [tool(function) for function in tools.functions],
        middleware=governed(before, plane.bridge()),
        checkpointer=InMemorySaver(),
        **more,
    )
    return made, {"configurable": {"thread_id": f"edits-{next(_threads)}"}}


def told(state: Any) -> list[str]:
    return [str(message.content) for message in state["messages"] if isinstance(message, ToolMessage)]


def test_a_reviewer_s_edit_is_judged_and_not_what_it_replaced(plane: Plane) -> None:
    tools = Tools()
    graph, config = agent(
        plane, tools, [[TICKET], [send()]], HumanInTheLoopMiddleware(interrupt_on={"send_email": True})
    )
    graph.invoke({"messages": [("user", PROMPT)]}, config)
    name, arguments = send(THIEF)
    edit = {"type": "edit", "edited_action": {"name": name, "args": arguments}}
    state = graph.invoke(Command(resume={"decisions": [edit]}), config)
    assert "provenance.destination_dictated" in told(state)[1]
    assert tools.names == ["read_ticket"]


def test_what_was_agreed_to_does_not_cover_other_arguments(plane: Plane) -> None:
    tools = Tools()
    graph, config = agent(plane, tools, [[refund()]])
    [waits] = graph.invoke({"messages": [("user", PROMPT)]}, config)["__interrupt__"]
    plane.vote(waits.value["approval_id"])
    # As if the checkpoint was tampered with while people decided.
    message = graph.get_state(config).values["messages"][-1]
    message.tool_calls[0]["args"]["amount"] = 9000
    graph.update_state(config, {"messages": [message]}, as_node="model")
    state = graph.invoke(None, config)
    assert tools.runs == []
    assert state["__interrupt__"][0].value["approval_id"] != waits.value["approval_id"]


def test_what_a_run_is_resumed_with_is_no_approval(plane: Plane) -> None:
    tools = Tools()
    graph, config = agent(plane, tools, [[refund()]])
    [small] = graph.invoke({"messages": [("user", PROMPT)]}, config)["__interrupt__"]
    plane.vote(small.value["approval_id"])
    graph, config = agent(plane, tools, [[refund(9000)]])
    graph.invoke({"messages": [("user", PROMPT)]}, config)
    answer = small.value | {"outcome": "ALLOW", "decisions": [{"type": "approve"}]}
    state = graph.invoke(Command(resume=answer), config)
    assert state["__interrupt__"]
    assert tools.runs == []


def test_another_process_takes_up_what_people_approved(plane: Plane) -> None:
    """The graph's state is all that it has; the control plane knows the request by the call."""
    tools, saver = Tools(), InMemorySaver()
    bound = [tool(function) for function in tools.functions]
    config = {"configurable": {"thread_id": "moved"}}
    first = create_agent(scripted([[refund()]]), bound, middleware=governed([], plane.bridge()), checkpointer=saver)
    [waits] = first.invoke({"messages": [("user", PROMPT)]}, config)["__interrupt__"]
    plane.vote(waits.value["approval_id"])
    second = create_agent(scripted([]), bound, middleware=governed([], plane.bridge()), checkpointer=saver)
    state = second.invoke(Command(resume="go on"), config)
    assert (told(state), tools.runs) == (["done: issue_refund"], [refund()])


def test_governance_is_the_last_middleware_and_there_is_one(plane: Plane) -> None:
    other = HumanInTheLoopMiddleware(interrupt_on={})
    made = governed([other], plane.bridge())
    assert (made[0], type(made[1])) == (other, Governance)
    with pytest.raises(ValueError, match="already"):
        governed(made, plane.bridge())
