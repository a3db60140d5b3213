"""How decisions look on several revisions, and where in history they became others.

Draws from the API's JSON and from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.words import ALLOWED, WARNED, counted, outcome_sign, short_revision
from aisecops_server.terminal.consoles import glyph, indented, speaks_unicode, style_of
from aisecops_server.terminal.decisions import FAINT, STRONG, signed
from aisecops_server.terminal.lists import plain_table
from aisecops_server.terminal.replays import change_lines

Json = Mapping[str, Any]

_SHOWN_ID = 16
_SHOWN_CHANGES = 6


def matrix_block(console: Console, matrix: Json) -> Group:
    """Return decisions against revisions, and what is wrong with revisions."""
    names = [_name(revision) for revision in matrix["revisions"]]
    table: Table = plain_table("decision", "on record", *names)
    for column in table.columns:
        column.no_wrap = True
    for row in matrix["rows"]:
        recorded = signed(console, outcome_sign(str(row["recorded"])), bold=False)
        table.add_row(_id(row), recorded, *(_cell(console, row, cell) for cell in row["cells"]))
    problems = [
        Text(f"{_name(revision)} cannot be built: {revision['problem']}", style=style_of(WARNED))
        for revision in matrix["revisions"]
        if revision["problem"]
    ]
    return Group(table, *problems)


def bisection_block(console: Console, found: Json) -> Group:
    """Return which commits made the decisions of a trace others."""
    parts: list[RenderableType] = []
    if not found["flips"]:
        parts.append(Text(f"Nothing flips from {_short(found['good'])} to {_short(found['bad'])}."))
    for flip in found["flips"]:
        parts += [*([Text("")] if parts else []), *_flip(console, flip, by=str(found["by"]))]
    parts.append(Text(""))
    parts += _how_sure(console, found)
    return Group(*parts)


def _flip(console: Console, flip: Json, *, by: str) -> Iterator[RenderableType]:
    commit = flip["commit"]
    yield Text.assemble((_short(commit["commit"]), STRONG), f"  {commit['summary']}", (f"  {commit['author']}", FAINT))
    if commit["link"]:
        yield Text(f"  {commit['link']}", style=FAINT)
    arrow = " → " if speaks_unicode(console) else " -> "
    for step in flip["decisions"]:
        before, after = (signed(console, outcome_sign(str(step[side])), bold=False) for side in ("before", "after"))
        reasons = Text(", for other reasons", style=FAINT) if by == "reasons" else Text("")
        yield Text.assemble(f"  {step['decisionId']}  ", before, arrow, after, reasons)
    for change in flip["changes"][:_SHOWN_CHANGES]:
        yield from (indented(line, (0, 0, 0, 2)) for line in change_lines(change))
    if not flip["exact"]:
        between = counted(int(flip["between"]), "commit")
        since = _short(flip["before"]["commit"])
        told = f"  or one of the {between} after {since}, which cannot be built or were not asked"
        yield Text(told, style=style_of(WARNED))


def _how_sure(console: Console, found: Json) -> Iterator[Text]:
    asked, commits = int(found["asked"]), int(found["commits"])
    told = f"{asked:,} of {counted(commits, 'commit')} asked, from {_short(found['good'])} to {_short(found['bad'])}"
    yield Text(told, style=FAINT)
    if not found["monotone"]:
        told = f"{glyph(console, WARNED)} history changed its mind more than once"
        yield Text(told, style=style_of(WARNED, bold=True))
    elif not found["complete"]:
        yield Text("it changed once as far as commits were asked; the others may say otherwise", style=FAINT)
    elif found["flips"]:
        yield Text(f"{glyph(console, ALLOWED)} it changed once, and every commit was asked", style=FAINT)
    for commit in found["skipped"]:
        yield Text(f"{_short(commit['commit'])} cannot be built: {commit['problem']}", style=style_of(WARNED))


def _cell(console: Console, row: Json, cell: Json) -> Text:
    kind = str(cell["verdictClass"]).removeprefix("VERDICT_CLASS_")
    if kind in ("ERROR", "INDETERMINATE"):
        return Text(kind.lower(), style=style_of(WARNED))
    mark = "" if str(cell["after"]) == str(row["recorded"]) else "  flips"
    mark = "  other reasons" if kind in ("REASON_ONLY", "OBLIGATION_CHANGE") else mark
    return Text.assemble(signed(console, outcome_sign(str(cell["after"])), bold=bool(mark)), (mark, FAINT))


def _name(revision: Json) -> str:
    return str(revision["name"]) if len(str(revision["name"])) <= _SHOWN_ID else _short(revision["revision"])


def _id(row: Json) -> str:
    return str(row["decisionId"])[-_SHOWN_ID:]


def _short(commit: object) -> str:
    return short_revision(str(commit))
