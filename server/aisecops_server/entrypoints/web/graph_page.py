"""The execution graph of a trace: drawn, as a table, and as a file."""

from __future__ import annotations

import orjson
from aisecops.v1 import investigation_service_pb2 as api
from starlette.responses import Response

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.traces.execution_graph import Edge, EdgeKind, Node, NodeKind
from aisecops_server.domain.traces.graph_layout import layout, neighbours
from aisecops_server.entrypoints.web.addresses import address
from aisecops_server.entrypoints.web.graph_drawing import closure, draw, kind_of, name_of, sign_of
from aisecops_server.entrypoints.web.visitor import Page, Visitor

MOST_NODES = 1500
# In percent of the size at which names are read; without one, as wide as the window.
ZOOMS = (25, 50, 75, 100, 150, 200)


async def graph_page(visitor: Visitor) -> Page:
    """Show the graph of a trace and of the traces that delegated to it."""
    trace_id, unfolded, focus = visitor.path("trace"), visitor.query("fold") == "0", visitor.query("focus")
    zoom = visitor.number("zoom")
    if zoom and zoom not in ZOOMS:
        raise InvalidRequestError(f"zoom is one of {', '.join(map(str, ZOOMS))}", field="zoom")
    answer = await read_graph(visitor, trace_id)
    nodes, edges = nodes_of(answer), edges_of(answer)
    found = layout(nodes, edges, fold=not unfolded or len(nodes) > MOST_NODES)
    drawn = {one.node.id for one in found.placed}
    only = _around(focus, found.edges) if focus in drawn else frozenset()
    names = {one.node.id: name_of(one.node) for one in found.placed}
    view = {
        "trace_id": trace_id,
        "drawing": draw(found, only=only, zoom=zoom),
        "zooms": _zooms(trace_id, zoom, fold="0" if unfolded else "", focus=focus),
        "found": found,
        "gaps": answer.gaps,
        "whole": answer.whole,
        "decisions": answer.decisions,
        "unfolded": unfolded,
        "too_many": unfolded and len(nodes) > MOST_NODES,
        "total": len(nodes),
        "fold_to": address(f"/traces/{trace_id}/graph", fold="" if unfolded else "0", focus=focus, zoom=zoom or ""),
        "focused": names.get(focus, ""),
        "around": address(f"/traces/{trace_id}/graph", fold="0" if unfolded else "", zoom=zoom or ""),
        "rows": [
            (one, sign_of(one.node), kind_of(one.node), name_of(one.node), _leads(one.node.id, found.edges, names))
            for one in found.placed
        ],
    }
    return Page(
        "graph.html", "Execution graph", view, {"graph": answer}, "Traces", command=("trace", "graph", trace_id)
    )


def _zooms(trace_id: str, zoom: int, **state: str) -> list[tuple[str, str, bool, str]]:
    """Return each size: its word, its address, whether it is chosen, and the key that leads to it from here."""
    sizes = (0, *ZOOMS)
    at = ZOOMS.index(zoom) if zoom else ZOOMS.index(100)
    keys = {0: "0", ZOOMS[min(at + 1, len(ZOOMS) - 1)]: "+", ZOOMS[max(at - 1, 0)]: "-"}
    return [
        (
            f"{size} %" if size else "fit",
            address(f"/traces/{trace_id}/graph", **state, zoom=str(size or "")),
            size == zoom,
            keys.get(size, "") if size != zoom else "",
        )
        for size in sizes
    ]


async def graph_file(visitor: Visitor) -> Response:
    """Give the drawing as a file of its own."""
    answer = await read_graph(visitor, visitor.path("trace"))
    found = layout(nodes_of(answer), edges_of(answer))
    trace = visitor.path("trace")
    # A package is somebody's, and an id in it may be anything.
    named = trace if trace.isascii() and trace.isalnum() else "trace"
    headers = {"Content-Disposition": f'attachment; filename="graph-{named}.svg"'}
    return Response(str(draw(found)), media_type="image/svg+xml", headers=headers)


async def read_graph(visitor: Visitor, trace_id: str) -> api.GetExecutionGraphResponse:
    """Return the graph as the API has it."""
    request = api.GetExecutionGraphRequest(trace_id=trace_id)
    return await visitor.ask("InvestigationService/GetExecutionGraph", request, api.GetExecutionGraphResponse)


def nodes_of(answer: api.GetExecutionGraphResponse) -> list[Node]:
    """Return the nodes of an answer."""
    return [
        Node(
            node.id,
            NodeKind(node.kind),
            label=node.label,
            trace_id=node.trace_id,
            event_id=node.event_id,
            facts=orjson.loads(node.facts_json or b"{}"),
        )
        for node in answer.nodes
    ]


def edges_of(answer: api.GetExecutionGraphResponse) -> list[Edge]:
    """Return the edges of an answer."""
    return [Edge(edge.source_id, edge.target_id, EdgeKind(edge.kind), tuple(edge.pointers)) for edge in answer.edges]


def _around(focus: str, edges: tuple[Edge, ...]) -> frozenset[str]:
    forward = neighbours(edges)
    back = neighbours(Edge(edge.target, edge.source, edge.kind) for edge in edges)
    return frozenset(closure(focus, forward) | closure(focus, back))


def _leads(node_id: str, edges: tuple[Edge, ...], names: dict[str, str]) -> list[tuple[str, str]]:
    return [(edge.kind.value.replace("_", " "), names[edge.target]) for edge in edges if edge.source == node_id]
