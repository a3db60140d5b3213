"""What an input document lacks of today's schema, because the version that made it knew no such field.

A policy that reads such a field judges an old document by an absence that says nothing. So where an outcome differs,
and the candidate reads what is absent, the answer is that nobody can know.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from aisecops_server.domain.canonical import JsonValue
from aisecops_server.domain.input_document import SCHEMA_VERSION, InputDocument
from aisecops_server.domain.screen_document import ScreenDocument

# What a document holds in the place of a value that was taken out of it afterwards.
MASK = "$masked"


def missing_fields(document: JsonValue) -> tuple[str, ...]:
    """Return the required fields that ``document`` lacks, as pointers with ``*`` for any entry, sorted."""
    schema = _text_schema() if isinstance(document, Mapping) and document.get("kind") == "screen" else _schema()
    return tuple(sorted(set(_missing(document, schema, schema, ""))))


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


@functools.cache
def _schema() -> dict[str, Any]:
    return InputDocument.model_json_schema()


@functools.cache
def _text_schema() -> dict[str, Any]:
    return ScreenDocument.model_json_schema()


def _missing(value: JsonValue, part: Mapping[str, Any], whole: Mapping[str, Any], place: str) -> Iterator[str]:
    reference = part.get("$ref")
    if reference:
        part = whole["$defs"][reference.rpartition("/")[2]]
    if isinstance(value, Mapping):
        for name in part.get("required", ()):
            if name not in value:
                yield f"{place}/{name}"
        for name, inner in part.get("properties", {}).items():
            if name in value:
                yield from _missing(value[name], inner, whole, f"{place}/{name}")
    elif isinstance(value, list) and "items" in part:
        for entry in value:
            yield from _missing(entry, part["items"], whole, f"{place}/*")
