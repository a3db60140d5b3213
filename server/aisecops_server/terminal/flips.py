"""How the reasons of a changed decision look: which difference did it, what the rules read, what would be otherwise.

Draws from the API's JSON and from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from aisecops_server.domain.display.words import ALLOWED, BLOCKED, NOT_REACHED, counted, outcome_sign, short_revision
from aisecops_server.terminal.consoles import glyph, indented, style_of
from aisecops_server.terminal.decisions import FAINT, STRONG, signed
from aisecops_server.terminal.facing import facing_lines
from aisecops_server.terminal.lists import agent_word
from aisecops_server.terminal.places import Place
from aisecops_server.terminal.replays import change_lines, transition

Json = Mapping[str, Any]

_SHOWN_FACTS = 8
_SHOWN_CAUSES = 6
_SHOWN_CHARACTERS = 70
_WEIGHTS = {
    "DECISIVE": "decisive: taken back alone, the decision stays",
    "NOT_DECISIVE": "not decisive: taken back alone, it changes all the same",
    "NOT_TESTED": "not tested alone",
}


def change_block(console: Console, explained: Json, *, elsewhere: bool = False) -> Group:
    """Return why the decisions of an answer are made differently; with ``elsewhere`` also what changed beside that."""
    parts: list[RenderableType] = []
    for change in explained["changes"]:
        parts += [*([Text("")] if parts else []), *_change(console, change, elsewhere=elsewhere)]
    if not parts:
        return Group(Text("It stays as it was: the same outcome for the same reasons."))
    more = [(explained["same"], "stays the same"), (explained["leftOut"], "more that changes is not shown")]
    parts += [Text(f"{counted(int(count), 'decision')} {told}", style=FAINT) for count, told in more if int(count)]
    return Group(*parts)


def _change(console: Console, change: Json, *, elsewhere: bool) -> Iterator[RenderableType]:
    result = change["result"]
    yield Text.assemble((str(result["decisionId"]), STRONG), "  ", transition(console, result))
    yield Text(f"{agent_word(str(result['agentId']))}  {', '.join(result['tools'])}", style=FAINT)
    if result["reason"]:
        yield Text(str(result["reason"]))
    if not change["reproduced"]:
        sign = BLOCKED
        told = f"{glyph(console, sign)} not trustworthy: {change['notReproducedBecause']}"
        yield Text(told, style=style_of(sign, bold=True))
    sections = (
        ("Rules", list(_rules(change))),
        ("What changed in the policy", list(_causes(console, change))),
        ("Both policies", list(facing_lines(console, change.get("sides") or {}, elsewhere=elsewhere))),
        ("What the rules read", list(_facts(console, change))),
        ("What would decide otherwise", list(_smallest(console, change))),
    )
    for title, lines in sections:
        if lines:
            yield Text("")
            yield Text(title, style=STRONG)
            yield indented(Group(*lines), (0, 0, 0, 2))


def _rules(change: Json) -> Iterator[RenderableType]:
    for rule in change.get("rules", []):
        step = f" at {rule['stepId']}" if rule["stepId"] else ""
        word = "fires now" if rule["firesNow"] else "no longer fires"
        yield Text.assemble(f"{rule['rule']}{step} ", (word, STRONG))
        if rule["message"]:
            yield Text(f"  {rule['message']}")
        before, after = rule.get("before") or {}, rule.get("after") or {}
        sides = ((before, change["beforeRevision"], "was"), (after, change["afterRevision"], "is"))
        for place, revision, verb in sides:
            if place.get("file"):
                at = f"  {verb} in {short_revision(str(revision))} at "
                yield Place(f"{place['file']}:{place['line']}", words=at, style=FAINT)
                if place["link"]:
                    yield Text(f"    {place['link']}", style=FAINT)


def _causes(console: Console, change: Json) -> Iterator[RenderableType]:
    causes = change.get("causes", [])
    for cause in causes[:_SHOWN_CAUSES]:
        yield from change_lines(cause["change"])
        sign = ALLOWED if cause["weight"] == "DECISIVE" else NOT_REACHED
        yield Text(f"  {glyph(console, sign)} {_WEIGHTS.get(str(cause['weight']), '')}", style=style_of(sign))
        for link in dict.fromkeys((cause["beforeLink"], cause["afterLink"])):
            if link:
                yield Text(f"  {link}", style=FAINT)
    left = len(causes) - len(causes[:_SHOWN_CAUSES]) + int(change.get("causesLeftOut", 0))
    if left:
        yield Text(f"and {counted(left, 'more change')} that does not concern it", style=FAINT)


def _facts(console: Console, change: Json) -> Iterator[RenderableType]:
    facts = change.get("facts", [])
    for fact in facts[:_SHOWN_FACTS]:
        sign = ALLOWED if fact["decisive"] else NOT_REACHED
        value = _short(str(fact["valueJson"]))
        yield Text.assemble((f"{glyph(console, sign)} ", style_of(sign)), f"{fact['pointer']} = {value}")
    if any(fact["decisive"] for fact in facts[:_SHOWN_FACTS]):
        yield Text(f"{glyph(console, ALLOWED)}: another value there keeps the rule from firing", style=FAINT)


def _smallest(console: Console, change: Json) -> Iterator[RenderableType]:
    smallest = change.get("smallest")
    if not smallest:
        return
    tries = counted(int(smallest["tries"]), "try", "tries")
    if not smallest["found"]:
        ended = f", ended by {smallest['endedBy']}" if smallest["endedBy"] else ""
        yield Text(f"none found within {tries}{ended}")
        return
    yield Text.assemble(f"{smallest['words']}: ", signed(console, outcome_sign(str(smallest["outcome"])), bold=False))
    for part in smallest["parts"]:
        for edit in part["edits"][:2]:
            before, after = (_short(str(edit[name])) or "nothing" for name in ("beforeJson", "afterJson"))
            yield Text(f"  {edit['pointer']}: {before} → {after}", style=FAINT)
    for other in smallest["others"]:
        yield Text(f"or: {other}", style=FAINT)
    yield Text(f"found and verified by {tries}: without any part of it, the decision stays", style=FAINT)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
