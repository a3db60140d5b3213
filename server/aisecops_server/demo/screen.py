"""What the demo shows. Draws answers and nothing else: every word about a decision comes out of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from aisecops_server.demo.answers import Answer
from aisecops_server.domain.display.words import (
    ALLOWED,
    BLOCKED,
    ESCALATED,
    Sign,
    counted,
    milliseconds,
    outcome_sign,
    short_revision,
    source_word,
    trust_word,
)
from aisecops_server.terminal.consoles import glyph, indented, speaks_unicode, style_of
from aisecops_server.terminal.decisions import FAINT, STRONG, finding_lines, outcome_counts, signed, trust_style
from aisecops_server.terminal.lists import agent_word, plain_table
from aisecops_server.terminal.replays import change_lines, fidelity_block, transition
from aisecops_server.terminal.revisions import diff_lines

Json = Mapping[str, Any]

SHOWN_FINDINGS = 2
SHOWN_FACTS = 2
SHOWN_CHARACTERS = 60


@dataclass(slots=True)
class Screen:
    """A console that tells the story at a pace that can be read."""

    console: Console
    pace_seconds: float

    async def pause(self) -> None:
        """Wait for the reader, on a terminal."""
        if self.pace_seconds:
            await asyncio.sleep(self.pace_seconds)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that something takes a moment, on a terminal."""
        if not self.console.is_terminal:
            yield
            return
        with self.console.status(Text(text, style=FAINT), spinner="dots" if speaks_unicode(self.console) else "line"):
            yield

    def act(self, number: int, title: str) -> None:
        """Begin a part of the story."""
        line = "─" if speaks_unicode(self.console) else "-"
        self.console.print()
        self.console.print(Rule(Text(f"{number}  {title}", style=STRONG), align="left", characters=line, style=FAINT))

    def done(self, text: str, detail: str = "") -> None:
        """Tell that something was made or checked."""
        self._marked(ALLOWED, text, detail)

    def refused(self, text: str, detail: str = "") -> None:
        """Tell that something was refused, as it must be."""
        self._marked(BLOCKED, text, detail)

    def escalated(self, text: str, detail: str = "") -> None:
        """Tell that something waits for people."""
        self._marked(ESCALATED, text, detail)

    def say(self, text: str) -> None:
        """Tell something quietly."""
        self.console.print(Text(text, style=FAINT))

    def _marked(self, sign: Sign, text: str, detail: str) -> None:
        line = Table.grid(padding=(0, 1))
        line.add_column(no_wrap=True)
        line.add_column(overflow="fold")
        mark = Text(glyph(self.console, sign), style=style_of(sign))
        line.add_row(mark, Text.assemble(text, (f"  {detail}" if detail else "", FAINT)))
        self.console.print(line)

    def failed(self, text: str) -> None:
        """Tell that something is not as it must be."""
        self.console.print(Text(f"{glyph(self.console, BLOCKED)} {text}", style=style_of(BLOCKED, bold=True)))

    def area(self, name: str) -> None:
        """Begin the agents of one team."""
        self.console.print()
        self.console.print(Text(name, style="bold underline"))

    def decision(self, answer: Answer) -> None:
        """Show one decision: who wants what, what was answered, why, by which policy, in what time."""
        self.console.print()
        self.console.print(decision_group(self.console, answer))

    def summary(self, answers: Sequence[Answer]) -> None:
        """Show all decisions of a round in one table."""
        self.console.print()
        self.console.print(summary_table(self.console, answers))
        self.console.print()
        self.console.print(outcome_counts(self.console, [answer.outcome for answer in answers]))

    def change(self, diff: str) -> None:
        """Show what was changed in the policy repository."""
        self.console.print(indented(diff_lines(diff), (1, 0, 1, 2)))

    @contextmanager
    def progress(self, doing: str, total: int) -> Iterator[Callable[[], None]]:
        """Show how far something is; a pipe is told nothing until it is done."""
        columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            task = bar.add_task(doing, total=total)
            yield lambda: bar.advance(task)

    def fidelity(self, fidelity: Json) -> None:
        """Show whether a replay can be trusted."""
        self.console.print(fidelity_block(self.console, fidelity))

    def flip_counts(self, count: int, looser: int, *, would: bool) -> None:
        """Tell how many outcomes changed or would, and in which direction."""
        word = "would change" if would else "changed"
        text = f"{counted(count, 'outcome')} {word}: {looser} looser, {count - looser} stricter"
        self.console.print()
        self.console.print(Text(text, style=STRONG))

    def flip(self, flip: Json, title: str) -> None:
        """Show one decision that would flip, why, and what would have to be otherwise."""
        self.console.print()
        self.console.print(flip_group(self.console, flip, title))

    def commands(self, lines: Sequence[tuple[str, str]]) -> None:
        """Show what to try next; commands are never wrapped, so that they can be copied."""
        for command, purpose in lines:
            self.console.print(Text(f"  # {purpose}", style=FAINT), soft_wrap=True)
            self.console.print(Text(f"  {command}", style=STRONG), soft_wrap=True)


