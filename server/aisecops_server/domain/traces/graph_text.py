"""An execution graph as text that other tools draw: Graphviz DOT and Mermaid.

Labels are foreign text: everything that could end a label or mean something to a renderer is replaced.
"""

from __future__ import annotations

from aisecops_server.domain.traces.execution_graph import ExecutionGraph, Node, NodeKind

_LABEL_CHARACTERS = 80
_SHAPES = {
    NodeKind.IDENTITY: "house",
    NodeKind.SOURCE: "note",
    NodeKind.PLAN: "folder",
    NodeKind.STEP: "box",
    NodeKind.CAPABILITY: "tab",
    NodeKind.RULE: "hexagon",
    NodeKind.BUDGET: "cylinder",
    NodeKind.APPROVAL: "octagon",
    NodeKind.GRANT: "component",
    NodeKind.EXECUTION: "cds",
    NodeKind.OUTCOME: "doublecircle",
}


def dot(graph: ExecutionGraph) -> str:
    """Return the graph for Graphviz."""
    names = _names(graph)
    lines = ["digraph execution {", "  rankdir=LR;", '  node [fontname="sans-serif"];']
    lines += [f'  {names[node.id]} [shape={_SHAPES[node.kind]}, label="{_label(node)}"];' for node in graph.nodes]
    lines += [f'  {names[edge.source]} -> {names[edge.target]} [label="{edge.kind}"];' for edge in graph.edges]
    return "\n".join([*lines, "}", ""])


def mermaid(graph: ExecutionGraph) -> str:
    """Return the graph for Mermaid."""
    names = _names(graph)
    lines = ["flowchart LR"]
    lines += [f'  {names[node.id]}["{_label(node)}"]' for node in graph.nodes]
    lines += [f"  {names[edge.source]} -- {edge.kind} --> {names[edge.target]}" for edge in graph.edges]
    return "\n".join([*lines, ""])


def _names(graph: ExecutionGraph) -> dict[str, str]:
    return {node.id: f"n{number}" for number, node in enumerate(graph.nodes)}


def _label(node: Node) -> str:
    plain = "".join(mark if mark.isalnum() or mark in " ./:@_-" else " " for mark in node.label)
    return f"{node.kind}: {' '.join(plain.split())[:_LABEL_CHARACTERS]}"
