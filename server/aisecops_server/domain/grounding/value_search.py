"""Many values searched for in each source at once: where every value occurs, and how.

Few values are looked for one after another, which a plan's usually are; for more there is one automaton. Time is linear
in values plus sources; ``MOST_VALUES`` and ``MOST_MATCHES`` bound the rest, and hitting one of them is never silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import ahocorasick

from aisecops_server.domain.grounding.argument_values import ArgumentValue
from aisecops_server.domain.grounding.normal_form import continues_word, words
from aisecops_server.domain.grounding.source_text import SourceText
from aisecops_server.domain.plans.provenance import SourceId

MOST_VALUES = 512
MOST_MATCHES = 200_000
# So many texts are found sooner one by one than by an automaton that has to be built first.
FEW_NEEDLES = 12
# Shapes that are recognised even when glued to a label, a path or a list.
_DISTINCTIVE = frozenset({"email", "url", "host", "iban"})
_GLUE_OF_DISTINCTIVE = frozenset("-._@%+~")
_ANNOUNCING = frozenset("#'\"`«»“”„(=№\u2018\u2019")
_ANNOUNCED_WITHIN = 24
_BETWEEN = " :=."  # "id: 13", "no. 13"
_LABELS = frozenset({"id", "ids", "no", "nr", "num", "number", "nummer", "numero", "número", "item", "entry", "record"})
_GLUE = frozenset("-._@%+~/&")
_GLUE_OF_DIGITS = frozenset("-._@%+~/&:,")


@dataclass(slots=True)
class Sighting:
    """How often one needle occurs in one source: in all of it, as a whole scalar, inside a scalar."""

    plain: int = 0
    covering: bool = False
    fields: int = 0
    lines: int = 0
    inside: int = 0
    reread: int = 0
    records: set[int] = field(default_factory=set)

    def joined(self, other: Sighting) -> Sighting:
        """Return both together, for two spellings of one value."""
        return Sighting(
            plain=self.plain + other.plain,
            covering=self.covering or other.covering,
            fields=self.fields + other.fields,
            lines=self.lines + other.lines,
            inside=self.inside + other.inside,
            reread=self.reread + other.reread,
            records=self.records | other.records,
        )

    def form(self) -> str:
        """Return the best form in which the value occurs."""
        if self.covering:
            return "whole"
        if self.fields > self.lines:
            return "field"
        return "line" if self.lines else "text"

    def prose(self) -> bool:
        """Return whether the value also, or only, stands inside prose."""
        # More occurrences in the raw text than in its scalars: in a comment, or in some other corner of the format.
        return not self.covering and (self.inside > 0 or max(self.plain, self.reread) > self.fields + self.inside)


@dataclass(slots=True)
class Needle:
    """One text to search for, and where it was sighted. ``labels`` are the words that announce a short number.

    ``begins_word`` and ``ends_word`` say whether a neighbour there could make a longer word of it.
    """

    text: str
    distinctive: bool
    open_ended: bool
    begins_word: bool
    ends_word: bool
    labels: frozenset[str] = frozenset()
    found: dict[SourceId, Sighting] = field(default_factory=dict)

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
        """Return whether an occurrence is a token of its own rather than a part of a longer one."""
        return (not self.begins_word or self._free(text, start - 1, self.text[0], -1)) and (
            self.open_ended or not self.ends_word or self._free(text, end, self.text[-1], 1)
        )

    def _free(self, text: str, at: int, edge: str, step: int) -> bool:
        """Return whether the neighbour at ``at`` leaves the value a token of its own."""
        if not 0 <= at < len(text):
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


class ValueSearch:
    """All values of a plan, and what was found of them where."""

    def __init__(self, few: int = FEW_NEEDLES) -> None:
        self.truncated = False
        self.skipped = False
        self._few = few
        self._values: list[tuple[ArgumentValue, list[Needle]]] = []
        self._needles: dict[tuple[str, bool, bool], Needle] = {}
        self._sharing: dict[str, list[Needle]] = {}
        self._automaton: ahocorasick.Automaton | None = None
        self._matches = 0

    def add_all(self, values: Iterable[ArgumentValue], labels: frozenset[str] = frozenset()) -> range:
        """Add values and return where they stand; ``labels`` are words that announce a short number."""
        first = len(self._values)
        for value in values:
            if len(self._values) == MOST_VALUES:
                self.truncated = True
                break
            self.skipped |= value.partly_read
            self._values.append((value, [self._needle(value, text, labels) for text in value.spellings]))
        return range(first, len(self._values))

    @property
    def unfinished(self) -> bool:
        """Return whether something was left out: values, sources, or references inside a long text."""
        return self.truncated or self.skipped

    def read(self, source: SourceId, text: SourceText) -> None:
        """Search one source."""
        if not self._seal():
            return
        for start, end, needle in self._free_matches(text.plain):
            covering = end - start == len(text.plain)
            if covering or needle.refers(text.plain, start):
                sighting = needle.found.setdefault(source, Sighting())
                sighting.plain += 1
                sighting.covering |= covering
        for start, end, needle in self._free_matches(text.scalars):
            span = text.spans.get(start)
            if span is not None and (span.end == end or needle.open_ended):
                sighting = needle.found.setdefault(source, Sighting())
                sighting.fields += 1
                sighting.lines += span.line
                sighting.records.add(span.record)
            elif needle.refers(text.scalars, start):
                needle.found.setdefault(source, Sighting()).inside += 1
        for start, _, needle in self._free_matches(text.reread):
            if needle.refers(text.reread, start):
                needle.found.setdefault(source, Sighting()).reread += 1

    def results(self, indexes: range) -> Iterator[tuple[ArgumentValue, Mapping[SourceId, Sighting]]]:
        """Yield the values at ``indexes`` with their sightings."""
        for index in indexes:
            value, needles = self._values[index]
            yield value, _merged([needle.found for needle in needles])

    def _needle(self, value: ArgumentValue, text: str, labels: frozenset[str]) -> Needle:
        key = (text, value.shape in _DISTINCTIVE, value.open_ended)
        if key not in self._needles:
            self._needles[key] = Needle(*key, begins_word=continues_word(text[0]), ends_word=continues_word(text[-1]))
        if value.is_counter:
            self._needles[key].labels |= labels | _LABELS
        return self._needles[key]

    def _seal(self) -> bool:
        if not self._sharing:
            for needle in self._needles.values():
                self._sharing.setdefault(needle.text, []).append(needle)
            if len(self._sharing) > self._few:
                self._automaton = _automaton(self._sharing)
        return bool(self._needles) and not self.truncated

    def _free_matches(self, text: str) -> Iterator[tuple[int, int, Needle]]:
        for end, needles in self._all_matches(text) if text else ():
            self._matches += 1
            if self._matches > MOST_MATCHES:
                self.truncated = True
                return
            for needle in needles:
                start = end - len(needle.text)
                if needle.stands_free(text, start, end):
                    yield start, end, needle

    def _all_matches(self, text: str) -> Iterator[tuple[int, Sequence[Needle]]]:
        """Yield the end of every occurrence of every text, overlapping ones too."""
        if self._automaton is not None:
            for last, needles in self._automaton.iter(text):
                yield last + 1, needles
            return
        for form, needles in self._sharing.items():
            start = text.find(form)
            while start >= 0:
                yield start + len(form), needles
                start = text.find(form, start + 1)


def _automaton(sharing: Mapping[str, Sequence[Needle]]) -> ahocorasick.Automaton:
    automaton = ahocorasick.Automaton()
    for text, needles in sharing.items():
        automaton.add_word(text, needles)
    automaton.make_automaton()
    return automaton


def _merged(found: Sequence[Mapping[SourceId, Sighting]]) -> Mapping[SourceId, Sighting]:
    if len(found) == 1:
        return found[0]
    merged: dict[SourceId, Sighting] = {}
    for sightings in found:
        for source, sighting in sightings.items():
            merged[source] = merged[source].joined(sighting) if source in merged else sighting
    return merged
