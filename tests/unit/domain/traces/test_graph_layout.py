from __future__ import annotations

import random
from itertools import pairwise

import pytest
from aisecops_server.domain.traces.execution_graph import Edge, EdgeKind, Node, NodeKind
from aisecops_server.domain.traces.graph_layout import GAP_Y, LANE_OF, NODE_HEIGHT, layout, neighbours


def _node(kind: NodeKind, name: str, *, label: str = "", **facts: str) -> Node:
    return Node(f"{kind}:{name}", kind, label or name, "t", "e", facts)


def _decision(number: int, outcome: str = "ALLOW") -> tuple[list[Node], list[Edge]]:
    name = f"dec-{number}"
    source = _node(NodeKind.SOURCE, f"{name}/s", label="page", trust="external", source_kind="tool_result")
    plan = _node(NodeKind.PLAN, name, label="Look")
    step = _node(NodeKind.STEP, f"{name}/a", label="crm/read", outcome=outcome)
    end = _node(NodeKind.OUTCOME, name, label=outcome)
    edges = [
        Edge(source.id, step.id, EdgeKind.INFLUENCED),
        Edge(plan.id, step.id, EdgeKind.PART_OF),
        Edge(plan.id, end.id, EdgeKind.CONCLUDED),
    ]
    return [source, plan, step, end], edges


def _graph(count: int, *denied: int) -> tuple[list[Node], list[Edge]]:
    nodes, edges = [_node(NodeKind.IDENTITY, "agent")], []
    for number in range(count):
        more, joined = _decision(number, "DENY" if number in denied else "ALLOW")
        nodes += more
        edges += [*joined, Edge(nodes[0].id, more[1].id, EdgeKind.PROPOSED)]
    return nodes, edges


def test_the_same_graph_stands_the_same_way() -> None:
    assert layout(*_graph(30, 3)) == layout(*_graph(30, 3))


def test_every_node_stands_in_its_lane_and_on_no_other() -> None:
    found = layout(*_graph(25, 1, 7), fold=False)
    lanes: dict[int, list[int]] = {}
    for one in found.placed:
        lanes.setdefault(one.x, []).append(one.y)
        assert 0 <= one.y <= found.height - NODE_HEIGHT
    assert len({LANE_OF[one.node.kind] for one in found.placed}) == len(lanes)
    for heights in lanes.values():
        assert all(after - before >= NODE_HEIGHT + GAP_Y for before, after in pairwise(sorted(heights)))


def test_alike_nodes_of_what_was_allowed_are_drawn_as_one() -> None:
    found = layout(*_graph(23))
    assert {(one.node.kind, one.count) for one in found.placed if one.count > 1} == {
        (kind, 23) for kind in (NodeKind.SOURCE, NodeKind.PLAN, NodeKind.STEP, NodeKind.OUTCOME)
    }
    assert found.folded == 4 * 22
    drawn = {one.node.id for one in found.placed}
    assert all({edge.source, edge.target} <= drawn for edge in found.edges)


def test_what_was_not_allowed_is_never_drawn_inside_another() -> None:
    nodes, edges = _graph(30, 4, 5, 6, 7, 8)
    drawn = {one.node.id: one.count for one in layout(nodes, edges).placed}
    stopped = [
        node.id
        for node in nodes
        if any(f"dec-{number}" in node.id.split("/")[0].split(":") for number in (4, 5, 6, 7, 8))
    ]
    assert len(stopped) == 20
    assert {drawn.get(node) for node in stopped} == {1}


def test_no_sweep_makes_it_worse_than_the_order_of_the_log() -> None:
    nodes, edges = _graph(12, *range(12))
    shuffled = [nodes[0], *random.Random(7).sample(nodes[1:], len(nodes) - 1)]
    found = layout(shuffled, edges, fold=False)
    heights = {one.node.id: one.y for one in found.placed}
    stretch = sum(abs(heights[edge.source] - heights[edge.target]) for edge in edges)
    plain: dict[int, int] = {}
    before = {}
    for node in shuffled:
        lane = LANE_OF[node.kind]
        before[node.id] = plain.get(lane, 0) * (NODE_HEIGHT + GAP_Y)
        plain[lane] = plain.get(lane, 0) + 1
    assert stretch <= sum(abs(before[edge.source] - before[edge.target]) for edge in edges)


@pytest.mark.parametrize("count", [0, 1])
def test_a_graph_with_nothing_in_it_has_a_size(count: int) -> None:
    found = layout(*_graph(count))
    assert found.width > 0
    assert found.height >= NODE_HEIGHT


def test_neighbours_are_what_a_node_leads_to() -> None:
    assert neighbours([Edge("a", "b", EdgeKind.PART_OF), Edge("a", "c", EdgeKind.PART_OF)]) == {"a": ["b", "c"]}
