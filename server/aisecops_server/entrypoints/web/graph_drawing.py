"""An execution graph as SVG: every node has its name and a link to its event, so it reads without a script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from markupsafe import Markup

from aisecops_server.domain.display.words import Sign, outcome_sign, source_word, trust_word
from aisecops_server.domain.traces.execution_graph import Node, NodeKind
from aisecops_server.domain.traces.graph_layout import GAP_X, LANES, NODE_HEIGHT, NODE_WIDTH, Layout, Placed
from aisecops_server.entrypoints.web.addresses import agent_word
from aisecops_server.entrypoints.web.markup import drawing, xml_text
from aisecops_server.entrypoints.web.rendering import tone

_HEAD = 24
_MARGIN = 4


def draw(found: Layout, *, only: frozenset[str] = frozenset(), zoom: int = 0) -> Markup:
    """Return the drawing; with ``only``, everything else is pale. ``zoom`` is its size in percent, 0 what fits."""
    height = found.height + _HEAD + 2 * _MARGIN
    width = found.width + 2 * _MARGIN
    numbers = {one.node.id: at for at, one in enumerate(found.placed)}
    places = {one.node.id: one for one in found.placed}
    wide, high = (width * zoom // 100, height * zoom // 100) if zoom else (width, height)
    size = f'viewBox="0 0 {width} {height}" width="{wide}" height="{high}"'
    look = "graph zoomed" if zoom else "graph"
    parts = [
        f'<svg class="{look}" xmlns="http://www.w3.org/2000/svg" {size} role="group" aria-label="Execution graph">'
    ]
    parts += _heads()
    for edge in found.edges:
        pale = only and not {edge.source, edge.target} <= only
        path, kind = _curve(places[edge.source], places[edge.target]), xml_text(edge.kind.replace("_", " "))
        parts.append(
            f'<path class="edge{" pale" if pale else ""}" data-from="{numbers[edge.source]}"'
            f' data-to="{numbers[edge.target]}" d="{path}"><title>{kind}</title></path>'
        )
    for one in found.placed:
        parts += _node(one, numbers[one.node.id], pale=bool(only) and one.node.id not in only)
    parts.append("</svg>")
    return drawing(parts)


def sign_of(node: Node) -> Sign | None:
    """Return the sign of a node that says what was decided, or ``None``."""
    if node.kind is NodeKind.OUTCOME:
        return outcome_sign(node.label)
    if node.kind is NodeKind.STEP and node.facts.get("outcome"):
        return outcome_sign(str(node.facts["outcome"]))
    return None


def name_of(node: Node) -> str:
    """Return how a node is called for people."""
    found = sign_of(node)
    if node.kind is NodeKind.OUTCOME and found:
        return found.word
    if node.kind is NodeKind.BUDGET and node.label.count("/") > 1:
        # What is counted first: a drawing has room for the beginning.
        of, metric, window = node.label.rsplit("/", 2)
        return f"{metric}/{window} {agent_word(of)}"
    return agent_word(node.label) if node.kind is NodeKind.IDENTITY else node.label


def kind_of(node: Node) -> str:
    """Return what a node is, and of a source how far it was trusted."""
    if node.kind is NodeKind.SOURCE:
        return f"{source_word(str(node.facts.get('source_kind', '')))} · {trust_word(str(node.facts.get('trust', '')))}"
    return node.kind.value


def _heads() -> Iterator[str]:
    for lane, (name, _) in enumerate(LANES):
        yield f'<text class="lane" x="{_MARGIN + lane * (NODE_WIDTH + GAP_X)}" y="14">{name}</text>'


def _node(one: Placed, number: int, *, pale: bool) -> Sequence[str]:
    node, found = one.node, sign_of(one.node)
    x, y = one.x + _MARGIN, one.y + _HEAD + _MARGIN
    trust = f" t-{trust_word(str(node.facts.get('trust', '')))}" if node.kind is NodeKind.SOURCE else ""
    style = f"node k-{node.kind.value}{trust}{' pale' if pale else ''}{f' {tone(found)}' if found else ''}"
    name = f"{found.glyph} {name_of(node)}" if found else name_of(node)
    many = f" ×{one.count}" if one.count > 1 else ""
    told = node.label if node.kind is NodeKind.BUDGET else name_of(node)
    whole = xml_text(f"{kind_of(node)}: {told}{many}")
    where = f"/traces/{quote(node.trace_id, safe='')}/events/{quote(node.event_id, safe='')}"
    return (
        f'<a class="{style}" href="{where}" data-node="{number}" aria-label="{whole}"><title>{whole}</title>',
        f'<rect x="{x}" y="{y}" width="{NODE_WIDTH}" height="{NODE_HEIGHT}" rx="4"/>',
        f'<svg x="{x + 6}" y="{y}" width="{NODE_WIDTH - 12}" height="{NODE_HEIGHT}">',
        f'<text class="name" y="15">{xml_text(name + many)}</text>',
        f'<text class="what" y="29">{xml_text(kind_of(node))}</text></svg></a>',
    )


def _curve(source: Placed, target: Placed) -> str:
    half = NODE_HEIGHT // 2 + _HEAD + _MARGIN
    forward = target.x > source.x
    x1 = source.x + _MARGIN + (NODE_WIDTH if forward else 0)
    x2 = target.x + _MARGIN + (0 if forward else NODE_WIDTH)
    y1, y2 = source.y + half, target.y + half
    if source.x == target.x:
        x1 = x2 = source.x + _MARGIN + NODE_WIDTH
        return f"M{x1} {y1}C{x1 + GAP_X} {y1} {x2 + GAP_X} {y2} {x2} {y2}"
    # What passes other lanes goes below their nodes, not through them.
    sag = NODE_HEIGHT if abs(x2 - x1) > NODE_WIDTH and abs(y2 - y1) < NODE_HEIGHT else 0
    bend = max(18, abs(x2 - x1) // 2) * (1 if forward else -1)
    return f"M{x1} {y1}C{x1 + bend} {y1 + sag} {x2 - bend} {y2 + sag} {x2} {y2}"


def closure(start: str, leads: Mapping[str, Sequence[str]]) -> set[str]:
    """Return what can be reached from ``start``, with itself."""
    reached, waiting = {start}, [start]
    while waiting:
        for other in leads.get(waiting.pop(), ()):
            if other not in reached:
                reached.add(other)
                waiting.append(other)
    return reached
