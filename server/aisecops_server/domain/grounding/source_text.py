"""A source as it is searched: its normal form, and the scalars of the record that it may be.

Structure is only noted here. Whether a source's structure may be believed is for policy to say, by the tool
that gave it; text that merely looks like a record is worth no more than any other text.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import re2

from aisecops_server.domain.grounding.normal_form import normal_form, reread


@dataclass(frozen=True, slots=True)
class Scalar:
    """One key or value of a structured text, and the number of the top-level record that it belongs to.

    ``line`` is true when the only structure is that it stands on a line of its own, or behind a label there.
    """

    record: int
    text: str
    line: bool = False


# The scalars of a structured text in document order, or nothing if it has no structure worth the name.
RecordReader = Callable[[str], Sequence[Scalar] | None]

Id = TypeVar("Id", bound=str)

LONGEST_RECORD = 256 * 1024
LONGEST_RECORDS = 512 * 1024
MOST_SCALARS = 20_000
# Up to these sizes sources are remembered, this many of each: small ones recur step after step, and a listing that
# an agent carries along costs most to read again.
SMALL_SOURCE, SMALL_REMEMBERED = 8 * 1024, 512
LARGE_SOURCE, LARGE_REMEMBERED = 128 * 1024, 32
SHORTEST_LIST = 2
LONGEST_ITEM = 60
_BULLET = re2.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_SENTENCE = re2.compile(r"[.!?](?:\s|$)")
_SEPARATOR = "\n"  # Never part of a normal form, so nothing matches across two scalars.


@dataclass(frozen=True, slots=True)
class Span:
    """Where one scalar ends in the searched text, and its record."""

    end: int
    record: int
    line: bool


@dataclass(frozen=True, slots=True, eq=False)
class SourceText:
    """What is searched. ``spans`` maps the start of each scalar in ``scalars`` to its span.

    ``reread`` is the text read another way: percent-encoding undone, glued sentences parted. Two are the same only if
    they are one, so that what follows from one can be remembered beside it.
    """

    plain: str
    reread: str
    scalars: str
    spans: dict[int, Span]

    def recorded(self) -> Iterator[tuple[int, str]]:
        """Yield every scalar with the number of its record."""
        for start, span in self.spans.items():
            yield span.record, self.scalars[start : span.end]


def source_texts(contents: Mapping[Id, str], read_records: RecordReader) -> dict[Id, SourceText]:
    """Return the searchable forms of several sources.

    Only so much of them is read as records, because that costs far more than searching. What comes after is plain
    text, whose structure nobody can then believe.
    """
    texts: dict[Id, SourceText] = {}
    left = LONGEST_RECORDS
    for name, content in contents.items():
        left -= len(content)
        texts[name] = source_text(content, read_records if left >= 0 else None)
    return texts


def source_text(content: str, read_records: RecordReader | None) -> SourceText:
    """Return the searchable form of a source, without records if there is no reader of them.

    All but the largest are remembered, because an agent sends its sources again with every step.
    """
    if len(content) > LARGE_SOURCE:
        return _prepared(content, read_records)
    return (_small if len(content) <= SMALL_SOURCE else _large)(content, read_records)


def _prepared(content: str, read_records: RecordReader | None) -> SourceText:
    plain = normal_form(content)
    scalars, spans = _joined(_scalars(content, read_records))
    return SourceText(plain=plain, reread=reread(content, plain), scalars=scalars, spans=spans)


_small = functools.lru_cache(maxsize=SMALL_REMEMBERED)(_prepared)
_large = functools.lru_cache(maxsize=LARGE_REMEMBERED)(_prepared)


def json_scalars(text: str) -> Sequence[Scalar] | None:
    """Return the scalars and keys of a JSON object or array. Repeated keys are all kept, none wins."""
    if text.lstrip()[:1] not in {"{", "["}:
        return None
    try:
        tree = json.loads(text, object_pairs_hook=_Pairs, parse_float=str, parse_int=str, parse_constant=str)
        tops = tree if isinstance(tree, list) and not isinstance(tree, _Pairs) else [tree]
        return [Scalar(number, leaf) for number, top in enumerate(tops) for leaf in _leaves(top)]
    except (ValueError, RecursionError):
        return None


class _Pairs(list[tuple[str, object]]):
    """The members of one JSON object, none dropped."""


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, _Pairs):
        for key, item in value:
            yield key
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _scalars(content: str, read_records: RecordReader | None) -> Sequence[Scalar]:
    if read_records is None or len(content) > LONGEST_RECORD:
        return ()
    found = json_scalars(content)
    if found is None:
        found = read_records(content)
    if found is None:
        found = list(_lines(content))
    return found if len(found) <= MOST_SCALARS else ()


def _lines(content: str) -> Iterator[Scalar]:
    """Yield the items of a plain list: lines that are too short and too bare to be sentences."""
    rows = content.splitlines()
    if len(rows) < SHORTEST_LIST:
        return
    for number, row in enumerate(rows):
        item = _BULLET.sub("", row, 1).strip()
        if not item or len(item) > LONGEST_ITEM or _SENTENCE.search(item):
            continue
        label, _, rest = item.partition(": ")
        for part in [label, *rest.split(", ")] if rest else item.split(", "):
            yield Scalar(number, part, line=True)


def _joined(scalars: Sequence[Scalar]) -> tuple[str, dict[int, Span]]:
    pieces: list[str] = []
    spans: dict[int, Span] = {}
    at = 0
    for scalar in scalars:
        form = normal_form(scalar.text)
        if form:
            spans[at] = Span(at + len(form), scalar.record, scalar.line)
            pieces.append(form)
            at += len(form) + len(_SEPARATOR)
    return _SEPARATOR.join(pieces), spans
