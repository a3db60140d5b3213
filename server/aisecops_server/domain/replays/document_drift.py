"""What an input document lacks of today's schema, because the version that made it knew no such field.

A policy that reads such a field judges an old document by an absence that says nothing. So where an outcome differs,
and the candidate reads what is absent, the answer is that nobody can know.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aisecops_server.domain.documents.input_document import SCHEMA_VERSION, InputDocument
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.screening.screen_document import ScreenDocument

# What a document holds in the place of a value that was taken out of it afterwards.
MASK = "$masked"


def missing_fields(document: JsonValue) -> tuple[str, ...]:
    """Return the required fields that ``document`` lacks, as pointers with ``*`` for any entry, sorted."""
    shape = _text_shape() if isinstance(document, Mapping) and document.get("kind") == "screen" else _shape()
    # Nearly every document is whole, and seeing that costs a fifth of naming places.
    return () if _is_whole(document, shape) else tuple(sorted(set(_missing(document, shape, ""))))


def read_by(names: Collection[str], fields: Collection[str]) -> tuple[str, ...]:
    """Return those of ``fields`` whose last part a policy mentions, ``names`` being all names that it mentions."""
    return tuple(field for field in sorted(fields) if field.rpartition("/")[2] in names)


def has_other_version(document: JsonValue) -> bool:
    """Return whether a document was made for another schema altogether."""
    return not isinstance(document, Mapping) or document.get("schema_version") != SCHEMA_VERSION


def is_masked(value: JsonValue) -> bool:
    """Return whether some value of a document was masked after the decision."""
    waiting = [value]
    for part in waiting:
        if isinstance(part, Mapping):
            if MASK in part:
                return True
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return False


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a part of a document must have: fields, shapes of fields that must have some, the shape of list entries.

    It ``is_flat`` when it must have fields and nothing else.
    """

    required: frozenset[str] = frozenset()
    parts: tuple[tuple[str, _Shape], ...] = ()
    entries: _Shape | None = None
    is_flat: bool = True

    @property
    def asks_nothing(self) -> bool:
        """Return whether everything has this shape."""
        return not self.required and self.is_flat


@functools.cache
def _shape() -> _Shape:
    schema = InputDocument.model_json_schema()
    return _read(schema, schema)


@functools.cache
def _text_shape() -> _Shape:
    schema = ScreenDocument.model_json_schema()
    return _read(schema, schema)


def _read(part: Mapping[str, Any], whole: Mapping[str, Any]) -> _Shape:
    """Return the shape that a part of a schema asks for."""
    reference = part.get("$ref")
    if reference:
        part = whole["$defs"][reference.rpartition("/")[2]]
    read = ((name, _read(inner, whole)) for name, inner in part.get("properties", {}).items())
    parts = tuple((name, shape) for name, shape in read if not shape.asks_nothing)
    items = _read(part["items"], whole) if "items" in part else _Shape()
    entries = None if items.asks_nothing else items
    return _Shape(frozenset(part.get("required", ())), parts, entries, is_flat=not parts and entries is None)


def _is_whole(value: JsonValue, shape: _Shape) -> bool:
    if isinstance(value, dict):
        if not value.keys() >= shape.required:
            return False
        for name, inner in shape.parts:
            part = value.get(name)
            if part is not None and not _is_whole(part, inner):
                return False
    elif shape.entries is not None and isinstance(value, list):
        return _are_whole(value, shape.entries)
    return True


def _are_whole(entries: Sequence[JsonValue], shape: _Shape) -> bool:
    if shape.is_flat:
        # Most of a document are such entries, and a call for each costs more than to look at it.
        required = shape.required
        return all(entry.keys() >= required for entry in entries if isinstance(entry, dict))
    return all(_is_whole(entry, shape) for entry in entries)


def _missing(value: JsonValue, shape: _Shape, place: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (f"{place}/{name}" for name in shape.required - value.keys())
        for name, inner in shape.parts:
            yield from _missing(value.get(name), inner, f"{place}/{name}")
    elif isinstance(value, list) and shape.entries is not None:
        for entry in value:
            yield from _missing(entry, shape.entries, f"{place}/*")
