"""Where the nodes of an execution graph stand: fixed lanes from who asked to what ran, and few crossings within them.

Pure and deterministic: the same graph gives the same places. Sizes are pixels at 100 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from aisecops_server.domain.traces.execution_graph import Edge, EdgeKind, Node, NodeKind

LANES: Sequence[tuple[str, tuple[NodeKind, ...]]] = (
    ("identity", (NodeKind.IDENTITY,)),
    ("sources", (NodeKind.SOURCE,)),
    ("plan", (NodeKind.PLAN, NodeKind.CAPABILITY)),
    ("steps", (NodeKind.STEP,)),
    ("controls", (NodeKind.RULE, NodeKind.BUDGET, NodeKind.APPROVAL)),
    ("outcome", (NodeKind.OUTCOME,)),
    ("grants", (NodeKind.GRANT,)),
    ("execution", (NodeKind.EXECUTION,)),
)
LANE_OF: Mapping[str, int] = {kind: lane for lane, (_, kinds) in enumerate(LANES) for kind in kinds}
NODE_WIDTH, NODE_HEIGHT, GAP_X, GAP_Y = 140, 36, 36, 10
SWEEPS = 24
# After so many sweeps that made nothing better, none will.
_PATIENCE = 6
FOLDED_FROM = 4


@dataclass(frozen=True, slots=True)
class Placed:
    """A node with its place; ``count`` nodes are drawn as one where it is more than 1."""

    node: Node
    x: int
    y: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything stands. ``folded`` counts nodes that are drawn inside another."""

    placed: tuple[Placed, ...]
    edges: tuple[Edge, ...]
    width: int
    height: int
    folded: int


def layout(nodes: Sequence[Node], edges: Sequence[Edge], *, fold: bool = True) -> Layout:
    """Return the layout of a graph; with ``fold``, alike nodes of what was allowed are drawn as one."""
    heads = _heads(nodes) if fold else {node.id: node.id for node in nodes}
    counts: dict[str, int] = {}
    for head in heads.values():
        counts[head] = counts.get(head, 0) + 1
    kept = [node for node in nodes if heads[node.id] == node.id]
    joined = _joined(edges, heads)
    order = _ordered(kept, joined)
    placed = _placed(order, joined, counts)
    rows = max((one.y + NODE_HEIGHT for one in placed), default=NODE_HEIGHT)
    width = len(LANES) * (NODE_WIDTH + GAP_X) - GAP_X
    return Layout(tuple(placed), tuple(joined), width, rows, len(nodes) - len(kept))


def neighbours(edges: Iterable[Edge]) -> Mapping[str, Sequence[str]]:
    """Return for every node those that it leads to."""
    found: dict[str, list[str]] = {}
    for edge in edges:
        found.setdefault(edge.source, []).append(edge.target)
    return found


def _decision_of(node: Node) -> str:
    return node.id.partition(":")[2].partition("/")[0]


def _heads(nodes: Sequence[Node]) -> dict[str, str]:
    """Return for every node the one that it is drawn in; what was not allowed is never drawn in another."""
    stopped = {_decision_of(node) for node in nodes if node.kind is NodeKind.OUTCOME and node.label != "ALLOW"}
    alike: dict[tuple[object, ...], list[str]] = {}
    for node in nodes:
        own = node.kind in (NodeKind.SOURCE, NodeKind.PLAN, NodeKind.STEP, NodeKind.OUTCOME, NodeKind.GRANT)
        ran = node.kind is NodeKind.EXECUTION and node.label.startswith("execution.")
        if (own and _decision_of(node) not in stopped) or ran:
            facts = (node.facts.get("trust", ""), node.facts.get("source_kind", ""))
            alike.setdefault((node.kind, node.label, *facts), []).append(node.id)
    heads = {node.id: node.id for node in nodes}
    for members in alike.values():
        if len(members) >= FOLDED_FROM:
            heads |= dict.fromkeys(members, members[0])
    return heads


def _joined(edges: Sequence[Edge], heads: Mapping[str, str]) -> list[Edge]:
    """Return edges between what is drawn, each once, none from a node to itself."""
    found: dict[tuple[str, str, EdgeKind], Edge] = {}
    for edge in edges:
        source, target = heads[edge.source], heads[edge.target]
        if source != target:
            found.setdefault((source, target, edge.kind), replace(edge, source=source, target=target))
    return list(found.values())


def _ordered(nodes: Sequence[Node], edges: Sequence[Edge]) -> list[list[Node]]:
    """Return the lanes, each in the order of the best of some sweeps over the barycentres of its neighbours."""
    lanes: list[list[Node]] = [[] for _ in LANES]
    for node in nodes:
        lanes[LANE_OF[node.kind]].append(node)
    around: dict[str, list[str]] = {node.id: [] for node in nodes}
    for edge in edges:
        around[edge.source].append(edge.target)
        around[edge.target].append(edge.source)
    best, least, since = [list(lane) for lane in lanes], _stretch(lanes, edges), 0
    for sweep in range(SWEEPS):
        if since >= _PATIENCE:
            break
        since += 1
        places = _places(lanes)
        for lane in lanes if sweep % 2 == 0 else reversed(lanes):
            lane.sort(key=lambda node: _mean([places[other] for other in around[node.id]], places[node.id]))
            size = max(1, len(lane))
            places |= {node.id: at / size for at, node in enumerate(lane)}
        if (stretch := _stretch(lanes, edges)) < least:
            best, least, since = [list(lane) for lane in lanes], stretch, 0
    return best


def _places(lanes: Sequence[Sequence[Node]]) -> dict[str, float]:
    return {node.id: at / max(1, len(lane)) for lane in lanes for at, node in enumerate(lane)}


def _stretch(lanes: Sequence[Sequence[Node]], edges: Sequence[Edge]) -> float:
    """Return how far edges go up and down: what crosses less is shorter."""
    places = _places(lanes)
    return sum(abs(places[edge.source] - places[edge.target]) for edge in edges)


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _placed(lanes: Sequence[Sequence[Node]], edges: Sequence[Edge], counts: Mapping[str, int]) -> list[Placed]:
    """Return the nodes with their places: short lanes stand at the height of what they are joined to."""
    pitch = NODE_HEIGHT + GAP_Y
    around: dict[str, list[str]] = {}
    for edge in edges:
        around.setdefault(edge.source, []).append(edge.target)
        around.setdefault(edge.target, []).append(edge.source)
    heights = {node.id: at * pitch for lane in lanes for at, node in enumerate(lane)}
    room = max((len(lane) for lane in lanes), default=1) * pitch
    for _ in range(4):
        for lane in lanes:
            _settle(lane, around, heights, room)
    return [
        Placed(node, lane * (NODE_WIDTH + GAP_X), heights[node.id], counts.get(node.id, 1))
        for lane, members in enumerate(lanes)
        for node in members
    ]


def _settle(lane: Sequence[Node], around: Mapping[str, Sequence[str]], heights: dict[str, int], room: int) -> None:
    """Move the nodes of a lane towards their neighbours, in their order and within the room that there is."""
    pitch = NODE_HEIGHT + GAP_Y
    above = 0
    for at, node in enumerate(lane):
        wish = int(_mean([heights[other] for other in around.get(node.id, ())], heights[node.id]))
        lowest = room - (len(lane) - at) * pitch
        heights[node.id] = max(above, min(wish, lowest))
        above = heights[node.id] + pitch
