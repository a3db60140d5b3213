"""A report of checks in the forms that other programs read: Markdown, SARIF, JUnit, annotations of a Git host, JSON.

Whatever stands in a problem may have been written by somebody who wants to be taken for us: each form escapes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

import orjson

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.policy_check import (
    MEANINGS,
    CheckName,
    CheckReport,
    CheckResult,
    CheckState,
    Level,
    Problem,
)

MARKDOWN_BYTES = 60_000
_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
_MARKS = {CheckState.OK: "✅", CheckState.FAILED: "❌", CheckState.SKIPPED: "⚪"}
_SARIF_LEVELS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "note"}
_GITHUB_LEVELS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "notice"}
_SHOWN_CHANGES = 40


def written(report: CheckReport, name: str) -> str:
    """Return a report in the form with ``name``."""
    forms: Mapping[str, Callable[[CheckReport], str]] = {
        "markdown": markdown,
        "sarif": sarif,
        "junit": junit,
        "github": workflow_commands,
        "json": _json,
    }
    return forms[name](report)


def markdown(report: CheckReport) -> str:
    """Return the report as a comment of a pull request, within the size that Git hosts take."""
    lines = [f"## Policy checks: {'passed' if report.passed else 'failed'}", ""]
    lines += ["| check | | |", "| --- | --- | --- |"]
    lines += [f"| {result.name.value} | {_MARKS[result.state]} | {cell(_sum(result))} |" for result in report.results]
    for result in report.results:
        lines += _section(result)
    return bounded("\n".join(lines) + "\n")


def bounded(text: str, most: int = MARKDOWN_BYTES) -> str:
    """Return a text that a Git host takes as a comment: cut at a line, and saying so."""
    if len(text.encode()) <= most:
        return text
    kept = text.encode()[: most - 200].decode("utf-8", "ignore").rpartition("\n")[0]
    # An open fold or block would swallow the sentence that says what is missing.
    closing = "\n```\n" if kept.count("\n```") % 2 else "\n"
    closing += "</details>\n" * (kept.count("<details>") - kept.count("</details>"))
    return f"{kept}{closing}\n… and more, which is too long for a comment; `-o json` has all of it.\n"


def sarif(report: CheckReport) -> str:
    """Return the report as SARIF 2.1.0."""
    codes = sorted({problem.code for _, problem in report.problems})
    run: dict[str, JsonValue] = {
        "tool": {"driver": {"name": "aisecops policy check", "rules": [{"id": code} for code in codes]}},
        "results": [_sarif(problem) for _, problem in report.problems],
    }
    return (
        orjson.dumps({"$schema": _SARIF, "version": "2.1.0", "runs": [run]}, option=orjson.OPT_INDENT_2).decode() + "\n"
    )


def junit(report: CheckReport) -> str:
    """Return the report as JUnit's XML: a check is a test case."""
    failed = sum(result.state is CheckState.FAILED for result in report.results)
    skipped = sum(result.state is CheckState.SKIPPED for result in report.results)
    head = f'tests="{len(report.results)}" failures="{failed}" skipped="{skipped}"'
    cases = "".join(map(_junit, report.results))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name="policy" {head}>\n{cases}</testsuite>\n'


def workflow_commands(report: CheckReport) -> str:
    """Return the report as workflow commands, which GitHub shows beside the lines of a pull request."""
    return "".join(f"{_annotation(problem)}\n" for _, problem in report.problems)


def _json(report: CheckReport) -> str:
    return orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2).decode() + "\n"


def _sum(result: CheckResult) -> str:
    if result.skipped:
        return f"skipped: {result.skipped}"
    if result.problems:
        errors = len(result.errors)
        others = len(result.problems) - errors
        return ", ".join([f"{errors} to mend"] * bool(errors) + [f"{others} remarks"] * bool(others))
    facts = [f"{name.replace('_', ' ')} {value}" for name, value in result.facts.items() if isinstance(value, int)]
    return ", ".join(facts) or MEANINGS[result.name]


def _section(result: CheckResult) -> list[str]:
    lines = []
    if result.problems:
        lines += ["", f"### {result.name.value}", "", f"{MEANINGS[result.name]}.".capitalize(), ""]
        lines += [_point(problem) for problem in result.problems]
    changes = result.facts.get("changes") if result.name is CheckName.CHANGES else None
    if isinstance(changes, list) and changes:
        lines += ["", f"<details><summary>{len(changes)} changes in meaning</summary>", ""]
        lines += [_change(change) for change in changes[:_SHOWN_CHANGES] if isinstance(change, Mapping)]
        lines += ["", "</details>"]
    return lines


def _point(problem: Problem) -> str:
    place = f" `{code(problem.place)}`" if problem.place else ""
    hint = f" *{cell(problem.hint)}.*" if problem.hint else ""
    return f"- **{problem.level.value}** `{code(problem.code)}`{place}: {cell(problem.message)}.{hint}"


def _change(change: Mapping[str, JsonValue]) -> str:
    kind = str(change.get("kind", "")).lower().replace("_", " ")
    return f"- {kind}: `{code(str(change.get('subject', '')))}`"


def _sarif(problem: Problem) -> JsonValue:
    place: dict[str, JsonValue] = {"artifactLocation": {"uri": problem.path or "bundle.yaml"}}
    place["region"] = {"startLine": max(1, problem.line)}
    text = f"{problem.message}. {problem.hint}" if problem.hint else problem.message
    return {
        "ruleId": problem.code,
        "level": _SARIF_LEVELS[problem.level],
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
    }


def _junit(result: CheckResult) -> str:
    seconds = f"{result.milliseconds / 1000:.3f}"
    head = f'  <testcase name={attribute(result.name.value)} classname="policy" time="{seconds}"'
    if result.skipped:
        return f"{head}><skipped message={attribute(result.skipped)}/></testcase>\n"
    if not result.errors:
        return f"{head}/>\n"
    told = "\n".join(f"{problem.place}: {problem.message}. {problem.hint}" for problem in result.errors)
    first = attribute(result.errors[0].message)
    return f"{head}><failure message={first}>{escape(_xml(told))}</failure></testcase>\n"


def attribute(text: str) -> str:
    """Return text as an attribute of XML, quotes included, which it cannot end."""
    return f'"{escape(_xml(text), quote=True)}"'


def _annotation(problem: Problem) -> str:
    place = [f"file={_property(problem.path)}"] if problem.path else []
    place += [f"line={problem.line}"] if problem.line else []
    place.append(f"title={_property(problem.code)}")
    text = f"{problem.message}. {problem.hint}" if problem.hint else problem.message
    return f"::{_GITHUB_LEVELS[problem.level]} {','.join(place)}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _xml(text: str) -> str:
    return "".join(character if character.isprintable() or character in "\n\t" else "?" for character in text)


def code(text: str) -> str:
    """Return text for a span of code in Markdown, which it cannot end."""
    return "".join(character if character.isprintable() else "?" for character in text).replace("`", "'")


def cell(text: str) -> str:
    """Return text for Markdown, also in a table, in which it can begin nothing and mention nobody."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    for sign in "\\`*_[]<>|#":
        plain = plain.replace(sign, f"\\{sign}")
    # A name behind an at sign would call somebody.
    return plain.replace("@", "@\N{ZERO WIDTH SPACE}")
