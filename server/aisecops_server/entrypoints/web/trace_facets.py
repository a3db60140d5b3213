"""Beside the list of traces: the values to narrow it by, each with how many traces it leaves, and what hides all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aisecops.v1 import audit_service_pb2 as api

from aisecops_server.domain.display.words import short_revision
from aisecops_server.domain.traces.trace_query import MODES, OUTCOMES, TRUSTS, TraceQuery, read_query
from aisecops_server.entrypoints.trace_terms import filter_of
from aisecops_server.entrypoints.web.addresses import agent_word
from aisecops_server.entrypoints.web.visitor import Visitor

# Of a query that finds nothing so many terms are tried without, in the order in which they stand.
MOST_TRIED = 8
_CALL = "AuditService/ListTraceFacets"
_FIXED: Mapping[str, tuple[str, ...]] = {"outcome": tuple(OUTCOMES), "trust": TRUSTS, "mode": tuple(MODES)}
_ON_THE_WIRE: Mapping[str, Mapping[str, str]] = {"outcome": OUTCOMES, "mode": MODES}
_SHORTENED: Mapping[str, Callable[[str], str]] = {"agent": agent_word, "revision": short_revision}
_OPEN = ("agent", "tool", "effect", "rule", "revision")
# What an investigation asks first, as terms of the query: one click each.
PILLS: Mapping[str, str] = {
    "not allowed": "-outcome:allowed",
    "untrusted source": "trust:<internal",
    "writes": "effect:changing",
    "slow": "lasted:>1m",
    "budget > 80 %": "budget:>80%",
}
# Pills that ask for some values of a field that is counted anyway: their traces are counted with it.
_VALUES: Mapping[str, frozenset[str]] = {
    "outcome": frozenset(value for word, value in OUTCOMES.items() if word != "allowed"),
    "trust": frozenset({"external", "unverified"}),
}
To = Callable[[TraceQuery], str]


@dataclass(frozen=True, slots=True)
class ChoiceView:
    """One value: its word, how many traces have it, where it leads, and where it is left out."""

    word: str
    count: str
    to: str
    without: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class FacetView:
    """One field with its values. ``is_fixed`` where they are always the same; ``more`` says what is not shown."""

    field: str
    choices: tuple[ChoiceView, ...]
    is_fixed: bool
    more: str = ""


@dataclass(frozen=True, slots=True)
class PillView:
    """What is asked first, in one word: its term, where the list has it or lacks it, and how many traces then are."""

    word: str
    term: str
    to: str
    count: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class HiddenView:
    """One term of a query that finds nothing: what it is, where it is dropped, and what then is there."""

    term: str
    to: str
    count: str


async def facets_found(visitor: Visitor, query: TraceQuery) -> api.ListTraceFacetsResponse | None:
    """Return how many traces have each value under a query; ``None`` where it cannot be told."""
    found, _ = await visitor.attempt(
        _CALL, api.ListTraceFacetsRequest(filter=filter_of(query)), api.ListTraceFacetsResponse
    )
    return found


def facet_views(found: api.ListTraceFacetsResponse | None, query: TraceQuery, to: To) -> list[FacetView]:
    """Return what to narrow by: the fields of few values whatever was found, the others with what was found."""
    facets = {facet.field.removesuffix("_id"): facet for facet in (found.facets if found else ())}
    fixed = [
        FacetView(
            field,
            tuple(_choice(field, value, facets.get(field), query=query, to=to) for value in values),
            is_fixed=True,
        )
        for field, values in _FIXED.items()
    ]
    return fixed + [_opened(field, facets[field], query, to) for field in _OPEN if field in facets]


def counted_note(found: api.ListTraceFacetsResponse | None) -> str:
    """Return what is to be said of the counts: nothing where they are of every trace that matches."""
    parts = [facet for facet in (found.facets if found else ()) if not facet.whole]
    return "Counts with a + are of the newest traces that match, not of all" if parts else ""


async def pills_of(
    visitor: Visitor, query: TraceQuery, to: To, found: api.ListTraceFacetsResponse | None
) -> list[PillView]:
    """Return what is asked first, each with how many traces it leaves of those that the query finds.

    ``found`` is what was counted under the query; without it nothing is.
    """
    facets = {facet.field: facet for facet in (found.facets if found else ())}
    views = []
    for word, text in PILLS.items():
        term = read_query(text).terms[0]
        other, is_chosen = query.toggled(term), term in query.terms
        values, facet, count = _VALUES.get(term.field), facets.get(term.field), ""
        if values and facet:
            count = _number(sum(one.count for one in facet.values if one.value in values), is_whole=facet.whole)
        elif found:
            count = await _counted(visitor, query if is_chosen else other)
        views.append(PillView(word, text, to(other), count, is_chosen))
    return views


async def hidden_by(visitor: Visitor, query: TraceQuery, to: To) -> list[HiddenView]:
    """Return, for each of the first terms of a query that finds nothing, how many traces it alone hides."""
    views = []
    for term in query.terms[:MOST_TRIED]:
        rest = query.without(term)
        views.append(HiddenView(term.written(), to(rest), await _counted(visitor, rest)))
    return views


async def _counted(visitor: Visitor, query: TraceQuery) -> str:
    """Return how many traces a query finds, nothing where that cannot be told."""
    request = api.ListTraceFacetsRequest(filter=filter_of(query), count_only=True)
    found, _ = await visitor.attempt(_CALL, request, api.ListTraceFacetsResponse)
    return _number(found.counted, is_whole=found.whole) if found else ""


def _opened(field: str, facet: api.TraceFacet, query: TraceQuery, to: To) -> FacetView:
    choices = tuple(_choice(field, one.value, facet, query=query, to=to) for one in facet.values)
    return FacetView(field, choices, is_fixed=False, more=f"and {facet.left_out:,} more" if facet.left_out else "")


def _choice(field: str, value: str, facet: api.TraceFacet | None, *, query: TraceQuery, to: To) -> ChoiceView:
    stored = _ON_THE_WIRE.get(field, {}).get(value, value)
    is_chosen = query.value(field) == value
    count = ""
    if facet:
        number = next((one.count for one in facet.values if one.value == stored), 0)
        count = _number(number, is_whole=facet.whole)
    return ChoiceView(
        word=_SHORTENED[field](value) if field in _SHORTENED else value,
        count=count,
        to=to(query.with_term(field, "" if is_chosen else value)),
        without=to(query.leaving_out(field, value)),
        is_chosen=is_chosen,
    )


def _number(count: int, *, is_whole: bool) -> str:
    return f"{count:,}" if is_whole else f"{count:,}+"
