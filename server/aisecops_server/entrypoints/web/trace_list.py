"""The list of traces: newest first, narrowed by the query language, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping

from aisecops.v1 import audit_service_pb2 as api
from google.protobuf.timestamp_pb2 import Timestamp

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.trace_query import MODES, OUTCOMES, TRUSTS, TraceQuery, read_query
from aisecops_server.entrypoints.web.rendering import address
from aisecops_server.entrypoints.web.visitor import Page, Visitor

PAGE = 50
_FACETS: Mapping[str, tuple[str, ...]] = {"outcome": tuple(OUTCOMES), "trust": TRUSTS, "mode": tuple(MODES)}
_NS = 1_000_000_000


async def trace_list(visitor: Visitor) -> Page:
    """Show a page of traces; a query that cannot be read shows none, and says which word is wrong."""
    text, before = visitor.query("q"), visitor.query("before")
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
        "facets": _facets(query),
        "first": address("/traces", q=text) if before else "",
        "more": address("/traces", q=text, before=found.next_page_token) if found.next_page_token else "",
        "narrowed": _narrowed(query),
        "to": lambda field, value: address("/traces", q=query.with_term(field, value).written()),
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
    # `from` is a word of Python, so the field is reached by name.
    for stamp, moment in ((getattr(found, "from"), narrow.from_ns), (found.to, narrow.to_ns)):
        if moment:
            stamp.CopyFrom(Timestamp(seconds=moment // _NS))
    return found


def _facets(query: TraceQuery) -> list[tuple[str, list[tuple[str, str, bool]]]]:
    """Return the chips: for each field its values, each with where it leads and whether it is chosen."""
    return [
        (
            field,
            [
                (
                    value,
                    address(
                        "/traces", q=query.with_term(field, "" if query.value(field) == value else value).written()
                    ),
                    query.value(field) == value,
                )
                for value in values
            ],
        )
        for field, values in _FACETS.items()
    ]


def _narrowed(query: TraceQuery) -> list[tuple[str, str]]:
    """Return each term with the address of the list without it."""
    return [(term.written(), address("/traces", q=query.with_term(term.field, "").written())) for term in query.terms]
