"""What holds of which framework, to be read: as Markdown, and as a page that runs nothing and fetches nothing.

Made of a report as JSON (``compliance_state.report_json``, or the API's message by its field names). Text of the policy
repository is foreign: it is escaped, and characters that hide or reorder text are shown as their code points.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aisecops_server.domain.display.visible_text import visible

Json = Mapping[str, Any]

_HEADS = ("requirement", "state", "coverage", "how", "not covered", "shown by")
_STATES = {"HOLDS": "holds", "FAILS": "FAILS", "NOT_CHECKED": "not checked", "NOT_COVERED": "not covered", "": ""}
_COLORS = {"HOLDS": "#1a6b63", "FAILS": "#b3261e", "NOT_CHECKED": "#856404", "NOT_COVERED": "#5a6472"}
_MOST_NAMED = 8
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem;color:#1c1c1c;"
    "background:#fff}table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid #ccc;padding:.35rem .5rem;"
    "text-align:left;vertical-align:top;overflow-wrap:anywhere}"
    ".state{color:#fff;border-radius:.3rem;padding:.1rem .4rem}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}th,td{border-color:#444}}"
)


def markdown(report: Json) -> str:
    """Return a report as Markdown."""
    lines = ["# Compliance", "", *(f"- {_escaped(line)}" for line in _opening(report)), ""]
    for framework in report["frameworks"]:
        lines += [f"## {_escaped(_title(framework))}", "", f"{_escaped(_summary(framework))}", ""]
        lines += [f"| {' | '.join(_HEADS)} |", f"| {' | '.join(['---'] * len(_HEADS))} |"]
        lines += [f"| {' | '.join(map(_escaped, _cells(row)))} |" for row in framework["requirements"]]
        lines.append("")
    return "\n".join(lines)


def page(reports: Sequence[Json]) -> str:
    """Return reports as one page without scripts, links or anything from elsewhere."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Compliance</title><style>{_STYLE}</style>",
    ]
    return "\n".join([*parts, *(part for report in reports for part in _html_report(report))])


def _html_report(report: Json) -> Iterator[str]:
    yield "<h1>Compliance</h1><ul>"
    yield from (f"<li>{_in_html(line)}" for line in _opening(report))
    yield "</ul>"
    heads = "".join(f"<th>{head}" for head in _HEADS)
    for framework in report["frameworks"]:
        yield f"<h2>{_in_html(_title(framework))}</h2><p>{_in_html(_summary(framework))}</p><table><tr>{heads}"
        yield from map(_html_row, framework["requirements"])
        yield "</table>"


def _opening(report: Json) -> list[str]:
    policy = f"policy commit {report['revision']}, bundle {str(report['bundle_digest'])[:16]}"
    lines = [
        f"{policy}, on OPA {report['engine_version']}",
        "A requirement holds only while every scenario and check that it names passes.",
        "A mapping is our reading of a framework; it is no certificate, and none of it is the publishers' wording.",
    ]
    lines += [f"PROBLEM: {problem}" for problem in report["problems"]]
    if int(report["events_read"]):
        lines.append(f"Events were counted among the latest {int(report['events_read']):,}.")
    return lines


def _title(framework: Json) -> str:
    return f"{framework['title']} ({framework['edition']})"


def _summary(framework: Json) -> str:
    states = [row["state"] for row in framework["requirements"]]
    counts = [f"{states.count(state)} {word}" for state, word in _STATES.items() if state and state in states]
    note = f" {framework['note']}" if framework["note"] else ""
    return f"{framework['publisher']}, {framework['source']}. {', '.join(counts)}.{note}"


def _cells(row: Json) -> list[str]:
    return [
        f"{row['id']} {row['title']}",
        _STATES[row["state"]],
        str(row["coverage"]),
        str(row["how"]),
        str(row["gap"]),
        _evidence(row),
    ]


def _evidence(row: Json) -> str:
    parts = [*(f"problem: {problem}" for problem in row["problems"])]
    for what in ("scenarios", "checks"):
        shown = row[what]
        if shown:
            passed = sum(one["standing"] == "PASSED" for one in shown)
            names = _named([str(one["name"]) for one in shown])
            parts.append(f"{passed} of {len(shown)} {what} passed: {names}")
    if row["rules"]:
        parts.append(f"rules {_named(row['rules'])}")
    if row["events"]:
        parts.append(f"events {_named([_sighting(event) for event in row['events']])}")
    return "; ".join(parts)


def _sighting(event: Json) -> str:
    count = int(event["count"])
    return f"{event['kind']} ({count:,}, last at {event['last_index']})" if count else str(event["kind"])


def _named(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _html_row(row: Json) -> str:
    cells = _cells(row)
    color = _COLORS.get(row["state"], "")
    shown = f"<span class=state style=background:{color}>{_in_html(cells[1])}</span>" if color else ""
    filled = [_in_html(cells[0]), shown, *map(_in_html, cells[2:])]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in filled) + "</tr>"


def _in_html(text: str) -> str:
    return html.escape(visible(text))


def _escaped(text: str) -> str:
    plain = html.escape(" ".join(visible(text).split()), quote=False)
    return "".join(f"\\{mark}" if mark in "\\`*_[]|#~" else mark for mark in plain)
