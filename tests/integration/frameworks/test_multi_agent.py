"""A graph of two agents, each with a credential of its own: what one may not do, the other does not do for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("langgraph", reason="langgraph is not installed here: run 'make frameworks'")

from aisecops_client import Client
from aisecops_client.frameworks._bridge import Bridge
from aisecops_client.frameworks.langgraph import governed_node
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

from tests.integration.frameworks import scene
from tests.integration.frameworks.langchain_harness import scripted
from tests.integration.frameworks.scene import Call, Plane

AGENTS = "spiffe://corp.example/agent"
PLANNER, OPERATOR = f"{AGENTS}/planner", f"{AGENTS}/operations-assistant"
LOOK: Call = ("list_pods", {"namespace": "shop"})
RESTART: Call = ("restart", {"namespace": "shop", "deployment": "checkout"})
RELEASE: Call = ("release", {"service": "checkout", "version": "2.14.1", "environment": "production"})
NAMES = {"list_pods": "kubernetes/list_pods", "restart": "kubernetes/restart", "release": "deploy/release"}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with scene.plane_in(tmp_path_factory.mktemp("agents")) as served:
        yield served


class Cluster:
    def __init__(self) -> None:
        self.done: list[str] = []

    def list_pods(self, namespace: str) -> str:
        """List pods."""
        self.done.append(f"list {namespace}")
        return "checkout-1 restarting"

    def restart(self, namespace: str, deployment: str) -> str:
        """Restart a deployment."""
        self.done.append(f"restart {namespace}/{deployment}")
        return "restarted"

    def release(self, service: str, version: str, environment: str) -> str:
        """Release a version."""
        self.done.append(f"release {service} {version} {environment}")
        return "released"


def handed_down(planner: Bridge, operator: Bridge, cluster: Cluster, first: list[Call], then: list[Call]) -> list[str]:
    """Return what the operator was told of its calls, after the planner made its own."""
    tools = [tool(function) for function in (cluster.list_pods, cluster.restart, cluster.release)]
    graph = StateGraph(MessagesState)
    previous = START
    for name, bridge, calls in (("planner", planner, first), ("operator", operator, then)):
        model = scripted([calls])
        graph.add_node(name, lambda state, model=model: {"messages": [model.invoke(state["messages"])]})
        graph.add_node(f"{name}-tools", governed_node(tools, bridge))
        graph.add_edge(previous, name)
        graph.add_edge(name, f"{name}-tools")
        previous = f"{name}-tools"
    graph.add_edge(previous, END)
    made = graph.compile(checkpointer=InMemorySaver())
    asked = {"messages": [("user", "Restart deployment checkout in namespace shop, then release 2.14.1 of checkout.")]}
    state: Any = made.invoke(asked, {"configurable": {"thread_id": f"agents-{id(cluster)}"}})
    said = [str(message.content) for message in state["messages"] if isinstance(message, ToolMessage)]
    return said[len(first) :] or [str(item.value["reason"]) for item in state.get("__interrupt__", ())]


@pytest.fixture
def planner(plane: Plane) -> Iterator[Bridge]:
    with plane.connected(PLANNER) as client:
        yield bridge(client, PLANNER)


@pytest.fixture
def operator(plane: Plane) -> Iterator[Client]:
    with plane.connected(OPERATOR) as client:
        yield client


def bridge(client: Client, agent: str, **more: Any) -> Bridge:
    return Bridge(client, environment="production", tools=NAMES, agent_id=agent, **more)


def test_a_child_does_what_both_may_and_not_what_its_parent_may_not(
    plane: Plane, planner: Bridge, operator: Client
) -> None:
    cluster = Cluster()
    below = bridge(operator, OPERATOR, above=planner)
    told = handed_down(planner, below, cluster, [LOOK], [RESTART, RELEASE])
    assert told[0] == "restarted"
    assert told[1].startswith("Not run: Denied by ")
    assert "capability.delegation_exceeds" in told[1]
    assert cluster.done == ["list shop", "restart shop/checkout"]
    # By itself it is asked for people's consent, and not refused: it was the parent that was not enough.
    alone = Cluster()
    assert handed_down(planner, bridge(operator, OPERATOR), alone, [LOOK], [RELEASE]) == ["APPROVAL_REQUIRED"]


def test_a_parent_that_was_allowed_nothing_has_nothing_to_hand_down(
    plane: Plane, planner: Bridge, operator: Client
) -> None:
    cluster = Cluster()
    told = handed_down(planner, bridge(operator, OPERATOR, above=planner), cluster, [RELEASE], [RESTART])
    assert "identity.delegation_unverified" in told[0]
    assert cluster.done == []


def test_the_traces_of_both_are_one_graph(plane: Plane, planner: Bridge, operator: Client) -> None:
    below = bridge(operator, OPERATOR, above=planner)
    cluster = Cluster()
    handed_down(planner, below, cluster, [LOOK], [RESTART])
    [session] = below._traces
    with plane.connected("auditor", "auditor") as auditor:
        found = auditor.trace(below._traces[session])
    assert planner._traces[session] in str(found)
