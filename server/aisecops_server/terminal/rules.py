"""Rules as people read them on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.visible_text import visible
from aisecops_server.domain.policy.rule_catalogue import RuleEntry, sentence_of
from aisecops_server.terminal.decisions import FAINT, STRONG
from aisecops_server.terminal.lists import plain_table
from aisecops_server.terminal.places import Place


def rule_block(entry: RuleEntry) -> Group:
    """Return everything about one rule."""
    parts: list[RenderableType] = [Text.assemble((visible(entry.rule), STRONG), f"  {visible(entry.title)}")]
    parts.append(Text(visible(entry.description)))
    parts.append(Text(""))
    table = Table.grid(padding=(0, 2))
    facts = {
        "effect": f"{entry.effect}, {entry.severity}",
        "owner": entry.owner,
        "remedy": entry.remedy,
        "for": ", ".join(entry.mappings),
    }
    if entry.fired is not None:
        facts["found"] = f"{entry.fired} times" + (f", last in trace {entry.example}" if entry.example else "")
    for name, value in facts.items():
        table.add_row(Text(name, style=FAINT), Text(visible(value)))
    parts += [table, Place(f"{entry.file}:{entry.line}", words="stands at ", style=FAINT), Text("")]
    parts += [Text(f"  {visible(sentence_of(test))}") for test in entry.tests]
    if entry.page:
        parts += [Text(""), Text(visible(entry.page.partition("\n")[2].strip()))]
    return Group(*parts)


def rule_table(entries: Sequence[RuleEntry]) -> Table:
    """Return a list of rules."""
    table = plain_table("rule", "effect", "severity", "owner", "tests", "found")
    for entry in entries:
        fired = "" if entry.fired is None else str(entry.fired)
        words = (entry.rule, entry.effect, entry.severity, entry.owner, str(len(entry.tests)), fired)
        table.add_row(*(Text(visible(word)) for word in words))
    return table
