"""Agents on a screen: who answers for them, and what became of what they asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.words import ALLOWED, BLOCKED, Sign
from aisecops_server.terminal.consoles import glyph, indented, style_of
from aisecops_server.terminal.decisions import FAINT

Json = Mapping[str, Any]
When = Callable[[str], str]

_COUNTS = (("allowed", "allowed"), ("denied", "blocked"), ("held", "escalated"), ("tried", "dry-run"))


def agent_table(console: Console, agents: Sequence[Json], when: When) -> Table:
    """Return a list of agents, two lines each: the id to copy, then whose it is and what became of what it asked."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    for agent in agents:
        sign = _sign(agent)
        activity = agent.get("activity") or {}
        seen = f"last seen {when(str(activity['lastSeenAt']))}" if activity else "never seen"
        owner = Text(str(agent["owner"])) if agent["registered"] else Text("not registered", style=style_of(sign))
        asked = Text(f"{_counts(activity)}, {seen}" if activity else seen, style=FAINT)
        table.add_row(Text(glyph(console, sign), style=style_of(sign)), str(agent["agentId"]))
        table.add_row("", Text.assemble(owner, "  ", asked))
    return table


def agent_block(console: Console, agent: Json, when: When) -> RenderableType:
    """Return everything about one agent."""
    sign = _sign(agent)
    title = Text.assemble((f"{glyph(console, sign)} ", style_of(sign)), str(agent["agentId"]))
    lines = [*(_entry(agent) if agent["registered"] else [_UNKNOWN]), *_activity(agent.get("activity") or {}, when)]
    facts = Table.grid(padding=(0, 2))
    for name, value in lines:
        facts.add_row(Text(name, style=FAINT), value)
    return Group(title, indented(facts))


_UNKNOWN = (
    "not registered",
    "everything that it asks is denied; register it in data/agents.yaml, or find out what it is",
)


def _entry(agent: Json) -> list[tuple[str, str]]:
    limits = [
        f"{limit['subject']} {limit['metric']}/{limit['window']} {int(limit['limit']):,}" for limit in agent["limits"]
    ]
    return [
        ("owner", f"{agent['owner']}, {agent['contact']}"),
        ("runs on", str(agent["framework"])),
        ("tenant", str(agent["tenant"])),
        ("mode", str(agent["mode"])),
        ("acts in", ", ".join(agent["environments"])),
        ("holds", "\n".join(f"{held['capability']}, granted by {held['grantedBy']}" for held in agent["capabilities"])),
        ("budget", "\n".join([str(agent["budget"]), *limits])),
        ("chain", f"{agent['maxDelegationDepth']} agents may stand above it"),
    ]


def _activity(activity: Json, when: When) -> list[tuple[str, str]]:
    if not activity:
        return [("seen", "never")]
    return [
        ("asked", _counts(activity)),
        ("seen", f"{when(str(activity['firstSeenAt']))} to {when(str(activity['lastSeenAt']))}"),
    ]


def _counts(activity: Json) -> str:
    return ", ".join(f"{int(activity.get(name, 0)):,} {word}" for name, word in _COUNTS)


def _sign(agent: Json) -> Sign:
    return ALLOWED if agent["registered"] else BLOCKED
