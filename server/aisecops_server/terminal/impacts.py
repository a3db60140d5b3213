"""An impact as people read it on a terminal: the verdict last, because that is where they look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from aisecops_server.domain.display.words import ALLOWED, BLOCKED, outcome_sign
from aisecops_server.terminal.consoles import glyph, indented, style_of
from aisecops_server.terminal.decisions import FAINT, STRONG
from aisecops_server.terminal.lists import plain_table

Json = Mapping[str, Any]

_SHOWN_ROWS = 8
_SHOWN_GROUPS = 6
_SHOWN_PROBLEMS = 20


def impact_block(console: Console, impact: Json) -> Group:
    """Return everything about an impact."""
    parts: list[RenderableType] = [Text(f"{_side(impact['base'])} → {_side(impact['candidate'])}", style=STRONG)]
    fidelity = impact["fidelity"]
    parts.append(
        Text(
            f"{fidelity['reproduced']} of {fidelity['checked']} decisions came out again on their own policy",
            style=FAINT,
        )
    )
    for kind, head in (("rules", "rule"), ("agents", "agent"), ("tools", "tool")):
        parts += _table(impact[kind], head)
    for group in impact["groups"][:_SHOWN_GROUPS]:
        parts += _group(group)
    if cost := impact["cost"]:
        parts += [Text(""), Text(_cost(cost), style=FAINT)]
    parts += _problems(impact)
    parts += [Text(""), _last(console, impact)]
    return Group(*parts)


def _side(side: Json) -> str:
    return str(side["name"] or side["revision"][:12])


def _table(rows: list[Json], head: str) -> Iterator[RenderableType]:
    if not rows:
        return
    table = plain_table(head, "looser", "stricter")
    for row in sorted(rows, key=lambda each: (-each["looser"], -each["stricter"]))[:_SHOWN_ROWS]:
        table.add_row(Text(str(row[head])), str(row["looser"]), str(row["stricter"]))
    yield Text("")
    yield table


def _group(group: Json) -> Iterator[RenderableType]:
    rules = [f"{rule} is found now" for rule in group["fires_now"]]
    rules += [f"{rule} is no longer found" for rule in group["no_longer"]]
    moved = " → ".join(outcome_sign(word).word for word in (group["before"], group["after"]) if word)
    yield Text("")
    yield Text.assemble((f"{group['count']} × {moved}  ", STRONG), "; ".join(rules) or str(group["reason"]))
    for line in group["why"]:
        yield indented(Text(str(line)), (0, 0, 0, 2))
    if group["examples"]:
        first = group["examples"][0]
        yield indented(Text(f"for example {first['decision']} in trace {first['trace']}", style=FAINT), (0, 0, 0, 2))


def _cost(cost: Json) -> str:
    before, after = cost["base"], cost["candidate"]
    return (
        f"one evaluation: p50 {before['p50_ns'] / 1000:.0f} → {after['p50_ns'] / 1000:.0f} µs, "
        f"p99 {before['p99_ns'] / 1000:.0f} → {after['p99_ns'] / 1000:.0f} µs, "
        f"allocations {before['allocations']} → {after['allocations']}"
    )


def _problems(impact: Json) -> Iterator[RenderableType]:
    if impact["problems"]:
        yield Text("")
        yield Text("Before it is merged", style=STRONG)
    for problem in impact["problems"][:_SHOWN_PROBLEMS]:
        yield Text.assemble(f"  {problem['message']} ", (str(problem["code"]), FAINT))
        if problem["hint"]:
            yield Text(f"    {problem['hint']}", style=FAINT)


def _last(console: Console, impact: Json) -> Text:
    flips = f"{impact['flips']} of {impact['compared']} decisions flip"
    flips += f", {impact['looser']} looser, {impact['stricter']} stricter"
    if not impact["trustworthy"]:
        return Text(f"{glyph(console, BLOCKED)} cannot be trusted: {flips}", style=style_of(BLOCKED, bold=True))
    if not impact["passed"]:
        return Text(f"{glyph(console, BLOCKED)} not yet: {flips}", style=style_of(BLOCKED, bold=True))
    return Text(f"{glyph(console, ALLOWED)} may be merged: {flips}", style=style_of(ALLOWED, bold=True))
