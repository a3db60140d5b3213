"""How a screened text looks on a terminal: the decision, and each place that was seen, underlined.

What is private in the text is shown as what it is and never as it stands: terminals are recorded too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from aisecops_server.domain.display.visible_text import visible
from aisecops_server.domain.display.words import counted
from aisecops_server.terminal.consoles import indented
from aisecops_server.terminal.decisions import FAINT, STRONG, asked_by, findings_block, head

Json = Mapping[str, Any]

_AROUND = 24
_LONGEST = 60
_MOST_LINES = 24
_PRIVATE = ("secret.", "personal.")


def screening_block(console: Console, answer: Json, text: str) -> Group:
    """Return a decision about one text, with the places in it."""
    decision, seen = answer["decision"], answer["detections"]
    parts: list[RenderableType] = [head(console, decision, tools={}), indented(asked_by(decision))]
    if decision.get("findings"):
        parts.append(indented(findings_block(console, decision["findings"]), (1, 0, 0, 2)))
    if seen:
        parts.append(indented(Group(*places(seen, text)), (1, 0, 0, 2)))
    usable = next((str(part["text"]) for part in answer["parts"]), "")
    if usable and usable != text:
        parts.append(indented(Group(Text("the text to use", style=STRONG), Text(_shortened(usable))), (1, 0, 0, 2)))
    return Group(*parts)


def places(seen: Sequence[Json], text: str) -> Iterator[RenderableType]:
    """Yield each detection with what stands there, underlined."""
    private = [one for one in seen if str(one["detector"]).startswith(_PRIVATE)]
    for one in seen:
        start, end = int(one["start"]), int(one["end"])
        before = _shown(text, max(0, start - _AROUND), start, private)
        inside = _cropped(_shown(text, start, end, private))
        after = _shown(text, end, min(len(text), end + _AROUND), private)
        yield Text.assemble(str(one["detector"]), (f"  characters {start} to {end}{_how(one)}", FAINT))
        yield indented(Text.assemble((before, FAINT), inside, (after, FAINT)), (0, 0, 0, 2))
        yield indented(
            Text(" " * Text(before).cell_len + "^" * max(1, Text(inside).cell_len), style=FAINT), (0, 0, 0, 2)
        )


def _how(one: Json) -> str:
    said = [f"under {one['disguise']}"] if one.get("disguise") else []
    said += [word for word in ("quoted", "discussed") if one.get(word)]
    return f", {', '.join(said)}" if said else ""


def _shown(text: str, start: int, end: int, private: Sequence[Json]) -> str:
    """Return a stretch of the text on one line, with a stand-in for everything private in it."""
    parts: list[str] = []
    at = start
    for one in private:
        first, last = max(start, int(one["start"])), min(end, int(one["end"]))
        if at <= first < last:
            parts += [text[at:first], f"[{one['detector']}]"]
            at = last
        elif first < last:
            at = max(at, last)
    return visible("".join([*parts, text[at:end]])).replace("\n", "⏎").replace("\t", " ")


def _cropped(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _shortened(text: str) -> str:
    lines = visible(text).splitlines()
    if len(lines) <= _MOST_LINES:
        return "\n".join(lines)
    left = counted(len(lines) - _MOST_LINES, "more line")
    return "\n".join([*lines[:_MOST_LINES], f"… {left}; -o json has all of it"])
