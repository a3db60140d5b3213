"""Budgets on a screen: how much there is, how much is left, and when there is more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.words import ALLOWED, BLOCKED, WARNED, Sign
from aisecops_server.terminal.consoles import glyph, indented, style_of
from aisecops_server.terminal.decisions import FAINT
from aisecops_server.terminal.lists import agent_word, plain_table

Json = Mapping[str, Any]
When = Callable[[str], str]

# From here on somebody should look.
_NEARLY = 80
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def budget_table(console: Console, budgets: Sequence[Json], now: int) -> Table:
    """Return a list of budgets, two lines each: whose it is and how it stands, then its name to copy."""
    table = plain_table("", "whose", "what", "limit", "used", "reserved", "left", "resets in")
    for column in table.columns[3:7]:
        column.justify = "right"
    for budget in budgets:
        sign = _sign(budget)
        table.add_row(
            Text(glyph(console, sign), style=style_of(sign)),
            f"{budget['subject']} {agent_word(str(budget['subjectId']))}",
            f"{budget['metric']}/{budget['window']}",
            *(amount(int(budget[field])) for field in ("limit", "used", "reserved")),
            Text(_left(budget), style=style_of(sign)),
            resets_in(budget, now),
        )
    return table


def budget_block(console: Console, budget: Json, now: int, when: When) -> RenderableType:
    """Return everything about one budget."""
    sign = _sign(budget)
    lines = [
        ("limit", amount(int(budget["limit"]))),
        ("used", _with(amount(int(budget["used"])), "of it overrun", int(budget["overrun"]))),
        ("reserved", amount(int(budget["reserved"]))),
        ("left", _left(budget)),
        ("resets", f"in {resets_in(budget, now)}" if budget.get("resetsAt") else "never: it lasts with its session"),
    ]
    if budget.get("exhaustedAt"):
        lines.append(("at this pace", f"used up {when(str(budget['exhaustedAt']))}"))
    facts = Table.grid(padding=(0, 2))
    for name, value in lines:
        facts.add_row(Text(name, style=FAINT), value)
    title = Text.assemble((f"{glyph(console, sign)} ", style_of(sign)), str(budget["name"]))
    return Group(title, indented(facts))


def history_block(console: Console, history: Json, when: When) -> RenderableType:
    """Return the periods of a budget and the remarks on it."""
    periods = plain_table("period from", "used", "reserved", "overrun")
    for column in periods.columns[1:]:
        column.justify = "right"
    for period in history["periods"]:
        began = str(period.get("startedAt", ""))
        figures = [amount(int(period[field])) for field in ("used", "reserved", "overrun")]
        periods.add_row(when(began) if began else "the session", *figures)
    remarks = [_remark(console, remark, when) for remark in history["remarks"]]
    return Group(Text(str(history["budget"]["name"])), indented(periods), *remarks)


def amount(number: int) -> str:
    """Return a figure that can be read at a glance."""
    return f"{number:,}"


def resets_in(budget: Json, now: int) -> str:
    """Return how long it is until a budget's next period, in its two largest units."""
    at = str(budget.get("resetsAt", ""))
    if not at:
        return "never"
    left = max(0, int(datetime.fromisoformat(at).timestamp()) - now)
    parts: list[str] = []
    for seconds, unit in _UNITS:
        count, left = divmod(left, seconds)
        if count or parts or unit == "s":
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def _remark(console: Console, remark: Json, when: When) -> Text:
    at = Text(f"{when(str(remark['occurredAt']))}  ", style=FAINT)
    if remark["type"] == "budget.overrun":
        came_to = f"{amount(int(remark['actual']))} where {amount(int(remark['reserved']))} was reserved"
        of = f"  {remark['decisionId']} step {remark['stepId']}"
        return at.append(f"{glyph(console, WARNED)} overrun: {came_to}", style=style_of(WARNED)).append(of, style=FAINT)
    what = {"FREEZE_ON": "froze it", "FREEZE_OFF": "let it go on"}.get(str(remark["freeze"]), "")
    by = int(remark["by"])
    told = " and ".join(filter(None, (f"adjusted it by {by:+,}" if by else "", what)))
    return at.append(f"{remark['principal']} {told}: {remark['reason']}")


def _left(budget: Json) -> str:
    return "frozen" if budget["frozen"] else amount(int(budget["remaining"]))


def _sign(budget: Json) -> Sign:
    if budget["frozen"] or int(budget["remaining"]) == 0:
        return BLOCKED
    spent = int(budget["used"]) + int(budget["reserved"])
    return WARNED if spent * 100 >= int(budget["limit"]) * _NEARLY else ALLOWED


def _with(text: str, what: str, number: int) -> str:
    return f"{text}, {what} {amount(number)}" if number else text
