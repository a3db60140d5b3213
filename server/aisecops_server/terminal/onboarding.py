"""How an onboarding looks: what was added to which table, what was guessed, and what is left to a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from aisecops_server.domain.display.words import counted
from aisecops_server.terminal.decisions import FAINT, STRONG
from aisecops_server.terminal.lists import plain_table

Json = Mapping[str, Any]


def onboarding_block(document: Json) -> Group:
    """Return what was, or would be, added and what a person must do."""
    added: Sequence[Json] = document["added"]
    entries = counted(len(added), "entry", "entries")
    parts: list[RenderableType] = [
        Text(f"{entries} {'added' if document['written'] else 'to add'}" if added else "nothing to add", style=STRONG)
    ]
    if added:
        table = plain_table("table", "entry", "says", "check")
        for entry in added:
            table.add_row(entry["table"], entry["key"], _says(entry), Text(_checks(entry), style=FAINT))
        parts.extend((Text(""), table, *_advice(added)))
    for title, key in (("change by hand", "byHand"), ("left out: no table may hold these names", "leftOut")):
        if document[key]:
            parts.extend((Text(""), Text(title, style=STRONG), *(Text(f"  {line}") for line in document[key])))
    return Group(*parts)


def _advice(added: Sequence[Json]) -> list[RenderableType]:
    guessed = sum("effect" in entry["remarks"] for entry in added)
    if not guessed:
        return []
    return [
        Text(""),
        Text(
            f"{counted(guessed, 'effect is', 'effects are')} guessed from names; what no name says is taken for the "
            "worst. Check them, or say better with --own-systems or --tools.",
            style=FAINT,
        ),
    ]


def _says(entry: Json) -> str:
    fields: Json = entry["fields"]
    match entry["table"]:
        case "tools":
            return " ".join(str(fields[name]) for name in ("effect", "reach") if name in fields) or "the worst"
        case "capabilities":
            return f"{fields['risk']} risk, {counted(len(fields['tools']), 'tool')}"
        case "agents":
            return ", ".join(fields["capabilities"]) or "nothing"
        case _:
            return ", ".join(fields["environments"])


def _checks(entry: Json) -> str:
    remarks: Mapping[str, str] = entry["remarks"]
    if "effect" in remarks:
        return remarks["effect"].removesuffix(": check").removesuffix(" in its name")
    return ", ".join(remarks)
