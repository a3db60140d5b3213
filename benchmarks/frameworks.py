"""What a governed tool call of LangChain costs, against a plain Decide and the bare tool, in one run.

    AISECOPS_OPA=... python -m benchmarks.frameworks [--calls 150]

All three go through the same LangChain tool node, so that what the framework costs by itself stands on both sides.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aisecops_client import PlanBuilder
from aisecops_client.frameworks.langgraph import governed_node
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from tests.integration.frameworks import scene

BAR = 1.3
PROMPT = "Read the tickets."


@tool
def read_ticket(ticket_id: str) -> str:
    """Read a ticket."""
    return f"ticket {ticket_id}: nothing new"


def graph_of(node: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("tools", node)
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    return graph.compile()


def call(graph: Any, at: int) -> None:
    asked = {"name": "read_ticket", "args": {"ticket_id": f"T-{at}"}, "id": f"call-{at}"}
    state = graph.invoke({"messages": [HumanMessage(PROMPT), AIMessage("", tool_calls=[asked])]})
    assert state["messages"][-1].content.startswith("ticket"), state["messages"][-1].content


def timed(work: Callable[[int], None], at: int) -> float:
    began = time.perf_counter()
    work(at)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=150)
    calls = parser.parse_args().calls
    with tempfile.TemporaryDirectory() as folder, scene.plane_in(Path(folder)) as plane:
        told_later, told_now = plane.bridge(tells_later=True), plane.bridge()
        later, now = (
            graph_of(governed_node([read_ticket], told_later)),
            graph_of(governed_node([read_ticket], told_now)),
        )
        bare = graph_of(ToolNode([read_ticket]))

        def decide(at: int) -> None:
            plan = PlanBuilder(environment="production")
            prompt = plan.source("user_prompt", PROMPT)
            plan.step("tickets/read", {"ticket_id": f"T-{at}"}, influenced_by=[prompt])
            assert plane.agent.decide(plan, redemption_key=f"benchmark-key-{at:08}").allowed

        ways = {
            "bare tool, by the framework": lambda at: call(bare, at),
            "Decide by a connected client": decide,
            "governed, told while it returns": lambda at: call(later, at),
            "governed, told before it returns": lambda at: call(now, at),
        }
        rows: dict[str, list[float]] = {name: [] for name in ways}
        for at in range(calls + 10):
            for number, (name, work) in enumerate(ways.items()):
                taken = timed(work, at * len(ways) + number)
                # What is told beside a call must not be counted to the next way.
                told_later.settle()
                if at >= 10:
                    rows[name].append(taken)
    medians = {name: statistics.median(values) for name, values in rows.items()}
    for name, values in rows.items():
        print(f"{name:34} p50 {medians[name]:6.2f} ms   p95 {statistics.quantiles(values, n=20)[18]:6.2f} ms")
    bare_p50, decide_p50, later_p50, now_p50 = medians.values()
    print(f"governed / (Decide + bare): {later_p50 / (decide_p50 + bare_p50):.2f} (bar {BAR}), ", end="")
    print(f"told before it returns: {now_p50 / (decide_p50 + bare_p50):.2f}")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
