"""One thing about a document that could have been otherwise, and a document in which some of them were.

A lever changes a copy. The document that was decided on is never touched, so what is found is always relative to it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aisecops_server.domain.formats.canonical import JsonValue


class LeverKind(StrEnum):
    """What kind of thing is otherwise. The order is that in which people can bring it about most easily."""

    GROUNDING = "GROUNDING"
    REQUEST = "REQUEST"
    APPROVAL = "APPROVAL"
    ARGUMENT = "ARGUMENT"
    CAPABILITY = "CAPABILITY"
    ENVIRONMENT = "ENVIRONMENT"
    BUDGET = "BUDGET"
    DELEGATION = "DELEGATION"
    TIME = "TIME"
    SOURCE = "SOURCE"
    DETECTION = "DETECTION"
    TEXT = "TEXT"
    HISTORY = "HISTORY"
    STEP = "STEP"
    GRANT = "GRANT"

    @property
    def ease(self) -> int:
        """Return the kind's place in that order."""
        return list(LeverKind).index(self)


@dataclass(frozen=True, slots=True)
class Edit:
    """One place of a document and what stands there instead; ``removes`` takes it out. A last ``-`` appends."""

    pointer: str
    value: JsonValue = None
    removes: bool = False


@dataclass(frozen=True, slots=True)
class Lever:
    """One thing that could have been otherwise, in words, and the edits that make it so."""

    kind: LeverKind
    words: str
    edits: tuple[Edit, ...] = field(hash=False)

    @property
    def number(self) -> int | float | None:
        """Return the number that it puts in the place of one, or nothing when it does something else."""
        only = self.edits[0] if len(self.edits) == 1 else None
        return None if only is None or only.removes else _number(only.value)

    def with_number(self, number: float) -> Lever:
        """Return the lever with another number in the place of its own, in its words too."""
        before, _, after = self.words.rpartition(str(self.number))
        return Lever(self.kind, f"{before}{number}{after}", (Edit(self.edits[0].pointer, number),))


def pointed(document: JsonValue, pointer: str) -> JsonValue:
    """Return what stands at an RFC 6901 pointer, or ``None`` when nothing does."""
    part = document
    for token in _tokens(pointer):
        part = _entry(part, token)
        if part is None:
            return None
    return part


def number_at(document: JsonValue, pointer: str) -> int | float | None:
    """Return the number at a pointer, if there is one."""
    return _number(pointed(document, pointer))


def token(key: str) -> str:
    """Return a key as one token of a pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def altered(document: Mapping[str, JsonValue], levers: Sequence[Lever]) -> dict[str, Any]:
    """Return a copy of ``document`` with ``levers`` pulled. What two of them change is as the last says."""
    made: dict[str, Any] = copy.deepcopy(dict(document))
    edits = [edit for lever in levers for edit in lever.edits]
    for edit in edits:
        if not edit.removes:
            _put(made, _tokens(edit.pointer), edit.value)
    # From behind, so that what is taken out of a list moves nothing that is still to be taken out.
    for place in sorted({_place(edit.pointer) for edit in edits if edit.removes}, reverse=True):
        _take_out(made, [str(word) for _, _, word in place])
    return made


def _tokens(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _place(pointer: str) -> tuple[tuple[int, int, str], ...]:
    return tuple((0, int(word), word) if word.isdecimal() else (1, 0, word) for word in _tokens(pointer))


def _entry(part: JsonValue, word: str) -> JsonValue:
    if isinstance(part, Mapping):
        return part.get(word)
    if isinstance(part, list) and word.isdecimal() and int(word) < len(part):
        entry: JsonValue = part[int(word)]
        return entry
    return None


def _put(document: JsonValue, tokens: Sequence[str], value: JsonValue) -> None:
    part = document
    for word in tokens[:-1]:
        part = _entry(part, word)
    # What is put in is a copy, so that no later edit changes a lever.
    fresh = copy.deepcopy(value)
    if isinstance(part, dict):
        part[tokens[-1]] = fresh
    elif isinstance(part, list) and tokens[-1] == "-":
        part.append(fresh)
    elif isinstance(part, list) and int(tokens[-1]) < len(part):
        part[int(tokens[-1])] = fresh


def _take_out(document: JsonValue, tokens: Sequence[str]) -> None:
    part = document
    for word in tokens[:-1]:
        part = _entry(part, word)
    if isinstance(part, dict):
        part.pop(tokens[-1], None)
    elif isinstance(part, list) and int(tokens[-1]) < len(part):
        del part[int(tokens[-1])]


def _number(value: JsonValue) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
