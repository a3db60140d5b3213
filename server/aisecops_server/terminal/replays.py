"""How a replay looks: whether it can be trusted first, then what lets most through, then what changed in the policy.

Draws from the API's JSON and from nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.words import (
    ALLOWED,
    BLOCKED,
    ERROR,
    NOT_REACHED,
    WARNED,
    Sign,
    counted,
    outcome_sign,
    short_revision,
)
from aisecops_server.terminal.consoles import glyph, indented, speaks_unicode, style_of
from aisecops_server.terminal.decisions import FAINT, STRONG, signed
from aisecops_server.terminal.lists import agent_word, plain_table
from aisecops_server.terminal.places import Place

Json = Mapping[str, Any]
When = Callable[[str], str]

_SHOWN_GROUPS = 12
_SHOWN_CHANGES = 12
_SHOWN_TEXT = 60
_CLASS_WORDS = {
    "VERDICT_CLASS_SAME": "the same",
    "VERDICT_CLASS_OUTCOME_FLIP": "with another outcome",
    "VERDICT_CLASS_REASON_ONLY": "with other reasons",
    "VERDICT_CLASS_OBLIGATION_CHANGE": "with other obligations",
    "VERDICT_CLASS_ERROR": "without a decision",
    "VERDICT_CLASS_INDETERMINATE": "that nobody can know",
}


def early_line(report: Json) -> str:
    """Return what a sample says, in one line."""
    trusted = "" if report["fidelity"]["trustworthy"] else "; NOT TRUSTWORTHY"
    compared = int(report["compared"])
    return (
        f"early answer from {counted(compared, 'decision')}: "
        f"about {int(report['looser']):,} looser, {int(report['stricter']):,} stricter{trusted}"
    )


def replay_table(console: Console, replays: Sequence[Json], when: When) -> Table:
    """Return a list of replays, two lines each: when and on what, then what came of it."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for replay in replays:
        table.add_row(
            Text(str(replay["replayId"])),
            Text.assemble(when(str(replay["startedAt"])), ("  on ", FAINT), candidate_words(replay)),
        )
        table.add_row(Text(_state(replay), style=FAINT), _came_of_it(console, replay))
    return table


def replay_block(console: Console, replay: Json, results: Sequence[Json], *, left_out: int) -> Group:
    """Return everything about one replay, with some of its changed decisions."""
    report = replay.get("report")
    parts: list[RenderableType] = [_title(replay)]
    if not report:
        parts.append(Text(f"{_state(replay)}: {replay.get('problem') or 'it has no report yet'}"))
        return Group(*parts)
    sections: list[tuple[str, RenderableType | None]] = [
        ("Can it be trusted", fidelity_block(console, report["fidelity"])),
        ("What became of the decisions", class_table(report)),
        ("What changed for the same reason", group_table(console, report) if report["groups"] else None),
        ("What changed in the policy", Group(*_changes(report)) if report["policies"] else None),
        ("Decisions that changed", result_table(console, results, left_out=left_out) if results else None),
    ]
    for title, body in sections:
        if body is not None:
            parts.extend((Text(""), Text(title, style=STRONG), indented(body, (0, 0, 0, 2))))
    return Group(*parts)


def candidate_words(replay: Json) -> str:
    """Return what a replay decides anew with, in words."""
    side = replay["candidate"]
    named = str(side["name"])
    revision = str(side["revision"])
    words = [f"{named} ({short_revision(revision)})" if revision and not revision.startswith(named) else named]
    words += [f"with {change}" for change in side["changes"]]
    return f"{' '.join(words)} on OPA {side['engine']}"


def fidelity_block(console: Console, fidelity: Json) -> Group:
    """Return whether recorded decisions came out again, and what did not."""
    checked, reproduced = int(fidelity["checked"]), int(fidelity["reproduced"])
    sign = ALLOWED if fidelity["trustworthy"] else BLOCKED
    word = "trustworthy" if fidelity["trustworthy"] else "not trustworthy"
    told = f"{reproduced:,} of {counted(checked, 'decision')} came out again on their own policy and engine"
    lines = [Text.assemble((f"{glyph(console, sign)} {word}", style_of(sign, bold=True)), f": {told}")]
    for problem in fidelity.get("problems", []):
        lines.append(Text(f"{int(problem['count']):,}: {problem['message']}"))
        example = f"such as {problem['example']}" + (f": {problem['detail']}" if problem["detail"] else "")
        lines.append(Text(f"   {example}", style=FAINT))
    return Group(*lines)


def class_table(report: Json) -> Group:
    """Return how many decisions there are of each kind; the dangerous ones first."""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for count, words, sign in _counts(report):
        table.add_row(f"{count:,}", Text(words, style=style_of(sign)))
    about = " (an estimate from a sample)" if report["sampled"] else ""
    return Group(table, Text(f"{counted(int(report['selected']), 'decision')}{about}", style=FAINT))


def group_table(console: Console, report: Json) -> Group:
    """Return what happened to many decisions for the same rules."""
    table = plain_table("count", "outcome", "why")
    table.columns[0].justify, table.columns[0].no_wrap, table.columns[1].no_wrap = "right", True, True
    groups = report["groups"]
    for group in groups[:_SHOWN_GROUPS]:
        table.add_row(f"{int(group['count']):,}", transition(console, group), _why(group))
    left = len(groups) - _SHOWN_GROUPS + int(report["groupsLeftOut"])
    return Group(table, Text(f"and {counted(left, 'more group')}", style=FAINT)) if left > 0 else Group(table)


