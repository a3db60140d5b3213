"""How requests for approval look: an inbox that says what is at stake, and one request with all that would run.

What is drawn of a request is read from its statement, which is what a vote is about. The agent's own words are marked
as such: they are a claim, and sometimes an attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.visible_text import json_text
from aisecops_server.domain.display.words import (
    Sign,
    approval_sign,
    bare,
    choice_sign,
    counted,
    short_revision,
    source_word,
    trust_word,
)
from aisecops_server.terminal.consoles import indented
from aisecops_server.terminal.decisions import FAINT, STRONG, finding_lines, signed, trust_style
from aisecops_server.terminal.lists import agent_word

Json = Mapping[str, Any]
When = Callable[[str], str]

_MINUTE = 60
_HOUR = 3600
_DAY = 86_400
# Less than this is a reason to look at the clock.
_SOON_SECONDS = 180
_SHORT_VALUE = 60


def inbox(console: Console, approvals: Sequence[Json], now: float) -> Group:
    """Return requests, three lines each: how long still, what it wants, why people are asked.

    Those that wait and are identical stand together, where the first of them does.
    """
    groups: dict[tuple[str, str], list[Json]] = {}
    for approval in approvals:
        groups.setdefault(group_of(approval), []).append(approval)
    return Group(*(part for group in groups.values() for part in _group(console, group, now)))


def one_line(console: Console, approval: Json, now: float) -> Group:
    """Return what a request is now, after somebody did something to it."""
    parts: list[RenderableType] = [Text("  ").join([_state(console, approval), *_times(approval, now)])]
    last = approval["votes"][-1] if approval["votes"] else None
    said = str(last["note"]) if last else str(approval.get("closedNote", ""))
    if said:
        parts.append(indented(Text(f"“{said}”", style=FAINT)))
    parts.append(indented(Text(str(approval["approvalId"]), style=FAINT)))
    return Group(*parts)


def approval_block(
    console: Console, approval: Json, statement: Json, *, now: float, when: When, past: Sequence[Json] = ()
) -> Group:
    """Return one request with exactly what would run, who said what, and who may still.

    ``past`` are answers to earlier requests for the same.
    """
    parts: list[RenderableType] = [
        Text("  ").join([_state(console, approval), *_times(approval, now)]),
        Text(str(approval["approvalId"]), style=FAINT),
        Text.assemble(("asked by ", FAINT), str(statement["agent_id"])),
    ]
    if statement["delegation"]:
        parts.append(Text.assemble(("on behalf of ", FAINT), " → ".join(map(str, statement["delegation"]))))
    if statement["intent"]:
        parts.append(Text.assemble(("it says it wants to ", FAINT), (f"“{statement['intent']}”", "italic")))
    if statement["steps"]:
        parts += [Text(""), Text("what would run, once", style=STRONG), *_steps(statement)]
    else:
        parts += [Text(""), Text("what would be used, once", style=STRONG), *_texts(statement)]
    parts += [Text(""), Text("why people are asked", style=STRONG), *_findings(console, statement)]
    if statement["sources"] and statement["steps"]:
        parts += [Text(""), Text("what it listened to", style=STRONG), _sources(statement)]
    if past:
        parts += [Text(""), Text("what was answered before", style=STRONG), *_past(console, past, when)]
    parts += [Text(""), Text("who agrees", style=STRONG), *_people(console, approval, when)]
    parts += [Text(""), *_proof(statement, approval)]
    return Group(*parts)


def answers(console: Console, answered: Sequence[Json], now: float) -> Group:
    """Return what became of each request that was answered, and why a vote on it does not count."""
    parts: list[RenderableType] = []
    for one in answered:
        parts.append(one_line(console, one["approval"], now))
        if one["message"]:
            parts.append(indented(Text(f"your vote does not count: {one['message']}", style=STRONG)))
    return Group(*parts)


def also(statements: Sequence[Json]) -> Group:
    """Return the requests that are identical to the one above: in each, only the agent's own words are others."""
    lines = (
        Text.assemble("  ", str(statement["approval_id"]), (f"  “{statement['intent']}”", "italic"))
        for statement in statements
    )
    return Group(Text(""), Text("identical to it, and answered with it", style=STRONG), *lines)


