"""What an evidence package tells a person: the same facts as Markdown and as a page that runs nothing.

Everything shown comes from the events of the package. Foreign text is escaped, and characters that hide or reorder text
are shown as their code points.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aisecops_server.domain.evidence.evidence import Collected
from aisecops_server.domain.evidence.evidence_views import approvals_view

_CELL_CHARACTERS = 300
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1c1c1c;"
    "background:#fff}table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid #ccc;padding:.35rem .5rem;"
    "text-align:left;vertical-align:top;overflow-wrap:anywhere}code{font-size:.9em}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}th,td{border-color:#444}}"
)


@dataclass(frozen=True, slots=True)
class _Table:
    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def markdown(collected: Collected) -> bytes:
    """Return the summary as Markdown."""
    lines = ["# Evidence", "", *(f"- {line}" for line in _opening(collected)), ""]
    for table in _tables(collected):
        lines += [f"## {table.title}", "", _row(table.heads), _row(["---"] * len(table.heads))]
        lines += [_row([_cell(value) for value in row]) for row in table.rows]
        lines.append("")
    return "\n".join(lines).encode()


def page(collected: Collected) -> bytes:
    """Return the summary as a page without scripts, links or anything from elsewhere."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Evidence</title><style>{_STYLE}</style><h1>Evidence</h1><ul>",
        *(f"<li>{html.escape(line)}" for line in _opening(collected)),
        "</ul>",
    ]
    for table in _tables(collected):
        heads = "".join(f"<th>{html.escape(head)}" for head in table.heads)
        parts.append(f"<h2>{html.escape(table.title)}</h2><table><tr>{heads}")
        parts += [
            "<tr>" + "".join(f"<td>{html.escape(value[:_CELL_CHARACTERS])}" for value in row) for row in table.rows
        ]
        parts.append("</table>")
    return "\n".join(parts).encode()


def _opening(collected: Collected) -> list[str]:
    decisions: Sequence[Mapping[str, Any]] = collected.decisions
    agents = sorted({str(decision["principal"]["id"]) for decision in decisions})
    commits = sorted({str(decision["bundle_revision"]) for decision in decisions})
    origin, size, *_ = collected.checkpoint.split("\n")
    counts = f"{len(collected.events)} events and {len(decisions)} decisions"
    return [
        f"{counts} of the log {_shown(origin)}, which held {size} events when it was signed",
        f"agents: {', '.join(map(_shown, agents)) or 'none'}",
        f"policy commits: {', '.join(map(_shown, commits)) or 'none'}",
        "Nothing on this page is proof. README.md says how the package is verified.",
    ]


def _tables(collected: Collected) -> list[_Table]:
    tables = [_decisions(collected.decisions), _findings(collected.decisions), _approvals(collected)]
    return [*tables, _disagreements(collected), _events(collected)]


def _decisions(decisions: Sequence[Mapping[str, Any]]) -> _Table:
    rows = [
        (
            _time(decision["decided_at_micros"]),
            _shown(decision["principal"]["id"]),
            _shown(decision["outcome"]),
            _shown(decision["explanation"]),
            _shown(decision["bundle_revision"])[:12],
            _shown(decision["decision_id"]),
        )
        for decision in decisions
    ]
    return _Table("Decisions", ("time", "agent", "outcome", "why", "policy commit", "decision"), rows)


def _findings(decisions: Sequence[Mapping[str, Any]]) -> _Table:
    rows = [
        (
            _shown(decision["decision_id"]),
            _shown(finding["step"]) or "plan",
            _shown(finding["rule"]),
            _shown(finding["effect"]),
            _shown(finding["message"]),
        )
        for decision in decisions
        for finding in decision["findings"]
    ]
    return _Table("Findings", ("decision", "step", "rule", "effect", "message"), rows)


def _approvals(collected: Collected) -> _Table:
    found: Sequence[Any] = approvals_view(proved.stored for proved in collected.events)
    rows = [
        (
            _shown(asked["approval_id"]),
            _shown(asked["request"].get("agent_id", "")),
            _shown(", ".join(f"{vote['approver']} {vote['choice']}" for vote in asked["votes"]) or "nobody"),
            _shown(asked["end"] or "open"),
        )
        for asked in found
    ]
    return _Table("Approvals", ("request", "agent", "votes", "end"), rows)


def _disagreements(collected: Collected) -> _Table:
    rows = [
        (
            _shown(story.trace_id),
            violation.severity.value,
            violation.kind.value,
            _shown(violation.step_id),
            _shown(violation.expected),
            _shown(violation.actual),
        )
        for story in collected.stories
        for violation in story.diff.violations
    ]
    heads = ("trace", "severity", "what", "step", "expected", "found")
    return _Table("Where records disagree", heads, rows)


def _events(collected: Collected) -> _Table:
    rows = [
        (
            str(proved.stored.index),
            _time(proved.stored.event.occurred_at_ns // 1000),
            proved.stored.event.stage.value,
            _shown(proved.stored.event.type),
            _shown(proved.stored.event.trace_id),
        )
        for proved in collected.events
    ]
    return _Table("Events", ("log index", "time", "stage", "event", "trace"), rows)


def _time(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _row(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"


def _cell(value: str) -> str:
    escaped = html.escape(value[:_CELL_CHARACTERS], quote=False)
    return "".join(f"\\{mark}" if mark in "\\`*_[]|#~" else mark for mark in escaped)


def _shown(value: object) -> str:
    return "".join(
        mark if unicodedata.category(mark) not in {"Cc", "Cf", "Zl", "Zp", "Co", "Cn", "Cs"} else f"<U+{ord(mark):04X}>"
        for mark in str(value)
    )
