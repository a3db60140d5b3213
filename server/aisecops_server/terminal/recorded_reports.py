"""How a report on recorded traces looks: the sum first, then by rule, tool and agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.words import ALLOWED, BLOCKED, ERROR, ESCALATED, counted, short_revision
from aisecops_server.domain.recordings.recorded_report import ALLOWED as ALLOW
from aisecops_server.domain.recordings.recorded_report import BLOCKED as DENY
from aisecops_server.domain.recordings.recorded_report import ESCALATED as ESCALATE
from aisecops_server.domain.recordings.recorded_report import UNKNOWN
from aisecops_server.terminal.consoles import glyph, style_of
from aisecops_server.terminal.decisions import FAINT, STRONG
from aisecops_server.terminal.lists import agent_word

Json = Mapping[str, Any]

_SIGNS = {DENY: BLOCKED, ESCALATE: ESCALATED, ALLOW: ALLOWED, UNKNOWN: ERROR}
_WORDS = {UNKNOWN: "unknown"}


def recorded_report_block(console: Console, report: Json) -> Group:
    """Return the whole report."""
    outcomes, coverage = report["outcomes"], report["coverage"]
    head = (
        f"{outcomes[DENY]:,} of {counted(report['calls'], 'recorded call')} would have been blocked, "
        f"{outcomes[ESCALATE]:,} escalated, in {counted(report['tracesHit'], 'trace')} of {report['traces']:,}"
    )
    parts: list[RenderableType] = [
        Text(head, style=STRONG),
        Text(f"on policy {short_revision(str(report['revision']))}", style=FAINT),
        Text(
            f"for want of an entry in the tables {coverage['unknownToPolicy']:,}; without arguments on record "
            f"{coverage['withoutArguments']:,}, without a prompt {coverage['withoutPrompts']:,}",
            style=FAINT,
        ),
    ]
    for title in ("rules", "tools", "agents"):
        parts.extend((Text(""), _table(console, title.removesuffix("s"), report[title])))
    return Group(*parts)


def _table(console: Console, title: str, rows: Sequence[Json]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(title, overflow="fold")
    for outcome, sign in _SIGNS.items():
        word = _WORDS.get(outcome, sign.word)
        table.add_column(Text(f"{glyph(console, sign)} {word}", style=style_of(sign)), justify="right")
    for row in rows:
        name = agent_word(str(row["name"])) if title == "agent" else str(row["name"])
        table.add_row(Text(name), *(Text(f"{row[key]:,}", style="" if row[key] else "dim") for key in _SIGNS))
    return table
