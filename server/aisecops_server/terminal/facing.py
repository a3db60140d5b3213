"""How the policy of both sides of a flip looks on a terminal: one column, as people know it from a diff.

Before each line stand its numbers and whether it held, on the side that decided and on the candidate's. Draws from the
API's JSON and from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from aisecops_server.domain.display.words import ALLOWED, BLOCKED, counted
from aisecops_server.terminal.consoles import glyph, style_of
from aisecops_server.terminal.decisions import FAINT
from aisecops_server.terminal.places import Place

Json = Mapping[str, Any]

_SIGNS = {"HELD": ALLOWED, "FAILED": BLOCKED}
_NUMBER = 4
_TAB = "  "


def facing_lines(console: Console, sides: Json, *, elsewhere: bool) -> Iterator[RenderableType]:
    """Yield the lines on which a decision hangs; with ``elsewhere`` also those that changed beside them."""
    files = sides.get("files", [])
    for file in files:
        yield from _file(console, file, concerns=True)
    if files and sides["unmarkedBecause"]:
        yield Text(f"which lines held is not known: {sides['unmarkedBecause']}", style=FAINT)
    elif any(part["concerns"] for file in files for part in file["parts"]):
        held, failed = glyph(console, ALLOWED), glyph(console, BLOCKED)
        yield Text(f"{held} held, {failed} did not, before and after; the others were not reached", style=FAINT)
    if count := int(sides.get("elsewhere", 0)):
        yield Text(_elsewhere(count, str(sides["elsewhereWeight"])))
        for file in files if elsewhere else ():
            yield from _file(console, file, concerns=False)
        if not elsewhere:
            yield Text("--elsewhere shows them", style=FAINT)


def _file(console: Console, file: Json, *, concerns: bool) -> Iterator[RenderableType]:
    parts = [part for part in file["parts"] if part["concerns"] == concerns]
    if not parts:
        return
    names = dict.fromkeys(name for name in (file["beforeFile"], file["afterFile"]) if name)
    yield Place(" → ".join(names), words="", style=FAINT)
    for number, part in enumerate(parts):
        if number:
            yield Text("…", style=FAINT)
        for line in part["lines"]:
            yield from _line(console, line)


def _line(console: Console, line: Json) -> Iterator[Text]:
    before, after = line.get("before"), line.get("after")
    if before and not line["changed"]:
        yield _told(console, " ", before, after, text=str(before["text"]))
        return
    if before:
        yield _told(console, "-", before, None, text=str(before["text"]))
    if after:
        yield _told(console, "+", None, after, text=str(after["text"]))


def _told(console: Console, sign: str, before: Json | None, after: Json | None, *, text: str) -> Text:
    found = Text()
    for side in (before, after):
        number = str(side["number"] or "") if side else ""
        found.append(f"{number:>{_NUMBER}}", style=FAINT)
        mark = _SIGNS.get(str(side["mark"])) if side else None
        found.append(glyph(console, mark) if mark else " ", style=style_of(mark) if mark else "")
    style = {"-": style_of(BLOCKED), "+": style_of(ALLOWED)}.get(sign, "")
    found.append(f" {sign} {text.expandtabs(len(_TAB))}", style=style)
    return found


def _elsewhere(count: int, weight: str) -> str:
    lines = f"{counted(count, 'line')} changed elsewhere"
    match weight:
        case "DID_NOT_MATTER":
            return f"{lines} did not matter here: the decision is the same without"
        case "MATTERED":
            return f"{lines}, and the decision is not the same without"
        case _:
            return f"{lines}; whether that matters here could not be tried alone"
