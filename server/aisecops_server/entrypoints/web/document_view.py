"""The input document of a decision as lines, each of which can be linked by its JSON pointer.

Its parts fold one by one. A page holds ``MOST_LINES`` lines; what is left out is counted, and is in the page's data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

MOST_LINES = 600
# Deeper than policy's own documents are; beyond it a value stands on one line.
_MOST_DEPTH = 24


@dataclass(frozen=True, slots=True)
class DocumentLine:
    """One line; ``pointer`` is empty for one that only closes a bracket."""

    pointer: str
    depth: int
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class DocumentPart:
    """One member of the document with its lines, of which ``left_out`` are not shown."""

    name: str
    lines: Sequence[DocumentLine]
    left_out: int


@dataclass(frozen=True, slots=True)
class DocumentView:
    """The document for a page."""

    parts: Sequence[DocumentPart] = ()
    pointers: frozenset[str] = field(default_factory=frozenset)

    def to(self, pointer: str) -> str:
        """Return where the page shows what a pointer means; an empty string where it does not."""
        return f"?tab=evidence#{quote(pointer, safe='/~')}" if pointer in self.pointers else ""


def document_view(document: Mapping[str, Any]) -> DocumentView:
    """Return a document in parts; the first parts come first to their lines."""
    parts, room = [], MOST_LINES
    for name, value in document.items():
        lines = [*_lines(_below("", name), name, value, 0)]
        parts.append(DocumentPart(name, lines[:room], max(0, len(lines) - room)))
        room = max(0, room - len(lines))
    return DocumentView(parts, frozenset(line.pointer for part in parts for line in part.lines if line.pointer))


def _lines(pointer: str, name: str, value: Any, depth: int) -> Iterator[DocumentLine]:
    said = f"{json.dumps(name, ensure_ascii=False)}: " if name else ""
    below: Sequence[tuple[str, str, Any]] = ()
    if depth < _MOST_DEPTH and isinstance(value, dict):
        below = [(_below(pointer, key), key, one) for key, one in value.items()]
    elif depth < _MOST_DEPTH and isinstance(value, list):
        below = [(_below(pointer, str(at)), "", one) for at, one in enumerate(value)]
    if not below:
        yield DocumentLine(pointer, depth, said, json.dumps(value, ensure_ascii=False))
        return
    opened, closed = ("{", "}") if isinstance(value, dict) else ("[", "]")
    yield DocumentLine(pointer, depth, said, opened)
    for place, key, one in below:
        yield from _lines(place, key, one, depth + 1)
    yield DocumentLine("", depth, "", closed)


def _below(pointer: str, key: str) -> str:
    """Return the pointer of a member (RFC 6901)."""
    return f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
