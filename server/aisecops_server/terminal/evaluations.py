"""How an evaluation of recorded traces looks: outcomes by agent, by tool and by rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.words import ALLOWED, BLOCKED, ERROR, ESCALATED, counted, short_revision
from aisecops_server.terminal.consoles import glyph, indented, style_of
from aisecops_server.terminal.decisions import FAINT, STRONG
from aisecops_server.terminal.lists import agent_word

Json = Mapping[str, Any]

_COLUMNS = {"ALLOW": ALLOWED, "REQUIRE_APPROVAL": ESCALATED, "DENY": BLOCKED, "": ERROR}

_NAMED = 6


def evaluation_block(console: Console, evaluated: Json) -> Group:
    """Return the whole result of an evaluation."""
    tallies: Sequence[Json] = evaluated.get("tallies", [])
    calls = sum(int(tally["calls"]) for tally in tallies)
    parts: list[RenderableType] = [
        *_unknown(console, evaluated.get("unknown", {}), calls),
        Text(f"{counted(calls, 'recorded call')} on policy {short_revision(str(evaluated['revision']))}", style=STRONG),
        Text(f"{evaluated['decided']:,} decided now, {evaluated['skipped']:,} decided before", style=FAINT),
    ]
    for title, keys in (("agent", _agent), ("tool", _tool), ("rule", _rules)):
        parts.extend((Text(""), _table(console, title, tallies, keys)))
    return Group(*parts)


def _unknown(console: Console, unknown: Json, calls: int) -> list[RenderableType]:
    """Return what comes before all numbers: that policy does not know who or what it was asked about."""
    if not unknown.get("calls"):
        return []
    agents, tools = list(map(str, unknown["agents"])), list(map(str, unknown["tools"]))
    who = [counted(len(names), noun) for names, noun in ((agents, "unknown agent"), (tools, "unknown tool")) if names]
    share = f"{int(unknown['calls']):,} of {counted(calls, 'call')} blocked for want of an entry: {' and '.join(who)}"
    named = ", ".join([*agents, *tools][:_NAMED])
    more = len(agents) + len(tools) - _NAMED
    return [
        Text(f"{glyph(console, BLOCKED)} {share}", style=style_of(BLOCKED, bold=True)),
        indented(Text(f"{named}{f' and {more:,} more' if more > 0 else ''}")),
        Text("  That says nothing about what was done. Add them to the policy's tables, then evaluate again:"),
        Text("    aisecops dev onboard TRACE_FILE... --policy DIR", style=STRONG),
        Text(""),
    ]


def _table(console: Console, title: str, tallies: Sequence[Json], keys: Callable[[Json], Sequence[str]]) -> Table:
    counts: Counter[tuple[str, str]] = Counter()
    for tally in tallies:
        counts.update({(key, str(tally["outcome"])): int(tally["calls"]) for key in keys(tally)})
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(title, overflow="fold")
    for sign in _COLUMNS.values():
        table.add_column(Text(f"{glyph(console, sign)} {sign.word}", style=style_of(sign)), justify="right")
    for name in sorted({key for key, _ in counts}):
        numbers = [counts[name, outcome] for outcome in _COLUMNS]
        table.add_row(name, *(Text(f"{number:,}", style="" if number else "dim") for number in numbers))
    return table


def _agent(tally: Json) -> Sequence[str]:
    return (agent_word(str(tally["agentId"])),)


def _tool(tally: Json) -> Sequence[str]:
    return (str(tally["tool"]),)


def _rules(tally: Json) -> Sequence[str]:
    return tuple(map(str, tally["rules"])) or ("no rule objected",)