def decision_group(console: Console, answer: Answer) -> Group:
    """Return one decision as a block."""
    title = Table.grid(expand=True, padding=(0, 1))
    title.add_column(no_wrap=True, width=12)
    title.add_column(ratio=1)
    title.add_column(no_wrap=True, justify="right")
    title.add_row(
        signed(console, outcome_sign(answer.outcome)),
        Text(answer.scenario.title, style=STRONG),
        Text(milliseconds(answer.seconds), style=FAINT),
    )
    facts = Table.grid(padding=(0, 1))
    facts.add_column(no_wrap=True, style=FAINT, width=6)
    facts.add_column()
    for label, body in _facts(console, answer):
        facts.add_row(label, body)
    parts: list[RenderableType] = [title, indented(facts)]
    if answer.findings:
        parts.append(indented(_findings(console, answer)))
    return Group(*parts)


def _facts(console: Console, answer: Answer) -> list[tuple[str, Text]]:
    decision = answer.decision
    who = [agent_word(answer.scenario.agent).removeprefix("agent/"), answer.scenario.plan.environment]
    if answer.scenario.hijacked_by:
        who.append(f"steered by {answer.scenario.hijacked_by}")
    return [
        ("who", Text(", ".join(who))),
        ("wants", _steps(console, answer)),
        ("heard", _sources(decision)),
        ("policy", Text(_policy(decision), style=FAINT)),
    ]


def _steps(console: Console, answer: Answer) -> Text:
    tools = answer.scenario.tools
    parts = []
    for step in answer.decision.get("steps", []):
        sign = outcome_sign(str(step.get("outcome", "")))
        name = tools.get(str(step.get("stepId", "")), "")
        parts.append(Text.assemble((f"{glyph(console, sign)} ", style_of(sign)), name))
    return Text(" → " if speaks_unicode(console) else " > ").join(parts)


def _sources(decision: Json) -> Text:
    seen = dict.fromkeys(
        (source_word(str(source.get("kind", ""))), trust_word(str(source.get("trust", ""))))
        for source in decision.get("sources", [])
    )
    parts = [Text.assemble((f"{kind} ", FAINT), (trust, trust_style(trust))) for kind, trust in seen]
    return Text(", ").join(parts) if parts else Text("nothing that was named")


def _policy(decision: Json) -> str:
    evaluation = str(decision.get("evaluation") or "0s").removesuffix("s")
    return (
        f"{short_revision(str(decision.get('bundleRevision', '')))} on OPA {decision.get('engineVersion', '')}, "
        f"evaluated in {milliseconds(float(evaluation))}"
    )


def _findings(console: Console, answer: Answer) -> Group:
    shown = answer.findings[:SHOWN_FINDINGS]
    rest = len(answer.findings) - len(shown)
    block = Group(*(line for finding in shown for line in _finding(console, finding)))
    return Group(block, Text(f"and {counted(rest, 'more finding')}", style=FAINT)) if rest > 0 else block


def _finding(console: Console, finding: Json) -> Iterator[RenderableType]:
    yield from finding_lines(console, finding, with_remedy=False)
    for fact in finding.get("facts", [])[:SHOWN_FACTS]:
        name = fact_word(str(fact.get("pointer", "")))
        yield indented(Text(f"{name} = {_shortened(str(fact.get('valueJson', '')))}", style=FAINT))


def fact_word(pointer: str) -> str:
    """Return what a pointer points at in a word: an argument's name, or the thing whose id it is."""
    parts = [part for part in pointer.split("/") if part and not part.isdigit()]
    if parts[-1:] == ["id"] and len(parts) > 1:
        return parts[-2].removesuffix("s")
    return parts[-1] if parts else "document"


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}… ({len(text)} characters)"


def summary_table(console: Console, answers: Sequence[Answer]) -> Table:
    """Return a round in one table."""
    table = plain_table("outcome", "plan", "deciding rule", "time")
    table.columns[0].no_wrap = True
    table.columns[3].no_wrap = True
    for answer in answers:
        table.add_row(
            signed(console, outcome_sign(answer.outcome), bold=False),
            answer.scenario.title,
            Text(answer.rules[0] if answer.rules else "none objected", style=FAINT),
            Text(milliseconds(answer.seconds), style=FAINT),
        )
    return table


def flip_group(console: Console, flip: Json, title: str) -> Group:
    """Return one flip as a block."""
    result, looser = flip["result"], flip["result"]["direction"] == "DIRECTION_LOOSER"
    head = Text.assemble(
        transition(console, result), ("   looser  " if looser else "   stricter  ", FAINT), (title, STRONG)
    )
    lines: list[RenderableType] = []
    for rule in flip["rules"]:
        word = "fires now" if rule["firesNow"] else "no longer fires"
        lines.append(Text.assemble((f"{rule['rule']} {word}: ", FAINT), str(rule["message"])))
    for cause in flip["causes"]:
        lines += [indented(line) for line in change_lines(cause["change"])]
    smallest = flip["smallest"]
    if smallest["found"]:
        otherwise = signed(console, outcome_sign(str(smallest["outcome"])), bold=False)
        lines.append(Text.assemble((f"{smallest['words']}: ", FAINT), otherwise))
    return Group(head, *(indented(line) for line in lines))
