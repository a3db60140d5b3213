"""The list of traces: newest first, narrowed by the query language, a page at a time, in the columns that are wanted.

Everything that a reader chose stands in the address, so a view of the list is a link.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aisecops.v1 import audit_service_pb2 as api
from google.protobuf.timestamp_pb2 import Timestamp

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.trace_query import MODES, OUTCOMES, TRUSTS, TraceQuery, read_query
from aisecops_server.entrypoints.web.rendering import address
from aisecops_server.entrypoints.web.visitor import Page, Visitor

PAGE = 50
_FACETS: Mapping[str, tuple[str, ...]] = {"outcome": tuple(OUTCOMES), "trust": TRUSTS, "mode": tuple(MODES)}
_NS = 1_000_000_000
COLUMNS = ("started", "outcome", "intent", "agent", "trust", "rule", "tools", "plans", "policy")
_TURNED = ("agent", "outcome", "tool", "rule", "trust", "revision", "mode")
# What leads to the trace; without it a row would lead nowhere.
_ALWAYS = "intent"


async def trace_list(visitor: Visitor) -> Page:
    """Show a page of traces; a query that cannot be read shows none, and says which word is wrong."""
    text, before = visitor.query("q"), visitor.query("before")
    columns = _columns(visitor.query("cols"))
    cols = "" if columns == COLUMNS else ".".join(columns)
    problem, query, found = "", TraceQuery(), api.ListTracesResponse()
    try:
        query = read_query(text)
        request = api.ListTracesRequest(page_size=PAGE, page_token=before, filter=filter_of(query))
        found = await visitor.ask("AuditService/ListTraces", request, api.ListTracesResponse)
    except InvalidRequestError as error:
        problem = error.diagnostics()
    view = {
        "query": query,
        "text": text,
        "problem": problem,
        "traces": found.traces,
        "columns": columns,
        "cols": cols,
        "chooser": _chooser(columns, text),
        "facets": _facets(query, cols),
        "first": address("/traces", q=text, cols=cols) if before else "",
        "more": address("/traces", q=text, cols=cols, before=found.next_page_token) if found.next_page_token else "",
        "narrowed": _narrowed(query, cols),
        "to": lambda field, value: address("/traces", q=query.with_term(field, value).written(), cols=cols),
        "without": lambda field, value: address("/traces", q=query.leaving_out(field, value).written(), cols=cols),
        "view": address("/traces", q=text, cols=cols),
    }
    return Page(
        "traces.html",
        "Traces",
        view,
        {"query": text, "problem": problem, "page": found},
        "Traces",
        400 if problem else 200,
    )


def filter_of(query: TraceQuery) -> api.TraceFilter:
    """Return a query as the API's filter."""
    narrow = query.narrow
    found = api.TraceFilter(
        agent_id=narrow.agent_id,
        outcome=narrow.outcome,
        tool=narrow.tool,
        rule=narrow.rule,
        trust=narrow.trust,
        revision=narrow.revision,
        mode=narrow.mode,
    )
    found.without.extend(api.TraceTerm(field=field, value=value) for field, value in narrow.without)
    # `from` is a word of Python, so the field is reached by name.
    for stamp, moment in ((getattr(found, "from"), narrow.from_ns), (found.to, narrow.to_ns)):
        if moment:
            stamp.CopyFrom(Timestamp(seconds=moment // _NS))
    return found


def refuse_left_out(query: TraceQuery) -> TraceQuery:
    """Return a query for what can only be narrowed.

    Raises:
        InvalidRequestError: a term of it leaves something out, which would be asked for all the same.
    """
    if query.narrow.without:
        raise InvalidRequestError(
            "a replay cannot leave anything out",
            hint="Take the terms that begin with '-' out of the query",
            field="q",
        )
    return query


def _columns(text: str) -> tuple[str, ...]:
    """Return the columns that are wanted, in the order of the list.

    Raises:
        InvalidRequestError: there is no such column.
    """
    if not text:
        return COLUMNS
    asked = text.split(".")
    if unknown := [name for name in asked if name not in COLUMNS]:
        raise InvalidRequestError(
            f"cols: there is no column '{unknown[0][:32]}'", hint=f"They are {', '.join(COLUMNS)}", field="cols"
        )
    return tuple(name for name in COLUMNS if name in asked or name == _ALWAYS)


def _chooser(columns: Sequence[str], text: str) -> list[tuple[str, str, bool]]:
    """Return each column that can be left out: its name, the address of the list with or without it, whether it is."""
    found = []
    for name in COLUMNS:
        if name != _ALWAYS:
            wanted = tuple(one for one in COLUMNS if (one in columns) != (one == name))
            cols = "" if wanted == COLUMNS else ".".join(wanted)
            found.append((name, address("/traces", q=text, cols=cols), name in columns))
    return found


def _facets(query: TraceQuery, cols: str) -> list[tuple[str, list[tuple[str, str, bool]]]]:
    """Return the chips: for each field its values, each with where it leads and whether it is chosen."""

    def to(field: str, value: str) -> str:
        wanted = "" if query.value(field) == value else value
        return address("/traces", q=query.with_term(field, wanted).written(), cols=cols)

    return [
        (field, [(value, to(field, value), query.value(field) == value) for value in values])
        for field, values in _FACETS.items()
    ]


def _narrowed(query: TraceQuery, cols: str) -> list[tuple[str, str, str]]:
    """Return each term with the address of the list without it, and of the list where it says the contrary."""
    found = []
    for term in query.terms:
        dropped = query.without(term)
        turned = ""
        if term.leaves_out:
            turned = dropped.with_term(term.field, term.value).written()
        elif term.field in _TURNED:
            turned = dropped.leaving_out(term.field, term.value).written()
        other = address("/traces", q=turned, cols=cols) if turned else ""
        found.append((term.written(), address("/traces", q=dropped.written(), cols=cols), other))
    return found
