"""Edges on a screen: at the centre all of them, at an edge how old its policy is and what waits for the centre."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.words import ALLOWED, BLOCKED
from aisecops_server.terminal.consoles import glyph, indented, style_of
from aisecops_server.terminal.decisions import FAINT

Json = Mapping[str, Any]
When = Callable[[str], str]


def edge_table(console: Console, edges: Sequence[Json], when: When) -> Table:
    """Return a list of edges, two lines each: the id to copy, then whose it is and how far it is reconciled."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    for edge in edges:
        sign = ALLOWED if edge["registered"] else BLOCKED
        size = int((edge.get("reconciled") or {}).get("size", 0))
        seen = f"last {when(str(edge['reconciledAt']))}" if edge.get("reconciledAt") else "nothing yet"
        owner = str(edge["owner"]) if edge["registered"] else "not registered"
        table.add_row(Text(glyph(console, sign), style=style_of(sign)), str(edge["edgeId"]))
        table.add_row("", Text.assemble(owner, (f"  {size:,} events recorded, {seen}", FAINT)))
    return table


def status_block(console: Console, status: Json, when: When) -> RenderableType:
    """Return everything about one edge."""
    policy = status["policy"]
    sign = ALLOWED if status["usable"] else BLOCKED
    title = Text.assemble((f"{glyph(console, sign)} ", style_of(sign)), _title(policy))
    lines = [*(_policy(policy, when) if policy else []), ("log", _log(status))]
    lines += [(f"{about}", str(said)) for about, said in status["problems"].items()]
    facts = Table.grid(padding=(0, 2))
    for name, value in lines:
        facts.add_row(Text(name, style=FAINT), value)
    return Group(title, indented(facts))


def _title(policy: Json | None) -> str:
    if policy is None:
        return "the centre has released no policy to this edge yet, so nothing is allowed"
    if not policy["clockSound"]:
        return "the clock of this machine went back, so nothing is allowed until the centre was reached"
    left = int(policy["lifetimeSeconds"]) - int(policy["ageSeconds"])
    if left < 0:
        return "the policy is too old, so nothing is allowed until the centre was reached"
    return f"it may decide for {left:,} more seconds without its centre"


def _policy(policy: Json, when: When) -> list[tuple[str, str]]:
    return [
        ("edge", str(policy["edgeId"])),
        ("policy", f"{policy['revision']} ({policy['summary']})"),
        ("confirmed", f"{when(str(policy['confirmedAt']))}, number {policy['counter']}"),
        ("age", f"{int(policy['ageSeconds']):,} of {int(policy['lifetimeSeconds']):,} seconds"),
    ]


def _log(status: Json) -> str:
    waiting = int(status["pending"])
    size = int(status["log"]["size"])
    return (
        f"{size:,} events, all recorded by the centre"
        if not waiting
        else f"{size:,} events, {waiting:,} wait for the centre"
    )
