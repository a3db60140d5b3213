"""A report of checks as people read it on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.visible_text import visible
from aisecops_server.domain.policy.policy_check import CheckReport, CheckResult, CheckState, Level, Problem

_MARKS = {CheckState.OK: ("✓", "green"), CheckState.FAILED: ("✕", "red"), CheckState.SKIPPED: ("–", "dim")}
_LEVELS = {Level.ERROR: "red", Level.WARNING: "yellow", Level.NOTE: "dim"}
_SHOWN_PROBLEMS = 30
_SHOWN_CHANGES = 12


def check_block(console: Console, report: CheckReport) -> RenderableType:  # noqa: ARG001 - as every block
    """Return the checks, one a line, then what to mend, by check."""
    parts: list[RenderableType] = [_table(report)]
    for result in report.results:
        parts += _problems(result)
        parts += _changes(result)
    parts.append(Text(""))
    parts.append(_last(report))
    return Group(*parts)


def _table(report: CheckReport) -> Table:
    table = Table.grid(padding=(0, 2))
    for overflow in ("ellipsis", "ellipsis", "fold", "ellipsis"):
        table.add_column(overflow=overflow)
    for result in report.results:
        mark, style = _MARKS[result.state]
        time = "remembered" if result.remembered else f"{result.milliseconds / 1000:.1f} s"
        table.add_row(Text(mark, style), result.name.value, Text(_told(result)), Text(time, "dim"))
    return table


def _told(result: CheckResult) -> str:
    if result.skipped:
        return visible(f"skipped: {result.skipped}")
    if result.errors:
        return f"{len(result.errors)} to mend"
    facts = [f"{value} {name.replace('_', ' ')}" for name, value in result.facts.items() if isinstance(value, int)]
    return ", ".join(facts)


def _problems(result: CheckResult) -> Iterator[RenderableType]:
    if not result.problems:
        return
    yield Text("")
    yield Text(result.name.value, "bold")
    for problem in result.problems[:_SHOWN_PROBLEMS]:
        yield Padding(_problem(problem), (0, 0, 0, 2))
    if len(result.problems) > _SHOWN_PROBLEMS:
        yield Text(f"  … and {len(result.problems) - _SHOWN_PROBLEMS} more; -o json has all of them", "dim")


def _problem(problem: Problem) -> RenderableType:
    head = Text.assemble(
        (f"{problem.level.value} ", _LEVELS[problem.level]),
        (visible(problem.place), "bold"),
        "  " if problem.place else "",
        (visible(problem.code), "dim"),
        (f" {visible(problem.subject)}" if problem.subject not in ("", problem.path) else "", "dim"),
    )
    lines: list[RenderableType] = [head, Padding(Text(visible(problem.message)), (0, 0, 0, 2))]
    if problem.hint:
        lines.append(Padding(Text(f"→ {visible(problem.hint)}", "cyan"), (0, 0, 0, 2)))
    return Group(*lines)


def _changes(result: CheckResult) -> Iterator[RenderableType]:
    changes = result.facts.get("changes")
    listed = [change for change in changes if isinstance(change, dict)] if isinstance(changes, list) else []
    # A rule of several clauses is one rule to a person.
    told = list(dict.fromkeys((str(change["kind"]), str(change["subject"])) for change in listed))
    if not told:
        return
    yield Text("")
    yield Text("what changed in meaning", "bold")
    for kind, subject in told[:_SHOWN_CHANGES]:
        yield Text(f"  {kind.lower().replace('_', ' ')}  {visible(subject)}")
    if len(told) > _SHOWN_CHANGES:
        yield Text(f"  … and {len(told) - _SHOWN_CHANGES} more", "dim")


def _last(report: CheckReport) -> Text:
    if report.passed:
        return Text("✓ passed", "green")
    count = sum(len(result.errors) for result in report.results)
    return Text(f"✕ failed: {count} to mend", "red")