def effect(statement: Json, *, times: int = 1) -> str:
    """Return the question that names what a yes does to so many identical requests."""
    once = "once" if times == 1 else f"{times} times, once for each request"
    if not statement["steps"]:
        texts = ", ".join(_text(source) for source in statement["sources"])
        return f"Let {agent_word(str(statement['agent_id']))} use once: {texts}?"
    calls = [f"{step['tool']} with {_in_short(step['arguments'])}" for step in statement["steps"]]
    shown = "; ".join(calls[:3]) + (f"; and {counted(len(calls) - 3, 'more call')}" if len(calls) > 3 else "")  # noqa: PLR2004 - three read at a glance
    return f"Let {agent_word(str(statement['agent_id']))} run {once}: {shown}?"


def duration(seconds: float) -> str:
    """Return a span of time as people say it, by its two largest parts."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m {whole % _MINUTE:02d}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h {whole % _HOUR // _MINUTE:02d}m"
    return f"{whole // _DAY}d {whole % _DAY // _HOUR:02d}h"


def group_of(approval: Json) -> tuple[str, str]:
    """Return what requests have in common that stand together: agent and hash class, or nothing but themselves."""
    waits = bare(str(approval["state"])) == "REQUESTED"
    hash_class = str(approval.get("hashClass", "")) if waits else ""
    return (str(approval["agentId"]), hash_class) if hash_class else ("", str(approval["approvalId"]))


def _group(console: Console, group: Sequence[Json], now: float) -> Iterator[RenderableType]:
    first, *others = group
    yield from _item(console, first, now)
    if others:
        named = ", ".join(str(other["approvalId"]) for other in others)
        yield indented(Text.assemble((f"×{len(group)} identical", STRONG), (f"  {named}", FAINT)), (0, 0, 0, 2))
        told = f"one answer to all: aisecops approvals approve {first['approvalId']} --identical"
        yield indented(Text(told, style=FAINT), (0, 0, 0, 2))


def _item(console: Console, approval: Json, now: float) -> Iterator[RenderableType]:
    yield Text("  ").join([_state(console, approval), *_times(approval, now)])
    wants = Text.assemble(
        (agent_word(str(approval["agentId"])), STRONG),
        (" wants ", FAINT),
        ", ".join(map(str, approval["tools"])) or "to use a text",
    )
    yield indented(wants, (0, 0, 0, 2))
    yield indented(Text(str(approval["explanation"]), style=FAINT), (0, 0, 0, 2))
    yield indented(Text(str(approval["approvalId"]), style=FAINT), (0, 0, 0, 2))


def _state(console: Console, approval: Json) -> Text:
    sign = _sign(approval)
    agreed = sum(bare(str(vote["choice"])) == "APPROVE" for vote in approval["votes"])
    return Text.assemble(signed(console, sign), (f"  {agreed} of {approval['approversRequired']}", STRONG))


def _sign(approval: Json) -> Sign:
    return approval_sign(str(approval["state"]))


def _times(approval: Json, now: float) -> list[Text]:
    age = Text(f"asked {duration(now - _seconds(approval['requestedAt']))} ago", style=FAINT)
    if bare(str(approval["state"])) not in {"REQUESTED", "GRANTED"}:
        return [age]
    left = _seconds(approval["expiresAt"]) - now
    return [Text(f"expires in {duration(left)}", style=STRONG if left < _SOON_SECONDS else FAINT), age]


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(str(timestamp).removesuffix("Z")).replace(tzinfo=UTC).timestamp()


def _steps(statement: Json) -> Iterator[RenderableType]:
    waits = set(statement["steps_to_approve"])
    for number, step in enumerate(statement["steps"], start=1):
        after = f"  after {', '.join(step['depends_on'])}" if step["depends_on"] else ""
        mark = "" if step["id"] in waits else "  needs nobody by itself"
        yield Text.assemble(
            (f"  {number}  ", FAINT), (str(step["tool"]), STRONG), (f"  {step['id']}{after}{mark}", FAINT)
        )
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, style=FAINT)
        table.add_column(overflow="fold")
        for name, value in step["arguments"].items():
            table.add_row(Text(str(name)), Text(_value(value)))
        yield indented(table, (0, 0, 0, 5))


def _texts(statement: Json) -> Iterator[RenderableType]:
    for source in statement["sources"]:
        yield Text.assemble("  ", (_text(source), STRONG), (f"  SHA-256 {source['digest']}", FAINT))
        for finding in statement["findings"]:
            if finding["step"] == source["id"]:
                yield from (indented(_seen(fact["value"]), (0, 0, 0, 4)) for fact in finding["facts"])


def _seen(detection: Json) -> Text:
    """Return a place in a text. What is private has no excerpt."""
    said = json_text(detection["excerpt"]) if detection["excerpt"] else ""
    place = f"  {detection['detector']}, characters {detection['start']} to {detection['end']}"
    return Text.assemble(said, (place if said else place.lstrip(), FAINT))


def _text(source: Json) -> str:
    return f"the {source_word(str(source['kind']))} '{source['id']}'"


def _findings(console: Console, statement: Json) -> Iterator[RenderableType]:
    for finding in statement["findings"]:
        drawn = {**finding, "stepId": finding["step"]}
        for line in finding_lines(console, drawn, with_remedy=False):
            yield indented(line, (0, 0, 0, 2))


def _sources(statement: Json) -> Table:
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(overflow="fold")
    for source in statement["sources"]:
        trust = trust_word(str(source["trust"]))
        table.add_row(
            Text(f"  {source['id']}", style=FAINT),
            Text(f"{source_word(str(source['kind']))} · {trust}", style=trust_style(trust)),
            Text(str(source["name"] or source["origin_uri"])),
        )
    return table


def _past(console: Console, past: Sequence[Json], when: When) -> Iterator[RenderableType]:
    for answer in past:
        vote = answer["vote"]
        yield Text.assemble(
            "  ",
            signed(console, choice_sign(str(vote["choice"]))),
            f"  {vote['approver']}",
            (f"  {when(str(vote['votedAt']))}  {', '.join(answer['tools'])}  {answer['approvalId']}", FAINT),
        )
        if vote["note"]:
            yield indented(Text(f"“{vote['note']}”", style="italic"), (0, 0, 0, 4))


def _people(console: Console, approval: Json, when: When) -> Iterator[RenderableType]:
    for vote in approval["votes"]:
        own = bare(str(vote["signedBy"])) == "VOTER"
        proof = (
            "signed with their own key" if own else f"by {vote['authenticatedBy']}, vouched for by the control plane"
        )
        yield Text.assemble(
            "  ",
            signed(console, choice_sign(str(vote["choice"]))),
            f"  {vote['approver']}",
            (f"  {when(str(vote['votedAt']))}  {proof}", FAINT),
        )
        if vote["note"]:
            yield indented(Text(f"“{vote['note']}”", style="italic"), (0, 0, 0, 4))
    groups = ", ".join(map(str, approval["groups"]))
    may = f"somebody of {groups}" if groups else "anybody who may vote"
    needed = counted(int(approval["approversRequired"]), "person", "different people")
    yield Text(f"  {needed} must agree: {may}", style=FAINT)
    if approval["excluded"]:
        yield Text(f"  not those who answer for the agent: {', '.join(map(str, approval['excluded']))}", style=FAINT)
    if approval["closedBy"]:
        yield Text(f"  ended by {approval['closedBy']} {approval['closedNote']}".rstrip(), style=FAINT)


def _proof(statement: Json, approval: Json) -> Iterator[Text]:
    yield Text(
        f"policy {short_revision(str(statement['bundle_revision']))}  trace {statement['trace_id']}", style=FAINT
    )
    yield Text(f"a vote is about SHA-256 {approval['statementDigest']}", style=FAINT)


def _value(value: object) -> str:
    return json_text(value)


def _in_short(arguments: Json) -> str:
    parts = [f"{name} {_cut(_value(value))}" for name, value in arguments.items()]
    return ", ".join(parts) or "no arguments"


def _cut(text: str) -> str:
    return text if len(text) <= _SHORT_VALUE else f"{text[:_SHORT_VALUE]}… ({len(text):,} characters)"
