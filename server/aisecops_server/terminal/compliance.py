"""Frameworks and requirements on a screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.words import requirement_sign
from aisecops_server.terminal.consoles import glyph, indented, style_of
from aisecops_server.terminal.decisions import FAINT

Json = Mapping[str, Any]


def framework_table(frameworks: Sequence[Json]) -> Table:
    """Return a list of frameworks: id, what it is, how far it is covered."""
    table = Table.grid(padding=(0, 2))
    for framework in frameworks:
        counts = framework["counts"]
        covered = f"{counts['full']} covered, {counts['partial']} in part, {counts['none']} not"
        table.add_row(
            Text(str(framework["framework"])),
            Text(f"{framework['title']}, {framework['edition']}"),
            Text(covered, style=FAINT),
        )
    return table


def framework_block(console: Console, framework: Json) -> RenderableType:
    """Return one framework with its requirements."""
    title = Text(f"{framework['title']}, {framework['edition']}", style="bold")
    note = [Text(str(framework["note"]), style=FAINT)] if framework["note"] else []
    return Group(title, *note, *(_requirement(console, row) for row in framework["requirements"]))


def report_block(console: Console, report: Json) -> RenderableType:
    """Return what holds: one line a framework, and in full only what fails."""
    lines: list[RenderableType] = [
        Text(f"policy {str(report['revision'])[:12]} on OPA {report['engineVersion']}", style=FAINT)
    ]
    problem = requirement_sign("FAILS")
    lines += [Text.assemble((glyph(console, problem), style_of(problem)), f" {said}") for said in report["problems"]]
    for framework in report["frameworks"]:
        counts = framework["counts"]
        sign = requirement_sign("FAILS" if counts["fails"] else "HOLDS")
        summary = (
            f"{counts['holds']} hold, {counts['fails']} fail, {counts['notChecked']} not checked, "
            f"{counts['none']} not covered"
        )
        name = f" {framework['framework']}  "
        lines.append(Text.assemble((glyph(console, sign), style_of(sign)), name, (summary, FAINT)))
        lines += [_requirement(console, row) for row in framework["requirements"] if row["state"] == "FAILS"]
    return Group(*lines)


def _requirement(console: Console, row: Json) -> RenderableType:
    sign = requirement_sign(str(row["state"]) or {"none": "NOT_COVERED"}.get(row["coverage"], "NOT_CHECKED"))
    title = Text.assemble(
        (glyph(console, sign), style_of(sign)), f" {row['id']}  {row['title']}  ", (str(row["coverage"]), FAINT)
    )
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(row):
        facts.add_row(Text(name, style=FAINT), Text(value))
    return indented(Group(title, indented(facts)))


def _facts(row: Json) -> list[tuple[str, str]]:
    found = [
        ("problem", "\n".join(row["problems"])),
        ("how", str(row["how"])),
        ("not covered", str(row["gap"])),
        ("rules", ", ".join(row["rules"])),
        ("scenarios", "\n".join(str(one["name"]) for one in row["scenarios"])),
        ("checks", ", ".join(str(one["name"]) for one in row["checks"])),
        ("events", ", ".join(str(one["kind"]) for one in row["events"])),
    ]
    return [(name, value) for name, value in found if value]
