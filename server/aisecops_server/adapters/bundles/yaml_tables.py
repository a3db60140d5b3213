"""Reads the YAML that people edit in a policy repository, into plain JSON values.

Only what means the same to every reader is accepted, in the manner of YAML 1.2: ``true`` and ``false`` are the only
booleans, so ``NO`` is Norway; numbers are decimal; dates, hexadecimal and everything else plain is a string. Refused,
with file and line: tags, merge keys, duplicate or non-string keys, numbers that readers disagree on, several documents,
aliases that multiply (they are counted and never expanded), and deep nesting.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.formats.canonical import SAFE_INTEGER, JsonValue

MAX_ALIASES = 256
MAX_VALUES = 500_000
MAX_DEPTH = 32

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_SAFE_DIGITS = len(str(SAFE_INTEGER))

# libyaml when PyYAML was built with it, because the loader in Python needs seconds for a large table. Only its
# events are used: its composer recurses in C, and a deeply nested file would end the process.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(path: str, content: bytes) -> JsonValue:
    """Return the one document of a YAML (or JSON) file.

    Raises:
        BundleRejectedError: the file is not UTF-8, not YAML, or uses what this module refuses.
    """
    try:
        text = content.decode("utf-8-sig")
        return _Reader(path, iter(yaml.parse(text, Loader=_Loader))).document()
    except UnicodeDecodeError as error:
        raise _refused(path, 0, "the file is not UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        why = getattr(error, "problem", None) or "it holds characters that YAML does not allow"
        raise _refused(path, mark.line + 1 if mark else 0, str(why)) from error


@dataclass(frozen=True, slots=True)
class _Read:
    """A value, and how many values it stands for when its aliases are written out."""

    value: JsonValue
    size: int


@dataclass(slots=True)
class _Reader:
    """Makes values of events. What an alias repeats is made once and shared."""

    path: str
    events: Iterator[yaml.Event]
    anchors: dict[str, _Read] = field(default_factory=dict)
    aliases: int = 0

    def document(self) -> JsonValue:
        next(self.events)
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            raise self._refused(event, "the file is empty")
        value = self._read(next(self.events), 1).value
        next(self.events)
        if not isinstance(event := next(self.events), yaml.StreamEndEvent):
            raise self._refused(event, "the file holds more than one document")
        return value

    def _read(self, event: yaml.Event, depth: int) -> _Read:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if depth > MAX_DEPTH:
            raise self._refused(event, f"it is nested deeper than {MAX_DEPTH} levels")
        if not isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            raise self._refused(event, "a value is missing")
        if event.tag is not None:
            raise self._refused(event, f"the tag {event.tag!r} is not allowed")
        read = self._untagged(event, depth)
        if event.anchor is not None:
            # Only now, so that no alias can contain itself.
            self.anchors[event.anchor] = read
        return read

    def _untagged(self, event: yaml.Event, depth: int) -> _Read:
        if isinstance(event, yaml.ScalarEvent):
            return _Read(self._scalar(event), 1)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(event, depth)
        return self._mapping(event, depth)

    def _alias(self, event: yaml.AliasEvent) -> _Read:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise self._refused(event, f"it uses more than {MAX_ALIASES} aliases")
        if event.anchor not in self.anchors:
            raise self._refused(event, "an alias names nothing that stands whole before it")
        return self.anchors[event.anchor]

    def _sequence(self, start: yaml.Event, depth: int) -> _Read:
        items: list[JsonValue] = []
        size = 1
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            read = self._read(event, depth + 1)
            items.append(read.value)
            size = self._within(size + read.size, start)
        return _Read(items, size)

    def _mapping(self, start: yaml.Event, depth: int) -> _Read:
        items: dict[str, JsonValue] = {}
        size = 1
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self._key(event, depth)
            if key in items:
                raise self._refused(event, f"the key {key!r} stands twice")
            read = self._read(next(self.events), depth + 1)
            items[key] = read.value
            size = self._within(size + 1 + read.size, start)
        return _Read(items, size)

    def _key(self, event: yaml.Event, depth: int) -> str:
        key = self._read(event, depth + 1).value
        if not isinstance(key, str):
            raise self._refused(event, "a key is not a string; write it in quotes")
        if key == "<<":
            raise self._refused(event, "merge keys are not allowed; write the fields out")
        return key

    def _scalar(self, event: yaml.ScalarEvent) -> JsonValue:
        text: str = event.value
        if not event.implicit[0]:
            return text
        if text in _NULLS:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        number = _number(text)
        if number is None:
            return text
        if not math.isfinite(number) or abs(number) > SAFE_INTEGER:
            raise self._refused(event, f"the number {text[:40]} is beyond what every reader keeps exactly")
        return number

    def _within(self, size: int, event: yaml.Event) -> int:
        if size > MAX_VALUES:
            raise self._refused(event, f"it expands to more than {MAX_VALUES:,} values")
        return size

    def _refused(self, event: yaml.Event, why: str) -> BundleRejectedError:
        return _refused(self.path, event.start_mark.line + 1 if event.start_mark else 0, why)


def _number(text: str) -> int | float | None:
    """Return what a plain scalar counts, if it is a decimal number and nothing else."""
    digits = text[1:] if text[0] in "+-" else text
    if digits.isascii() and digits.isdigit():
        if digits[0] == "0" and digits != "0":
            return None
        return int(text) if len(digits) <= _SAFE_DIGITS else math.inf
    whole, point, _ = digits.partition(".")
    exponent = digits.lower().partition("e")[2]
    # Without a point, or a sign in the exponent, readers disagree on whether it is a number or a name (12e5).
    if (
        not point
        or (exponent and exponent[0] not in "+-")
        or set(whole) - set("0123456789")
        or set(digits) - set("0123456789.eE+-")
    ):
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _refused(path: str, line: int, why: str) -> BundleRejectedError:
    where = f"{path}:{line}" if line else path
    return BundleRejectedError(
        f"{where}: {why}", hint="Mend the file and push a new commit", file=path, line=str(line) if line else ""
    )
