"""The gate strip: for each step of a plan, the gates that it passed and the one that stopped it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.words import (
    ALLOWED,
    BLOCKED,
    ESCALATED,
    GATES,
    NOT_REACHED,
    WARNED,
    Sign,
    bare,
    effect_sign,
    gate_of,
    outcome_sign,
)
from aisecops_server.terminal.consoles import glyph, style_of

Json = Mapping[str, Any]

# From here on there is room for a word in every cell.
_WORDY_COLUMNS = 126
# Below, the tool stands under its step, or no name of a tool would be readable.
_ROOMY_COLUMNS = 100
_WEIGHT = {NOT_REACHED: 0, ALLOWED: 1, WARNED: 2, ESCALATED: 3, BLOCKED: 4}


def gate_signs(decision: Json, step: Json, reached: Collection[str]) -> dict[str, Sign]:
    """Return the sign of every gate for one step.

    ``reached`` names the stages that the log recorded for the decision; a gate without a record was not
    reached, and is never shown as passed.
    """
    step_id = step.get("stepId", "")
    signs = {gate: ALLOWED if stage in reached else NOT_REACHED for gate, stage in GATES.items()}
    for finding in decision.get("findings", []):
        if finding.get("stepId", "") in ("", step_id):
            gate = gate_of(str(finding.get("rule", "")))
            signs[gate] = max(signs[gate], effect_sign(str(finding.get("effect", ""))), key=lambda s: _WEIGHT.get(s, 5))
    outcome = outcome_sign(str(step.get("outcome", "")))
    if "approval" in reached:
        signs["approval"] = outcome if outcome in (ESCALATED, ALLOWED) else NOT_REACHED
    if "outcome" in reached:
        signs["outcome"] = outcome
    return signs


def gate_strip(console: Console, decision: Json, *, tools: Mapping[str, str], reached: Collection[str]) -> Table:
    """Return the strips of all steps of a decision, one row each."""
    wordy, roomy = console.width >= _WORDY_COLUMNS, console.width >= _ROOMY_COLUMNS
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim", collapse_padding=not roomy)
    table.add_column("step", overflow="fold")
    if roomy:
        table.add_column("tool", overflow="fold")
    for gate in GATES:
        table.add_column(gate, no_wrap=True, justify="left" if wordy or gate == "outcome" else "center")
    for step in decision.get("steps", []):
        signs = gate_signs(decision, step, reached)
        cells = [_cell(console, sign, wordy=wordy or gate == "outcome") for gate, sign in signs.items()]
        table.add_row(*_names(step, tools, apart=roomy), *cells)
    return table


def _names(step: Json, tools: Mapping[str, str], *, apart: bool) -> list[Text]:
    step_id = str(step.get("stepId", ""))
    name, tool = Text(step_id, style="dim"), Text(tools.get(step_id, ""))
    return [name, tool] if apart else [Text("\n").join((name, tool))]


def trace_strip(console: Console, trace: Json) -> Text:
    """Return the strip of a whole trace, one sign a gate: the worst that a step met there."""
    met = {bare(str(gate.get("stage", ""))).lower(): str(gate.get("effect", "")) for gate in trace.get("gates", [])}
    signs = (_met(met[stage]) if stage in met else NOT_REACHED for stage in GATES.values())
    return Text.assemble(*((glyph(console, sign), style_of(sign)) for sign in signs)) if met else Text()


def _met(effect: str) -> Sign:
    return ALLOWED if bare(effect) in ("", "UNSPECIFIED") else effect_sign(effect)


def legend(console: Console) -> Text:
    """Return what the glyphs mean, for strips that have no room for words."""
    signs = (ALLOWED, WARNED, ESCALATED, BLOCKED)
    parts = [Text(f"{glyph(console, sign)} {sign.word}", style=style_of(sign)) for sign in signs]
    return Text("  ").join([*parts, Text(f"{glyph(console, NOT_REACHED)} not reached", style=style_of(NOT_REACHED))])


def _cell(console: Console, sign: Sign, *, wordy: bool) -> Text:
    text = f"{glyph(console, sign)} {sign.word}" if wordy and sign is not NOT_REACHED else glyph(console, sign)
    return Text(text, style=style_of(sign))