def transition(console: Console, change: Json) -> Text:
    """Return what an outcome was and would be, or its class where it stays."""
    kind = str(change["verdictClass"])
    if kind != "VERDICT_CLASS_OUTCOME_FLIP":
        sign = ERROR if kind in ("VERDICT_CLASS_ERROR", "VERDICT_CLASS_INDETERMINATE") else NOT_REACHED
        return Text(kind.removeprefix("VERDICT_CLASS_").replace("_", " ").lower(), style=style_of(sign))
    arrow = " → " if speaks_unicode(console) else " -> "
    before, after = (signed(console, outcome_sign(str(change[side])), bold=False) for side in ("before", "after"))
    return Text.assemble(before, arrow, after)


def result_table(console: Console, results: Sequence[Json], *, left_out: int) -> Group:
    """Return decisions that changed, each with what fires now and no longer."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for result in results:
        rules = {name: sorted({firing["rule"] for firing in result[name]}) for name in ("firesNow", "noLonger")}
        table.add_row(str(result["decisionId"]), transition(console, result))
        table.add_row("", Text(f"{agent_word(str(result['agentId']))}  {', '.join(result['tools'])}", style=FAINT))
        table.add_row("", _why({**result, **rules}))
    return Group(table, Text(f"and {left_out:,} more", style=FAINT)) if left_out > 0 else Group(table)


def change_lines(change: Json) -> Iterator[RenderableType]:
    """Yield one difference between two policies: what it is, what it was and is, and where."""
    before, after = change["before"], change["after"]
    kind = str(change["kind"]).rpartition("_")[2].lower()
    clause = f" ({change['clause']})" if change["clause"] else ""
    if str(change["kind"]).startswith("ROW_"):
        yield Text.assemble(f"{change['subject']} ", (f"{_text(before)} → {_text(after)}", STRONG))
    else:
        yield Text.assemble(f"{change['subject']}{clause} ", (kind, STRONG))
    for side, word in ((before, "was at"), (after, "is at")):
        if side["file"]:
            line = int(side["line"])
            path = f"{side['file']}:{line}" if line else f"{side['file']}, as set"
            yield Place(path, words=f"  {word} ", style=FAINT)


def _title(replay: Json) -> Text:
    baseline = replay.get("baseline")
    compared = f"compared with {baseline['name']}" if baseline else "compared with what is on record"
    return Text.assemble(
        (str(replay["replayId"]), STRONG), ("  on ", FAINT), candidate_words(replay), (f", {compared}", FAINT)
    )


def _state(replay: Json) -> str:
    return str(replay["state"]).removeprefix("REPLAY_STATE_").lower()


def _came_of_it(console: Console, replay: Json) -> Text:
    report = replay.get("report")
    if not report:
        done, total = int(replay["progress"]["done"]), int(replay["progress"]["total"])
        return Text(str(replay["problem"]) or f"{done:,} of {counted(total, 'decision')}", style=FAINT)
    sign = ALLOWED if report["fidelity"]["trustworthy"] else BLOCKED
    word = "" if report["fidelity"]["trustworthy"] else "not trustworthy  "
    return Text.assemble(
        (f"{glyph(console, sign)} {word}", style_of(sign)),
        f"{int(report['looser']):,} looser ({int(report['risky']):,} risky), {int(report['stricter']):,} stricter",
        (f" of {counted(int(report['compared']), 'decision')}", FAINT),
    )


def _counts(report: Json) -> Iterator[tuple[int, str, Sign]]:
    looser, stricter, risky = (int(report[name]) for name in ("looser", "stricter", "risky"))
    counts = {str(entry["verdictClass"]): int(entry["count"]) for entry in report["classes"]}
    yield looser, f"looser, {risky:,} of them blocked before and allowed now", BLOCKED if risky else WARNED
    yield stricter, "stricter", WARNED
    for kind, words in _CLASS_WORDS.items():
        if kind not in ("VERDICT_CLASS_OUTCOME_FLIP", "VERDICT_CLASS_SAME") and counts.get(kind):
            serious = kind in ("VERDICT_CLASS_ERROR", "VERDICT_CLASS_INDETERMINATE")
            yield counts[kind], words, ERROR if serious else NOT_REACHED
    yield counts.get("VERDICT_CLASS_SAME", 0), _CLASS_WORDS["VERDICT_CLASS_SAME"], NOT_REACHED


def _why(group: Json) -> Text:
    parts = [f"{rule} fires now" for rule in group["firesNow"]]
    parts += [f"{rule} no longer fires" for rule in group["noLonger"]]
    if not parts:
        parts = [str(group["reason"])] if group["reason"] else [f"{', '.join(group['parts'])} differ"]
    return Text("; ".join(parts))


def _changes(report: Json) -> Iterator[RenderableType]:
    for policy in report["policies"]:
        changes = policy["changes"]
        yield Text(f"since {short_revision(str(policy['revision']))}", style=FAINT)
        if not policy["known"]:
            yield Text("  the policy repository does not have that commit any more")
        elif not changes:
            yield Text("  nothing in meaning, so nothing had to be evaluated")
        for change in changes[:_SHOWN_CHANGES]:
            yield from (indented(line, (0, 0, 0, 2)) for line in change_lines(change))
        left = len(changes) - _SHOWN_CHANGES + int(policy["leftOut"])
        if left > 0:
            yield Text(f"  and {counted(left, 'more change')}", style=FAINT)


def _text(side: Json) -> str:
    text = str(side["text"]) if side["file"] else "nothing"
    return text if len(text) <= _SHOWN_TEXT else f"{text[:_SHOWN_TEXT]}…"
