"""Tables and lines of many things: traces, decisions, revisions, events, checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.words import (
    ALLOWED,
    BLOCKED,
    DRY_RUN,
    NOT_REACHED,
    bare,
    check_sign,
    counted,
    outcome_sign,
    short_revision,
    taken,
    trust_word,
)
from aisecops_server.terminal.consoles import style_of
from aisecops_server.terminal.decisions import FAINT, signed
from aisecops_server.terminal.gates import trace_strip

Json = Mapping[str, Any]
When = Callable[[str], str]

# From here on there is room to say what the last word of a trace's line is.
_ROOMY_COLUMNS = 90
_NARROW_NAME = 18


def plain_table(*titles: str) -> Table:
    """Return a table without lines, for data that is read and copied."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def agent_word(agent: str) -> str:
    """Return the last part of an agent's id, which is how people call it."""
    return agent.rpartition("/")[2] or agent


def trace_table(console: Console, traces: Sequence[Json], when: When) -> Table:
    """Return a list of traces, two lines each: what happened, then who and why. Fits 80 columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    policy = "policy " if console.width >= _ROOMY_COLUMNS else ""
    for trace in traces:
        first = [
            Text(str(trace.get("traceId", ""))),
            Text(when(str(trace.get("lastAt", "")))),
            Text(f"{policy}{short_revision(str(trace.get('bundleRevision', '')))}", style=FAINT),
        ]
        strip = trace_strip(console, trace)
        second = Text.assemble(
            *((strip, "  ") if strip else ()),
            agent_word(str(trace.get("agentId", ""))),
            (f"  {trust_phrase(trace)}", FAINT),
            (f"  {', '.join(trace.get('rules', [])) or 'no rule objected'}", FAINT),
            (f"  {_figures(trace)}", FAINT),
        )
        table.add_row(_trace_sign(console, trace), Text("  ").join(first))
        table.add_row(Text(_mode(trace), style=FAINT), second)
    return table


def _figures(trace: Json) -> str:
    """Return how many steps a trace has, and what it took."""
    steps = int(trace.get("steps", 0))
    return ", ".join(part for part in (counted(steps, "step") if steps else "", taken_by(trace)) if part)


def taken_by(trace: Json) -> str:
    """Return what a trace took, of what was counted."""
    tokens, micro_usd, share = (int(trace.get(name, 0)) for name in ("tokens", "microUsd", "budgetShare"))
    return taken(tokens=tokens, micro_usd=micro_usd, budget_share=share)


def facet_table(found: Json) -> Table:
    """Return how many traces match, and how many have each value, field by field."""
    table = plain_table("field", "value", "traces")
    table.add_row(Text("all", style=FAINT), "", _counted(found["counted"], found["whole"]))
    for facet in found["facets"]:
        name = str(facet["field"]).removesuffix("_id")
        for at, one in enumerate(facet["values"]):
            table.add_row(
                "" if at else name, _value_word(name, str(one["value"])), _counted(one["count"], facet["whole"])
            )
        if facet["leftOut"]:
            table.add_row("", Text(f"and {facet['leftOut']} more", style=FAINT), "")
    return table


def _counted(count: int, whole: object) -> str:
    return f"{count:,}" if whole else f"{count:,}+"


def _value_word(field: str, value: str) -> str:
    if field == "outcome":
        return outcome_sign(value).word
    return value.lower().replace("_", "-") if field == "mode" else value


def trust_phrase(trace: Json) -> str:
    """Return the least trusted source of a trace in words."""
    return f"lowest trust {trust_word(str(trace.get('lowestTrust', '')))}"


def _trace_sign(console: Console, trace: Json) -> Text:
    return signed(console, outcome_sign(str(trace.get("outcome", ""))))


def _mode(trace: Json) -> str:
    return DRY_RUN.word if bare(str(trace.get("mode", ""))) == "DRY_RUN" else ""


def tail_line(console: Console, item: Json, when: When) -> Text:
    """Return one recorded decision as one line."""
    decision = item.get("decision", {})
    outcome = outcome_sign(str(decision.get("outcome", "")))
    rules = sorted({str(finding.get("rule", "")) for finding in decision.get("findings", [])})
    principal = decision.get("principal", "")
    agent = principal.get("id", "") if isinstance(principal, Mapping) else str(principal)
    return Text("  ").join(
        [
            Text(when(str(item.get("occurredAt", ""))), style=FAINT),
            signed(console, outcome),
            Text(agent_word(agent)),
            Text(", ".join(rules) or str(decision.get("message", "no rule objected")), style=FAINT),
            Text(f"trace {item.get('traceId', '')}", style=FAINT),
        ]
    )


def revision_table(revisions: Sequence[Json], when: When) -> Table:
    """Return a list of policy revisions."""
    table = plain_table("revision", "state", "committed", "author", "summary")
    for revision in revisions:
        state = bare(str(revision.get("state", ""))).lower()
        sign = {"live": ALLOWED, "rejected": BLOCKED}.get(state, NOT_REACHED)
        summary = str(revision.get("summary", ""))
        if revision.get("problem"):
            summary = f"{summary}\n{revision['problem']}"
        table.add_row(
            short_revision(str(revision.get("commit", ""))),
            Text(state, style=style_of(sign, bold=state == "live")),
            when(str(revision.get("committedAt", ""))),
            str(revision.get("author", "")),
            summary,
        )
    return table


def check_table(console: Console, checks: Sequence[Json]) -> Table:
    """Return what a doctor found; a check that did not run is never shown as passed."""
    table = plain_table("check", "state", "found")
    if console.width < _ROOMY_COLUMNS:
        # Names of checks are words, and can be broken; what was found is paths and digests, and had better not be.
        table.columns[0].overflow, table.columns[0].max_width = "ellipsis", _NARROW_NAME
    for check in checks:
        found = Text(str(check["detail"]))
        if check["mend"]:
            found.append(f"\nmend: {check['mend']}", style=FAINT)
        table.add_row(str(check["name"]), signed(console, check_sign(str(check["state"])), bold=False), found)
    return table
