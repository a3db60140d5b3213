"""How many traces have each value of a field, under a filter.

A field that the filter itself asks for is counted as if it did not, so that what else could be asked for is told too.
Counting goes from the newest trace on and ends after a number of them; whoever shows a count says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from aisecops_server.domain.log.record import TraceFilter, TraceSummary
from aisecops_server.domain.log.trace_match import BUDGET, COST, EFFECT, LASTED, PLANS, STEPS, TOKENS

FACETS = ("outcome", "trust", "mode", "agent_id", "tool", "rule", "revision", EFFECT)
MOST_COUNTED = 5_000
MOST_VALUES = 20
_LAST_NS = 1 << 63


@dataclass(frozen=True, slots=True)
class FacetValue:
    """One value of a field, and how many of the counted traces have it."""

    value: str
    count: int


@dataclass(frozen=True, slots=True)
class Facet:
    """A field's values, the commonest first; ``left_out`` are how many more there are among the counted traces.

    ``counted`` traces were looked at, the newest; ``is_whole`` where there are no more.
    """

    field: str
    values: tuple[FacetValue, ...]
    left_out: int
    counted: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class TraceFacets:
    """What a filter finds: ``counted`` traces, all of them where ``is_whole``, and the values of fields."""

    counted: int
    is_whole: bool
    facets: tuple[Facet, ...] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """How many traces were counted, whether those are all, and how often each value of each field came up."""

    traces: int
    is_whole: bool
    values: Mapping[str, Mapping[str, int]]


def questions(narrow: TraceFilter, fields: Sequence[str]) -> list[tuple[TraceFilter, tuple[str, ...]]]:
    """Return what is to be counted: filters, each with the fields whose values it counts; the first is ``narrow``."""
    asked = [field for field in fields if asks_for(narrow, field)]
    rest = tuple(field for field in fields if field not in asked)
    return [(narrow, rest), *((_without(narrow, field), (field,)) for field in asked)]


def asks_for(narrow: TraceFilter, field: str) -> bool:
    """Return whether a filter wants something of a field."""
    return bool(getattr(narrow, field, "")) or any(one.field == field and not one.leaves_out for one in narrow.words)


def facets_of(counted: Sequence[Counted], fields: Sequence[str]) -> TraceFacets:
    """Return the facets of what was counted for each of ``questions``."""
    found = {field: one for one in counted for field in one.values}
    return TraceFacets(
        counted[0].traces, counted[0].is_whole, tuple(_facet(field, found[field]) for field in fields if field in found)
    )


def held(summary: TraceSummary) -> dict[str, tuple[str, ...]]:
    """Return what a trace has in each field."""
    return {
        "outcome": (summary.outcome,),
        "trust": (summary.lowest_trust,),
        "mode": (summary.mode,),
        "agent_id": summary.agents,
        "tool": summary.tools,
        "rule": summary.rules,
        "revision": (summary.bundle_revision,),
        EFFECT: summary.effects,
    }


def numbers_of(summary: TraceSummary) -> dict[str, int]:
    """Return the numbers of a trace."""
    return {
        PLANS: summary.decisions,
        LASTED: summary.last_at_ns - summary.started_at_ns,
        STEPS: summary.steps,
        TOKENS: summary.tokens,
        COST: summary.micro_usd,
        BUDGET: summary.budget_share,
    }


def fits(summary: TraceSummary, narrow: TraceFilter) -> bool:
    """Return whether a trace is one of those that a filter finds."""
    has, numbers = held(summary), numbers_of(summary)
    asked = ((getattr(narrow, name, ""), values) for name, values in has.items())
    in_time = narrow.from_ns <= summary.started_at_ns < (narrow.to_ns or _LAST_NS)
    left_out = any(value in has[name] for name, value in narrow.without)
    return (
        in_time
        and not left_out
        and all(not wanted or wanted in values for wanted, values in asked)
        and all(match.fits(has[match.field]) for match in narrow.words)
        and all(match.fits(numbers[match.field]) for match in narrow.numbers)
    )


def count(summaries: Iterable[TraceSummary], fields: Sequence[str]) -> Counted:
    """Count traces one by one, the newest first."""
    values: dict[str, Counter[str]] = {field: Counter() for field in fields}
    remaining = iter(summaries)
    traces = 0
    for summary in islice(remaining, MOST_COUNTED):
        traces += 1
        has = held(summary)
        for field, counter in values.items():
            counter.update(has[field])
    return Counted(traces, next(remaining, None) is None, values)


def _facet(field: str, counted: Counted) -> Facet:
    there = [FacetValue(value, number) for value, number in counted.values[field].items() if number and value]
    there.sort(key=lambda one: (-one.count, one.value))
    left_out = max(0, len(there) - MOST_VALUES)
    return Facet(field, tuple(there[:MOST_VALUES]), left_out, counted.traces, counted.is_whole)


def _without(narrow: TraceFilter, field: str) -> TraceFilter:
    words = tuple(one for one in narrow.words if one.field != field or one.leaves_out)
    nothing: dict[str, Any] = {field: ""} if hasattr(narrow, field) else {}
    return replace(narrow, words=words, **nothing)
