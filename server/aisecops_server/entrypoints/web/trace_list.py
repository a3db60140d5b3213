"""The list of traces: newest first, narrowed by the query language, a page at a time, in the columns that are wanted.

Everything that a reader chose stands in the address, so a view of the list is a link.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from aisecops.v1 import audit_service_pb2 as api
from aisecops.v1 import event_pb2

from aisecops_server.domain.display.words import GATES, dollars, percent
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.log.trace_match import Relation
from aisecops_server.domain.traces.trace_query import (
    FIELDS,
    FORMS,
    MODES,
    OUTCOMES,
    TRUSTS,
    Term,
    TraceQuery,
    can_be_turned,
    read_query,
)
from aisecops_server.entrypoints.trace_terms import filter_of
from aisecops_server.entrypoints.web.addresses import address
from aisecops_server.entrypoints.web.gates import gate_legend
from aisecops_server.entrypoints.web.markup import hidden_count
from aisecops_server.entrypoints.web.strips import duration
from aisecops_server.entrypoints.web.trace_facets import (
    To,
    counted_note,
    facet_views,
    facets_found,
    hidden_by,
    pills_of,
)
from aisecops_server.entrypoints.web.visitor import Page, Visitor

PAGE = 50
_WORDS: Mapping[str, tuple[str, ...]] = {"outcome": tuple(OUTCOMES), "trust": TRUSTS, "mode": tuple(MODES)}
_MOST_OFFERED = 120
_OFFERED_CHARACTERS = 120
# What names of one kind begin alike up to.
_PARTED_BY: Mapping[str, str] = {"agent": "/", "tool": "/", "rule": "."}
COLUMNS = (
    "started",
    "outcome",
    "intent",
    "agent",
    "trust",
    "rule",
    "gates",
    "tools",
    "effects",
    "plans",
    "steps",
    "lasted",
    "tokens",
    "cost",
    "budget",
    "policy",
)
_NUMBERS = ("plans", "steps", "lasted", "tokens", "cost", "budget")
# What is not shown until it is asked for.
_EXTRA = ("effects", "budget")
SHOWN = tuple(name for name in COLUMNS if name not in _EXTRA)
# What a list without traces offers: each line makes one, or makes an agent ask from then on.
_PLAN = (
    '{"intent": "Find an answer", "steps": [{"step_id": "find", "tool": "kb/search", "arguments": {"q": "refund"}}]}'
)
FIRST_LINES = (
    (
        "Ask about a plan yourself, in the name of an agent:",
        f"echo '{_PLAN}' | aisecops decide -f - --agent spiffe://corp.example/agent/support-assistant",
    ),
    ("Have a coding agent ask before each of its calls:", "aisecops hook install --client claude-code"),
    (
        "Put every tool server of an MCP client behind the control plane:",
        "aisecops mcp wrap claude_desktop_config.json --token-file agent.token",
    ),
)
# What leads to the trace; without it a row would lead nowhere.
_ALWAYS = "intent"


async def trace_list(visitor: Visitor) -> Page:
    """Show a page of traces; a query that cannot be read shows none, and says which word is wrong."""
    text, before = visitor.query("q"), visitor.query("before")
    columns, cols = _chosen(visitor.query("cols"))
    problem, query, found = "", TraceQuery(), api.ListTracesResponse()
    facets: api.ListTraceFacetsResponse | None = None
    to = partial(_place, cols=cols)
    try:
        query = read_query(text)
        request = api.ListTracesRequest(page_size=PAGE, page_token=before, filter=filter_of(query))
        found = await visitor.ask("AuditService/ListTraces", request, api.ListTracesResponse)
        # Who only looks whether there are newer traces does not ask for counts.
        facets = await facets_found(visitor, query) if visitor.query("counts") != "no" else None
    except InvalidRequestError as error:
        problem = error.diagnostics()
    view = {
        "text": text,
        "problem": problem,
        "traces": found.traces,
        "columns": columns,
        **_of_every_list(),
        "gate_legend": gate_legend() if "gates" in columns else (),
        "pills": await pills_of(visitor, query, to, facets),
        "cols": cols,
        "chooser": _chooser(columns, text),
        "facets": facet_views(facets, query, to),
        "counted": counted_note(facets),
        "hidden": await hidden_by(visitor, query, to) if query.terms and not (found.traces or before) else (),
        "first": address("/traces", q=text, cols=cols) if before else "",
        "more": address("/traces", q=text, cols=cols, before=found.next_page_token) if found.next_page_token else "",
        "narrowed": _narrowed(query, to),
        "to": lambda field, value: to(query.with_term(field, value)),
        "without": lambda field, value: to(query.leaving_out(field, value)),
        "terms": _terms(found.traces),
        "newest": address("/traces.json", q=text, counts="no"),
        "view": address("/traces", q=text, cols=cols),
        # A replay chooses decisions, which have no numbers, and a package is made of what was chosen.
        "replay_to": "" if query.narrow.numbers else address("/replays/new", q=text),
        "evidence_to": address("/evidence", q=text) if text else "",
    }
    return Page(
        "traces.html",
        "Traces",
        view,
        {"query": text, "problem": problem, "page": found, "facets": facets},
        "Traces",
        400 if problem else 200,
        command=() if problem else ("trace", "list", *(("--where", text) if text else ())),
    )


def _of_every_list() -> dict[str, Any]:
    """Return what every list shows, whatever was asked."""
    return {"numbers": _NUMBERS, "figure": _figure, "gates": GATES, "first_lines": FIRST_LINES}


def _place(query: TraceQuery, *, cols: str) -> str:
    """Return the address of the list under a query."""
    return address("/traces", q=query.written(), cols=cols)


def _figure(trace: event_pb2.TraceSummary, name: str) -> str:
    """Return a number of a trace as people read it; nothing where there is none."""
    match name:
        case "plans":
            return f"{trace.decisions:,}"
        case "steps":
            return f"{trace.steps:,}"
        case "lasted":
            seconds = (trace.last_at.ToNanoseconds() - trace.started_at.ToNanoseconds()) / 1e9
            return duration(seconds) if trace.decisions > 1 else ""
        case "tokens":
            return f"{trace.tokens:,}" if trace.tokens else ""
        case "cost":
            return dollars(trace.micro_usd) if trace.micro_usd else ""
        case _:
            return percent(trace.budget_share) if trace.budget_share else ""


def _terms(traces: Sequence[event_pb2.TraceSummary]) -> list[str]:
    """Return the terms that are offered: every word of a fixed field, and what the traces of the page hold."""
    fixed = {f"{field}:{value}": None for field, values in _WORDS.items() for value in values}
    held = dict.fromkeys(
        (field, value)
        for trace in traces
        for field, values in (
            ("tool", trace.tools),
            ("rule", trace.rules),
            ("agent", (trace.agent_id,)),
            ("revision", (trace.bundle_revision,)),
        )
        for value in values
        # What is offered has to show what it is.
        if value and len(value) <= _OFFERED_CHARACTERS and value.isprintable() and not hidden_count(value)
    )
    beginnings = dict.fromkeys(
        Term(field, value[: value.rindex(sign) + 1], relation=Relation.BEGINS).written()
        for field, value in held
        if (sign := _PARTED_BY.get(field, "")) and sign in value
    )
    words = [Term(field, value).written() for field, value in held]
    fields = dict.fromkeys(f"{field}:" for field in FIELDS)
    return [*fields, *fixed, *FORMS, *beginnings, *words][:_MOST_OFFERED]


def _chosen(text: str) -> tuple[tuple[str, ...], str]:
    """Return the columns that are wanted, in the order of the list, and how they stand in an address.

    Raises:
        InvalidRequestError: there is no such column.
    """
    if not text:
        return SHOWN, ""
    asked = text.split(".")
    if unknown := [name for name in asked if name not in COLUMNS]:
        raise InvalidRequestError(
            f"cols: there is no column '{unknown[0][:32]}'", hint=f"They are {', '.join(COLUMNS)}", field="cols"
        )
    columns = tuple(name for name in COLUMNS if name in asked or name == _ALWAYS)
    return columns, "" if columns == SHOWN else ".".join(columns)


def _chooser(columns: Sequence[str], text: str) -> list[tuple[str, str, bool]]:
    """Return each column that can be left out: its name, the address of the list with or without it, whether it is."""
    found = []
    for name in COLUMNS:
        if name != _ALWAYS:
            wanted = tuple(one for one in COLUMNS if (one in columns) != (one == name))
            cols = "" if wanted == SHOWN else ".".join(wanted)
            found.append((name, address("/traces", q=text, cols=cols), name in columns))
    return found


def _narrowed(query: TraceQuery, to: To) -> list[tuple[str, str, str]]:
    """Return each term with the address of the list without it, and of the list where it says the contrary."""
    return [
        (term.written(), to(query.without(term)), to(query.turned(term)) if can_be_turned(term) else "")
        for term in query.terms
    ]
