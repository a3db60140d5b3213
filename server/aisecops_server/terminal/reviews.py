"""How a review of a replay looks: each group with its clauses, what was said about it, and how far reviewers are.

Draws from the API's JSON and from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from aisecops_server.domain.display.visible_text import visible
from aisecops_server.domain.display.words import ALLOWED, BLOCKED, NOT_REACHED, Sign, counted
from aisecops_server.terminal.consoles import indented, style_of
from aisecops_server.terminal.decisions import FAINT, STRONG
from aisecops_server.terminal.replays import transition

Json = Mapping[str, Any]

_SHOWN_GROUPS = 40
_SIGNS: Mapping[str, Sign] = {"EXPECTED": ALLOWED, "UNEXPECTED": BLOCKED, "SEEN": NOT_REACHED}


def review_block(console: Console, groups: Json, review: Json) -> Group:
    """Return the groups of a replay, looser ones first, with what was said."""
    found = groups["groups"]
    lines: list[RenderableType] = [Text(""), Text("Groups to review, looser first", style=STRONG)]
    lines += [indented(Group(*_group(console, group, review)), (0, 0, 0, 2)) for group in found[:_SHOWN_GROUPS]]
    left = len(found) - _SHOWN_GROUPS + int(groups["leftOut"])
    if left > 0:
        lines.append(Text(f"  and {counted(left, 'more group')}", style=FAINT))
    for one in review["progress"]:
        told = f"  {visible(str(one['reviewer']))} has seen {one['seen']} of {one['groups']}"
        lines.append(Text(told, style=FAINT))
    return Group(*lines)


def verdict_line(verdict: Json) -> Text:
    """Return what one reviewer said, when, and where in the log it stands."""
    word = str(verdict["judgement"]).removeprefix("JUDGEMENT_")
    about = f" of {verdict['decisionId']}" if verdict["decisionId"] else ""
    reason = visible(str(verdict["reason"])).replace("\n", " ")
    return Text.assemble(
        (word.lower(), style_of(_SIGNS.get(word, NOT_REACHED))),
        f"{about} by {visible(str(verdict['judgedBy']))}",
        (f" at {verdict['judgedAt']}, event {verdict['logIndex']}", FAINT),
        f": {reason}" if reason else "",
    )


def _group(console: Console, group: Json, review: Json) -> Iterator[RenderableType]:
    count = counted(int(group["count"]), "decision")
    yield Text.assemble(f"{group['groupId']}  {count}  ", transition(console, group))
    for sign, name in (("+", "firesNow"), ("-", "noLonger")):
        for rule in group[name]:
            yield Text(f"  {sign} {visible(str(rule))}")
    for clause in group["clauses"]:
        yield Text(f"  {_clause(clause)}", style=FAINT)
    for verdict in review["verdicts"]:
        if verdict["groupId"] == group["groupId"]:
            yield Text.assemble("  ", verdict_line(verdict))


def _clause(clause: Json) -> str:
    side = clause["after"] if clause["after"]["file"] else clause["before"]
    place = f"{side['file']}:{side['line']}" if side["line"] else side["file"] or f"= {clause['after']['text']}"
    kind = str(clause["kind"]).lower().replace("_", " ")
    return visible(" ".join(filter(None, (kind, str(clause["subject"]), str(clause["clause"]), place))))
