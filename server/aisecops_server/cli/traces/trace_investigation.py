"""The commands of ``aisecops trace`` that read a trace as one story."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show

if TYPE_CHECKING:
    from aisecops.v1.investigation_service_pb2 import GetExecutionGraphResponse
    from rich.console import Console

    from aisecops_server.domain.traces.execution_graph import ExecutionGraph

_FORMATS = ("table", "dot", "mermaid")


@command(
    "graph",
    examples="""
    aisecops trace graph 0af7651916cd43dd8448eb211c80319c
    aisecops trace graph TRACE --format dot | dot -Tsvg > trace.svg
    aisecops trace graph TRACE --format mermaid
    """,
)
@click.argument("trace")
@click.option("--format", "drawn", type=click.Choice(_FORMATS), default="table", show_default=True, help="How.")
@click.option("--alone", is_flag=True, help="Leave out the traces that delegated to it.")
def graph(*, trace: str, drawn: str, alone: bool) -> ExitCode:
    """Show how sources became a plan, what decided it, and what came of it.

    TRACE is a trace id. Nodes come from the log alone; what a whole graph would have and this one cannot show is told.
    """
    from aisecops_client.investigation import execution_graph  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415
    from aisecops_server.domain.traces.graph_text import dot, mermaid  # noqa: PLC0415

    with connect() as client:
        found = execution_graph(client, trace, alone=alone)
    match drawn:
        case "dot":
            click.echo(dot(_graph(found)), nl=False)
        case "mermaid":
            click.echo(mermaid(_graph(found)), nl=False)
        case _:
            show(to_json(found), lambda target: _draw_graph(target, found))
    for gap in found.gaps:
        say(f"cannot be shown: {gap}")
    return ExitCode.OK


@command("diff", examples="aisecops trace diff 0af7651916cd43dd8448eb211c80319c")
@click.argument("trace")
def diff(*, trace: str) -> ExitCode:
    """Set what was planned, decided, granted and executed side by side.

    TRACE is a trace id. Disagreements are recomputed from the records. Exit code 9 when a record shows a violation.
    """
    from aisecops_client.investigation import governance_diff  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        found = to_json(governance_diff(client, trace))
    show(found, lambda target: _draw_diff(target, found))
    return ExitCode.UNVERIFIED if found["result"] == "violation" else ExitCode.OK


def _graph(found: GetExecutionGraphResponse) -> ExecutionGraph:
    from aisecops_server.domain.traces.execution_graph import Edge, EdgeKind, ExecutionGraph, Node, NodeKind  # noqa: PLC0415

    nodes = [
        Node(
            node.id,
            NodeKind(node.kind),
            label=node.label,
            trace_id=node.trace_id,
            event_id=node.event_id,
            facts=json.loads(node.facts_json),
        )
        for node in found.nodes
    ]
    edges = [
        Edge(edge.source_id, edge.target_id, EdgeKind(edge.kind), pointers=tuple(edge.pointers)) for edge in found.edges
    ]
    return ExecutionGraph(tuple(nodes), tuple(edges), tuple(found.gaps), decisions=found.decisions, whole=found.whole)


def _draw_graph(target: Console, found: GetExecutionGraphResponse) -> None:
    from rich.table import Table  # noqa: PLC0415

    from aisecops_server.domain.display.visible_text import visible  # noqa: PLC0415

    names = {node.id: f"{node.kind} {visible(node.label)}" for node in found.nodes}
    table = Table("cause", "led to", "as", "by", box=None)
    for edge in found.edges:
        table.add_row(
            names[edge.source_id], names[edge.target_id], edge.kind.replace("_", " "), ", ".join(edge.pointers)
        )
    target.print(table)
    target.print(f"{len(found.nodes)} nodes; {found.whole} of {found.decisions} decisions whole", soft_wrap=True)


def _draw_diff(target: Console, found: dict[str, Any]) -> None:
    from rich.table import Table  # noqa: PLC0415

    from aisecops_server.domain.display.visible_text import visible  # noqa: PLC0415

    steps = Table("step", "planned", "decided", "granted", "executed", box=None)
    for step in found["steps"]:
        granted = "yes" if step["granted"] else "no"
        steps.add_row(step["stepId"], visible(step["tool"]), step["outcome"], granted, step["executed"])
    target.print(steps)
    violations = Table("severity", "violation", "step", "expected", "found", box=None)
    for violation in found["violations"]:
        violations.add_row(
            violation["severity"],
            violation["kind"].replace("_", " "),
            violation["stepId"],
            visible(violation["expected"]),
            visible(violation["actual"]),
        )
    if found["violations"]:
        target.print(violations)
    target.print(f"result: {found['result']}")
