"""Where each argument value of a plan was seen: the facts that provenance rules read.

One automaton over all values of the plan, one pass over each source: time is linear in arguments plus sources, and
``MOST_MATCHES`` and ``MOST_VALUES`` bound the rest. Whatever was not searched is said: digest-only sources are
listed as unsearched, and a bound that was hit sets ``truncated``. A value that is not found is not thereby
innocent: rules ask for a place where it *was* found, never for its absence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import ahocorasick

from aisecops_server.domain.argument_values import ArgumentValue, argument_values
from aisecops_server.domain.canonical import JsonValue
from aisecops_server.domain.normal_form import continues_word, normal_form, words
from aisecops_server.domain.plan import ExecutionPlan, Step, StepId
from aisecops_server.domain.provenance import Source, SourceId, SourceKind
from aisecops_server.domain.request_words import Request
from aisecops_server.domain.source_text import RecordReader, SourceText, json_scalars, source_text

MOST_VALUES = 512
MOST_MATCHES = 200_000
SHORTEST_POINTER = 4
# Shapes that are recognised even when glued to a label, a path or a list.
_DISTINCTIVE = frozenset({"email", "url", "host", "iban"})
_GLUE_OF_DISTINCTIVE = frozenset("-._@%+~")
_ANNOUNCING = frozenset("#'\"`«»“”„(=№\u2018\u2019")
_ANNOUNCED_WITHIN = 24
_BETWEEN = " :=."  # "id: 13", "no. 13"
_LABELS = frozenset({"id", "ids", "no", "nr", "num", "number", "nummer", "numero", "número", "item", "entry", "record"})
_GLUE = frozenset("-._@%+~/&")
_GLUE_OF_DIGITS = frozenset("-._@%+~/&:,")


@dataclass(frozen=True, slots=True)
class Grounding:
    """What grounding found, in the shapes of the input document.

    ``values`` holds ``ValuePart`` objects by step, ``summary`` is the ``GroundingPart``, ``request`` the
    ``RequestPart``, and ``pointed_at`` names the sources whose origin the human named.
    """

    values: Mapping[StepId, Sequence[JsonValue]]
    summary: JsonValue
    request: JsonValue
    pointed_at: frozenset[SourceId] = frozenset()


def ground(plan: ExecutionPlan, read_records: RecordReader = json_scalars) -> Grounding:
    """Find every value of every step of ``plan`` in every source of ``plan``. Pure and deterministic."""
    texts = {
        source.id: source_text(source.content, read_records) for source in plan.sources if source.content is not None
    }
    search = _Search()
    held = {step.id: search.add_all(argument_values(step.arguments), _labels(step)) for step in plan.steps}
    for source, text in texts.items():
        search.read(source, text)
    prompts = [texts[source.id] for source in plan.sources if _is_prompt(source)]
    said = Request.of(prompts)
    binding = _Binding(texts, said)
    unsearched: list[JsonValue] = [source.id for source in plan.sources if source.content is None]
    return Grounding(
        values={step: [_part(*result, binding) for result in search.results(held[step])] for step in held},
        summary={
            "complete": not unsearched and not search.truncated,
            "unsearched": unsearched,
            "truncated": search.truncated,
        },
        request=said.part(),
        pointed_at=_pointed_at(plan, prompts),
    )


@dataclass(slots=True)
class _Sighting:
    """How often one needle occurs in one source: in all of it, as a whole scalar, inside a scalar."""

    plain: int = 0
    covering: bool = False
    fields: int = 0
    lines: int = 0
    inside: int = 0
    reread: int = 0
    records: set[int] = field(default_factory=set)

    def joined(self, other: _Sighting) -> _Sighting:
        """Return both together, for two spellings of one value."""
        return _Sighting(
            plain=self.plain + other.plain,
            covering=self.covering or other.covering,
            fields=self.fields + other.fields,
            lines=self.lines + other.lines,
            inside=self.inside + other.inside,
            reread=self.reread + other.reread,
            records=self.records | other.records,
        )

    def form(self) -> str:
        if self.covering:
            return "whole"
        if self.fields > self.lines:
            return "field"
        return "line" if self.lines else "text"

    def prose(self) -> bool:
        # More occurrences in the raw text than in its scalars: in a comment, or in some other corner of the format.
        return not self.covering and (self.inside > 0 or max(self.plain, self.reread) > self.fields + self.inside)


@dataclass(slots=True)
class _Needle:
    text: str
    distinctive: bool
    open_ended: bool
    labels: frozenset[str] = frozenset()
    found: dict[SourceId, _Sighting] = field(default_factory=dict)

    def refers(self, text: str, start: int) -> bool:
        """Return whether an occurrence inside prose refers to something: a short number must be announced.

        "File 13", "ID '13'" and "#13" refer; "June 13" and "13. Serve" do not.
        """
        if not self.labels:
            return True
        before = text[max(0, start - _ANNOUNCED_WITHIN) : start].rstrip(_BETWEEN)
        if not before or not continues_word(before[-1]):
            return bool(before) and before[-1] in _ANNOUNCING
        return any(word in self.labels for word in words(before)[-1:])

    def stands_free(self, text: str, start: int, end: int) -> bool:
        return self._free(text, start - 1, self.text[0], -1) and (
            self.open_ended or self._free(text, end, self.text[-1], 1)
        )

    def _free(self, text: str, at: int, edge: str, step: int) -> bool:
        """Return whether the neighbour at ``at`` leaves the value a token of its own."""
        if not 0 <= at < len(text) or not continues_word(edge):
            return True
        neighbour = text[at]
        if continues_word(neighbour):
            return False
        beyond = text[at + step] if 0 <= at + step < len(text) else " "
        return not continues_word(beyond) or neighbour not in self._glue(edge, beyond)

    def _glue(self, edge: str, beyond: str) -> frozenset[str]:
        if self.distinctive:
            return _GLUE_OF_DISTINCTIVE
        return _GLUE_OF_DIGITS if edge.isdigit() and beyond.isdigit() else _GLUE


class _Search:
    """The automaton over all values, and what it found where."""

    def __init__(self) -> None:
        self.truncated = False
        self._values: list[tuple[ArgumentValue, list[_Needle]]] = []
        self._needles: dict[tuple[str, bool, bool], _Needle] = {}
        self._automaton = ahocorasick.Automaton()
        self._matches = 0
        self._sealed = False

    def add_all(self, values: Iterable[ArgumentValue], labels: frozenset[str] = frozenset()) -> range:
        """Add values and return where they stand; ``labels`` are words that announce a short number."""
        first = len(self._values)
        for value in values:
            if len(self._values) == MOST_VALUES:
                self.truncated = True
                break
            self._values.append((value, [self._needle(value, text, labels) for text in value.spellings]))
        return range(first, len(self._values))

    def read(self, source: SourceId, text: SourceText) -> None:
        """Search one source."""
        if not self._seal():
            return
        for start, end, needle in self._free_matches(text.plain):
            covering = end - start == len(text.plain)
            if covering or needle.refers(text.plain, start):
                sighting = needle.found.setdefault(source, _Sighting())
                sighting.plain += 1
                sighting.covering |= covering
        for start, end, needle in self._free_matches(text.scalars):
            span = text.spans.get(start)
            if span is not None and (span.end == end or needle.open_ended):
                sighting = needle.found.setdefault(source, _Sighting())
                sighting.fields += 1
                sighting.lines += span.line
                sighting.records.add(span.record)
            elif needle.refers(text.scalars, start):
                needle.found.setdefault(source, _Sighting()).inside += 1
        for start, _, needle in self._free_matches(text.reread):
            if needle.refers(text.reread, start):
                needle.found.setdefault(source, _Sighting()).reread += 1

    def results(self, indexes: range) -> Iterator[tuple[ArgumentValue, Mapping[SourceId, _Sighting]]]:
        """Yield the values at ``indexes`` with their sightings."""
        for index in indexes:
            value, needles = self._values[index]
            yield value, _merged([needle.found for needle in needles])

    def _needle(self, value: ArgumentValue, text: str, labels: frozenset[str]) -> _Needle:
        key = (text, value.shape in _DISTINCTIVE, value.open_ended)
        if key not in self._needles:
            self._needles[key] = _Needle(*key)
        if value.is_counter:
            self._needles[key].labels |= labels | _LABELS
        return self._needles[key]

    def _seal(self) -> bool:
        if not self._sealed:
            sharing: dict[str, list[_Needle]] = {}
            for needle in self._needles.values():
                sharing.setdefault(needle.text, []).append(needle)
            for text, needles in sharing.items():
                self._automaton.add_word(text, needles)
            self._automaton.make_automaton()
            self._sealed = True
        return bool(self._needles) and not self.truncated

    def _free_matches(self, text: str) -> Iterator[tuple[int, int, _Needle]]:
        if not text:
            return
        for last, needles in self._automaton.iter(text):
            self._matches += 1
            if self._matches > MOST_MATCHES:
                self.truncated = True
                return
            for needle in needles:
                start, end = last + 1 - len(needle.text), last + 1
                if needle.stands_free(text, start, end):
                    yield start, end, needle


def _merged(found: Sequence[Mapping[SourceId, _Sighting]]) -> Mapping[SourceId, _Sighting]:
    if len(found) == 1:
        return found[0]
    merged: dict[SourceId, _Sighting] = {}
    for sightings in found:
        for source, sighting in sightings.items():
            merged[source] = merged[source].joined(sighting) if source in merged else sighting
    return merged


class _Binding:
    """Which records of which sources the human named, worked out once for each record that matters."""

    def __init__(self, texts: Mapping[SourceId, SourceText], said: Request) -> None:
        self.said = said
        self._texts = texts
        self._known: dict[tuple[SourceId, int], set[str]] = {}

    def is_bound(self, value: str, source: SourceId, records: Iterable[int]) -> bool:
        """Return whether a record that holds ``value`` also holds something else that the human named."""
        return any(self._named_in(source, record) - {value} for record in records)

    def _named_in(self, source: SourceId, record: int) -> set[str]:
        key = (source, record)
        if key not in self._known:
            self._known[key] = {scalar for scalar in self._texts[source].record(record) if self.said.phrases(scalar)}
        return self._known[key]


def _part(value: ArgumentValue, found: Mapping[SourceId, _Sighting], binding: _Binding) -> JsonValue:
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
                "bound": binding.is_bound(value.needle, source, sorted(sighting.records)),
            }
            for source, sighting in found.items()
        ],
    }


def _labels(step: Step) -> frozenset[str]:
    name = step.tool.partition("/")[2] + " " + " ".join(step.arguments)
    return frozenset(words(normal_form(name.replace("_", " ").replace("-", " "))))


def _is_prompt(source: Source) -> bool:
    return source.kind is SourceKind.USER_PROMPT and source.content is not None


def _pointed_at(plan: ExecutionPlan, prompts: Sequence[SourceText]) -> frozenset[SourceId]:
    """Return the sources whose origin, or an argument of the call that gave them, the human named."""
    search = _Search()
    held = {source.id: search.add_all(_origins(source)) for source in plan.sources if source.tool or source.origin_uri}
    prompt = SourceId("prompt")
    for text in prompts:
        search.read(prompt, text)
    return frozenset(source for source, indexes in held.items() if any(found for _, found in search.results(indexes)))


def _origins(source: Source) -> Iterator[ArgumentValue]:
    named = [scalar.text for scalar in json_scalars(source.name) or ()]
    for value in argument_values({"origin": source.origin_uri, "name": named}):
        if not value.embedded and len(value.needle) >= SHORTEST_POINTER:
            yield value
