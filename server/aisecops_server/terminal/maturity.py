"""How far adoption is, on a screen: each question with what was found, what it takes, and where to look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.words import PHASES, bare, counted, met_sign, phase_word
from aisecops_server.terminal.consoles import glyph, indented, style_of
from aisecops_server.terminal.decisions import FAINT

Json = Mapping[str, Any]


def maturity_block(console: Console, maturity: Json) -> RenderableType:
    """Return the phase of one agent, or of all together, with every question."""
    who = str(maturity["agentId"]) or "all agents together"
    title = Text.assemble((f"phase {phase_word(maturity['phase'])}", "bold"), f"  {who}")
    return Group(title, *(_phase(console, phase, maturity["criteria"]) for phase in PHASES[1:]))


def agent_phases(console: Console, agents: Sequence[Json]) -> RenderableType:
    """Return in which phase each agent is, with the first thing that holds it back."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for agent in agents:
        blocking = next((one for one in agent["criteria"] if not one["met"]), None)
        table.add_row(Text(phase_word(agent["phase"]), style="bold"), str(agent["agentId"]))
        if blocking:
            said = f"{blocking['question']} {_figures(blocking)}"
            table.add_row("", Text.assemble(_mark(console, blocking), (said, FAINT)))
    tally = Counter(bare(agent["phase"]) for agent in agents)
    line = ", ".join(f"{tally[phase]} {phase.lower()}" for phase in PHASES if tally[phase])
    title = Text.assemble((counted(len(agents), "agent"), "bold"), f"  {line}")
    return Group("", title, indented(table))


def _phase(console: Console, phase: str, criteria: Sequence[Json]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in criteria:
        if bare(one["phase"]) != phase:
            continue
        note = f"; {one['note']}" if one["note"] else ""
        table.add_row(_mark(console, one), Text.assemble(f"{one['question']} ", (f"{_figures(one)}{note}", FAINT)))
        for evidence in one["evidence"]:
            table.add_row("", Text(f"see {_place(evidence)}", style=FAINT))
        if one["remedy"]:
            table.add_row("", Text.assemble(("next ", "bold"), str(one["remedy"])))
    return Group(Text(f"{PHASES.index(phase)} {phase.lower()}", style="bold"), indented(table))


def _mark(console: Console, criterion: Json) -> Text:
    sign = met_sign(criterion)
    return Text(f"{glyph(console, sign)} ", style=style_of(sign))


def _figures(criterion: Json) -> str:
    if not criterion["applies"]:
        return "does not apply"
    unit = {"percent": "%", "days": " days"}.get(str(criterion["unit"]), "")
    value = criterion.get("value")
    found = "not known" if value is None else f"{int(value):,}{unit}"
    bound = "at most" if criterion["atMost"] else "at least"
    return f"{found}, takes {bound} {int(criterion['threshold']):,}{unit}"


def _place(evidence: Json) -> str:
    index = evidence.get("logIndex")
    return f"{evidence['kind']} {evidence['name']}" + ("" if index is None else f", event {int(index):,}")
