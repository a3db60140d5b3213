"""How a control plane goes just now, on one screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.words import (
    ALLOWED,
    BLOCKED,
    ERROR,
    OUTCOME_ORDER,
    WARNED,
    outcome_sign,
    short_revision,
)
from aisecops_server.terminal.budgets import budget_table
from aisecops_server.terminal.consoles import glyph, indented, style_of
from aisecops_server.terminal.decisions import FAINT, STRONG
from aisecops_server.terminal.lists import agent_word, plain_table

Json = Mapping[str, Any]
When = Callable[[str], str]

_SERVING = "SERVING"
_NO_METRICS = "not known: serve with metrics_address, or give --metrics"


def top_screen(console: Console, found: Json, now: int, when: When) -> RenderableType:
    """Return everything; ``now`` is in Unix seconds. What is ``None`` could not be read, and ``problems`` say why."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style=FAINT)
    facts.add_column()
    for name, value in _facts(console, found):
        facts.add_row(name, value)
    return Group(
        _title(console, found), indented(facts), *_blocks(console, found, now, when), *_problems(console, found)
    )


def away_line(console: Console, message: str) -> Text:
    """Return that nobody answers, and that it is asked again."""
    return Text(f"{glyph(console, ERROR)} {message}; asking again, the figures below are old", style=style_of(ERROR))


def _title(console: Console, found: Json) -> Text:
    serving = found["state"] == _SERVING
    sign = ALLOWED if serving else BLOCKED
    words = "decides" if serving else "decides nothing: 'aisecops bundle status' and 'aisecops doctor' say why"
    return Text.assemble(
        (f"{glyph(console, sign)} {words}", style_of(sign, bold=True)), (f"  {found['server']}", FAINT)
    )


def _facts(console: Console, found: Json) -> Iterator[tuple[str, RenderableType]]:
    decisions = found["decisions"]
    if decisions:
        yield "decisions", f"{decisions['perSecond']:,.1f} a second, over {decisions['seconds']:,.0f} s"
        yield "outcomes", _outcomes(console, decisions["outcomes"])
        half, most = decisions["engineP50Milliseconds"], decisions["engineP99Milliseconds"]
        yield "engine", f"p50 {half:,.1f} ms, p99 {most:,.1f} ms"
    queue = found["queue"]
    if queue:
        yield "queue", f"{queue['running']:,} running, {queue['waiting']:,} waiting, {queue['refused']:,} refused"
    else:
        yield "queue", Text(_NO_METRICS, style=FAINT)
    yield "log", _log(console, found["log"])
    if found["policy"]:
        yield "policy", _policy(console, found["policy"])


def _outcomes(console: Console, outcomes: Json) -> Text:
    parts = [
        Text(f"{glyph(console, sign)} {int(outcomes.get(name, 0)):,} {sign.word}", style=style_of(sign))
        for name in OUTCOME_ORDER
        for sign in (outcome_sign(name),)
    ]
    if refused := int(outcomes.get("REFUSED", 0)):
        parts.append(Text(f"{glyph(console, ERROR)} {refused:,} refused", style=style_of(ERROR)))
    return Text("  ").join(parts)


def _log(console: Console, log: Json) -> Text:
    if log["sealed"]:
        return Text(f"{glyph(console, BLOCKED)} sealed, at {log['events']:,} events", style=style_of(BLOCKED))
    return Text(f"{log['events']:,} events")


def _policy(console: Console, policy: Json) -> Text:
    live = policy.get("live") or {}
    shown = Text(short_revision(str(live.get("commit", ""))) or "none is live")
    if policy.get("problem"):
        shown.append(f"  {glyph(console, WARNED)} {policy['problem']}", style=style_of(WARNED))
    return shown


def _blocks(console: Console, found: Json, now: int, when: When) -> Iterator[RenderableType]:
    blocked = (found["decisions"] or {}).get("blocked")
    if blocked:
        table = plain_table("blocked or refused by", "times")
        for row in blocked:
            table.add_row(str(row["reason"]), f"{row['count']:,}")
        yield from ("", table)
    if found["budgets"]:
        yield from ("", Text("budgets near their limit", style=STRONG), budget_table(console, found["budgets"], now))
    approvals = found["approvals"]
    if approvals and approvals["open"]:
        table = plain_table(f"{_many(approvals, 'open')} {_verb(approvals)} for people", "agent", "tools", "expires")
        for row in approvals["next"]:
            tools = ", ".join(map(str, row["tools"]))
            table.add_row(str(row["approvalId"]), agent_word(str(row["agentId"])), tools, when(str(row["expiresAt"])))
        yield from ("", table)
    incidents = found["incidents"]
    if incidents and incidents["count"]:
        table = plain_table(_many_incidents(incidents), "severity", "agent", "when", "trace")
        for row in incidents["latest"]:
            told = (row["kind"], row["severity"], agent_word(str(row["agentId"])), when(str(row["occurredAt"])))
            table.add_row(*map(str, told), str(row["traceId"]))
        yield from ("", table)


def _many(page: Json, name: str) -> str:
    return f"{'more than ' if page['more'] else ''}{page[name]:,}"


def _verb(page: Json) -> str:
    return "waits" if page["open"] == 1 and not page["more"] else "wait"


def _many_incidents(page: Json) -> str:
    return f"{_many(page, 'count')} incident{'' if page['count'] == 1 and not page['more'] else 's'}"


def _problems(console: Console, found: Json) -> Iterator[RenderableType]:
    for problem in found["problems"]:
        yield Text(f"{glyph(console, WARNED)} {problem}", style=style_of(WARNED))
