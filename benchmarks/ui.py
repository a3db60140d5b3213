"""What the UI costs: the server's time for a graph beside that for the same graph as text, and what pages weigh.

``python -m benchmarks.ui`` needs no engine and no log: graphs are made here, and files are those that pages load.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable

from aisecops_server.domain.execution_graph import Edge, EdgeKind, ExecutionGraph, Node, NodeKind
from aisecops_server.domain.graph_layout import layout
from aisecops_server.domain.graph_text import mermaid
from aisecops_server.entrypoints.web.graph_drawing import draw
from aisecops_server.entrypoints.web.rendering import Assets

ROUNDS = 7


def main() -> None:
    """Print the figures."""
    print("| graph | laid out and drawn | as Mermaid text | times as long | gzip |")
    print("| --- | --- | --- | --- | --- |")
    for decisions in (50, 250):
        nodes, edges = _graph(decisions)
        drawn, svg = _best(lambda nodes=nodes, edges=edges: str(draw(layout(nodes, edges, fold=False))))
        graph = ExecutionGraph(tuple(nodes), tuple(edges), (), decisions, decisions)
        written, _ = _best(lambda graph=graph: mermaid(graph))
        size = len(gzip.compress(svg.encode())) / 1024
        ratio = drawn / written
        print(f"| {len(nodes)} nodes | {drawn * 1000:.0f} ms | {written * 1000:.0f} ms | {ratio:.1f} | {size:.1f} kB |")
    files = Assets().files
    scripts = sum(len(content) for name, content in files.items() if name.endswith(".js"))
    every = sum(len(gzip.compress(content)) for content in files.values())
    print(f"scripts {scripts / 1024:.1f} kB, all files {every / 1024:.1f} kB gzip")


def _best(work: Callable[[], str]) -> tuple[float, str]:
    best, made = float("inf"), ""
    for _ in range(ROUNDS):
        began = time.perf_counter()
        made = work()
        best = min(best, time.perf_counter() - began)
    return best, made


def _graph(decisions: int) -> tuple[list[Node], list[Edge]]:
    nodes = [Node("identity:a", NodeKind.IDENTITY, "agent", trace_id="t", event_id="e", facts={})]
    edges: list[Edge] = []
    for number in range(decisions):
        name = f"dec-{number}"
        kinds = (
            (NodeKind.SOURCE, f"{name}/s", "page"),
            (NodeKind.PLAN, name, "look"),
            (NodeKind.STEP, f"{name}/x", "crm/read"),
            (NodeKind.OUTCOME, name, "DENY"),
        )
        own = [Node(f"{kind}:{id_}", kind, label, trace_id="t", event_id="e", facts={}) for kind, id_, label in kinds]
        nodes += own
        edges += [
            Edge(nodes[0].id, own[1].id, EdgeKind.PROPOSED),
            Edge(own[0].id, own[2].id, EdgeKind.INFLUENCED),
            Edge(own[1].id, own[2].id, EdgeKind.PART_OF),
            Edge(own[1].id, own[3].id, EdgeKind.CONCLUDED),
        ]
    return nodes, edges


if __name__ == "__main__":
    main()
