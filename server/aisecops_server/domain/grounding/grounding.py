"""Where each argument value of a plan was seen: the facts that provenance rules read.

Whatever was not searched is said: digest-only sources are listed as unsearched, and a bound that was hit sets
``truncated``. A value that is not found is not thereby innocent: rules ask for a place where it *was* found, never
for its absence.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.errors import InvalidPlanError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.formats.strict_json import parse_object
from aisecops_server.domain.grounding.argument_values import ArgumentValue, argument_values
from aisecops_server.domain.grounding.normal_form import normal_form, words
from aisecops_server.domain.grounding.request_words import Request, phrase_of
from aisecops_server.domain.grounding.source_text import (
    LARGE_SOURCE,
    SMALL_SOURCE,
    RecordReader,
    SourceText,
    json_scalars,
    source_texts,
)
from aisecops_server.domain.grounding.value_search import Sighting, ValueSearch
from aisecops_server.domain.plans.plan import ExecutionPlan, Step, StepId
from aisecops_server.domain.plans.provenance import Source, SourceId, SourceKind

SHORTEST_POINTER = 4
# What follows from a source takes a multiple of its room, so it is remembered of fewer than the sources themselves.
LONGEST_ORIGIN = 1024
SMALL_REMEMBERED = 128
LARGE_REMEMBERED = 16


@dataclass(frozen=True, slots=True)
class Grounding:
    """What grounding found, in the shapes of the input document.

    ``values`` holds ``ValuePart`` objects by step, ``summary`` is the ``GroundingPart``, ``request`` the
    ``RequestPart``, ``pointed_at`` names the sources whose origin the human named in some way, and ``given`` those of
    them whose address, path or id the human gave letter by letter.
    """

    values: Mapping[StepId, Sequence[JsonValue]]
    summary: JsonValue
    request: JsonValue
    pointed_at: frozenset[SourceId] = frozenset()
    given: frozenset[SourceId] = frozenset()


def ground(plan: ExecutionPlan, read_records: RecordReader = json_scalars) -> Grounding:
    """Find every value of every step of ``plan`` in every source of ``plan``. Pure and deterministic."""
    known = {source.id: source.content for source in plan.sources if source.content is not None}
    texts = source_texts(known, read_records)
    search = ValueSearch()
    held = {step.id: search.add_all(argument_values(step.arguments), _labels(step)) for step in plan.steps}
    for source, text in texts.items():
        search.read(source, text)
    prompts = [texts[source.id] for source in plan.sources if _is_prompt(source)]
    said = Request.of(prompts)
    binding = _Binding(texts, said)
    unsearched: list[JsonValue] = [source.id for source in plan.sources if source.content is None]
    pointed_at, given = _pointed_at(plan, prompts, said)
    return Grounding(
        values={step: list(_parts(search.results(held[step]), binding)) for step in held},
        summary={
            "complete": not unsearched and not search.unfinished,
            "unsearched": unsearched,
            "truncated": search.unfinished,
        },
        request=said.part(),
        pointed_at=pointed_at,
        given=given,
    )


class _Binding:
    """Which records of which sources the human named; each source is gone through once at most."""

    def __init__(self, texts: Mapping[SourceId, SourceText], said: Request) -> None:
        self.said = said
        self._texts = texts
        self._named: dict[SourceId, Mapping[int, set[str]]] = {}

    def is_bound(self, value: str, source: SourceId, records: Iterable[int]) -> bool:
        """Return whether a record that holds ``value`` also holds something else that the human named."""
        if source not in self._named:
            self._named[source] = self._named_in(self._texts[source]) if self.said.runs else {}
        named = self._named[source]
        return any(not named[record] <= {value} for record in records if record in named)

    def _named_in(self, text: SourceText) -> Mapping[int, set[str]]:
        phrases = _phrases(text)
        named: dict[int, set[str]] = {}
        for phrase in phrases.keys() & self.said.runs:
            for record, scalar in phrases[phrase]:
                named.setdefault(record, set()).add(scalar)
        return named


def _phrases(text: SourceText) -> Mapping[str, Sequence[tuple[int, str]]]:
    """Return the scalars of a source that could be said word by word, each with its record, by what would be said."""
    if len(text.scalars) > LARGE_SOURCE:
        return _phrases_in(text)
    return (_small if len(text.scalars) <= SMALL_SOURCE else _large)(text)


def _phrases_in(text: SourceText) -> Mapping[str, Sequence[tuple[int, str]]]:
    phrases: dict[str, list[tuple[int, str]]] = {}
    for record, scalar in text.recorded():
        if phrase := phrase_of(scalar):
            phrases.setdefault(phrase, []).append((record, scalar))
    return phrases


# Sources come back with every step of an agent, and so does what could be said of them.
_small = functools.lru_cache(maxsize=SMALL_REMEMBERED)(_phrases_in)
_large = functools.lru_cache(maxsize=LARGE_REMEMBERED)(_phrases_in)


def _parts(
    results: Iterable[tuple[ArgumentValue, Mapping[SourceId, Sighting]]], binding: _Binding
) -> Iterator[JsonValue]:
    links: set[str] = set()
    for value, found in results:
        # The host of a link matters where the link itself was seen nowhere: then it may be made up around the host.
        if value.of_link in links:
            continue
        if found and value.shape == "url":
            links.add(value.value)
        yield _part(value, found, binding)


def _part(value: ArgumentValue, found: Mapping[SourceId, Sighting], binding: _Binding) -> JsonValue:
    return {
        "pointer": value.pointer,
        "argument": value.argument,
        "shape": value.shape,
        "embedded": value.embedded,
        "value": value.value,
        "named": binding.said.names(value),
        "found": [
            {
                "source": source,
                "form": sighting.form(),
                "prose": sighting.prose(),
                "bound": bool(sighting.records) and binding.is_bound(value.needle, source, sighting.records),
            }
            for source, sighting in found.items()
        ],
    }


def _labels(step: Step) -> frozenset[str]:
    name = step.tool.partition("/")[2] + " " + " ".join(step.arguments)
    return frozenset(words(normal_form(name.replace("_", " ").replace("-", " "))))


def _is_prompt(source: Source) -> bool:
    return source.kind is SourceKind.USER_PROMPT and source.content is not None


def _pointed_at(
    plan: ExecutionPlan, prompts: Sequence[SourceText], said: Request
) -> tuple[frozenset[SourceId], frozenset[SourceId]]:
    """Return the sources whose origin, or an argument of the call that gave them, the human named, and gave.

    Whoever owns a page chooses words of its address, and a search for the human's words returns anybody's page; only
    an address, path or id that stands in the prompt is the human's own choice of a source.
    """
    search = ValueSearch()
    held = {source.id: search.add_all(_origins(source)) for source in plan.sources if source.tool or source.origin_uri}
    prompt = SourceId("prompt")
    for text in prompts:
        search.read(prompt, text)
    results = {source: list(search.results(indexes)) for source, indexes in held.items()}
    return (
        frozenset(
            source for source, seen in results.items() if any(found or said.names(value) for value, found in seen)
        ),
        frozenset(source for source, seen in results.items() if any(found and value.is_place for value, found in seen)),
    )


def _origins(source: Source) -> Sequence[ArgumentValue]:
    short = len(source.name) + len(source.origin_uri) <= LONGEST_ORIGIN
    return (_remembered_origins if short else _origins_in)(source.origin_uri, source.name)


def _origins_in(origin_uri: str, name: str) -> Sequence[ArgumentValue]:
    values = argument_values({"origin": origin_uri, **_call_arguments(name)})
    return tuple(value for value in values if not value.embedded and len(value.needle) >= SHORTEST_POINTER)


_remembered_origins = functools.lru_cache(maxsize=SMALL_REMEMBERED)(_origins_in)


def _call_arguments(name: str) -> Mapping[str, JsonValue]:
    # A tool result's name may be the arguments of its call; anything else is only a name.
    if not name.startswith("{"):
        return {}
    try:
        return parse_object(name.encode("utf-8", "surrogatepass"), field="name")
    except InvalidPlanError:
        return {}
