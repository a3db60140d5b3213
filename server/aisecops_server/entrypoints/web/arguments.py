"""Where the values of a call's arguments came from, drawn on the arguments themselves.

The input document says for each value which sources hold it. Here the value is found again in the argument's own
text, so that a reader sees which characters are meant; a value that grounding brought to normal form (lower case,
other blanks) may not be found letter by letter, and then the whole argument is meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from aisecops_server.domain.display.words import lowest_trust, trust_word
from aisecops_server.entrypoints.web.markup import marked

_ESCAPES = (("~1", "/"), ("~0", "~"))


@dataclass(frozen=True, slots=True)
class Seen:
    """One value of an argument: where it stands in it, and in which sources it occurs."""

    value: str
    shape: str
    place: str
    named: bool
    sources: Sequence[tuple[str, str, str]]
    trust: str


@dataclass(frozen=True, slots=True)
class Argument:
    """One text of a call's arguments by its pointer, with what was seen of it."""

    pointer: str
    text: Markup
    seen: Sequence[Seen]


def arguments(step: Mapping[str, Any], trust_of: Mapping[str, str]) -> list[Argument]:
    """Return every argument of a step of the input document; ``trust_of`` is the settled trust of each source."""
    by_pointer: dict[str, list[Mapping[str, Any]]] = {}
    for value in step.get("values", []):
        by_pointer.setdefault(str(value["pointer"]), []).append(value)
    return [
        _argument(pointer, text, by_pointer.get(pointer, []), trust_of)
        for pointer, text in _texts("", step.get("arguments", {}))
    ]


def _argument(pointer: str, text: str, values: Sequence[Mapping[str, Any]], trust_of: Mapping[str, str]) -> Argument:
    seen, ranges = [], []
    for value in values:
        begin, end = _place(text, str(value["value"]))
        sources = [
            (str(found["source"]), str(found["form"]), trust_word(trust_of.get(str(found["source"]), "")))
            for found in value["found"]
        ]
        # A person's own word is what it is, whatever else holds it too.
        trust = _best([source[2] for source in sources]) if sources else ""
        place = f"{begin}–{end}" if end > begin else "the whole argument"
        seen.append(Seen(str(value["value"]), str(value["shape"]), place, bool(value["named"]), sources, trust))
        if sources and end > begin:
            ranges.append((begin, end, trust))
    return Argument(pointer, marked(text, _apart(ranges)), seen)


def _best(levels: Sequence[str]) -> str:
    order = ("trusted", "internal", "external", "unverified")
    return min(levels, key=order.index, default=lowest_trust(levels))


def _place(text: str, value: str) -> tuple[int, int]:
    folded = text.casefold()
    # Folding may change lengths; then places would be wrong, and none is given.
    at = folded.find(value.casefold()) if len(folded) == len(text) and value else -1
    return (at, at + len(value)) if at >= 0 else (0, 0)


def _apart(ranges: Sequence[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    """Yield ranges in order, leaving out those that overlap a larger one."""
    at = 0
    for begin, end, label in sorted(ranges, key=lambda one: (one[0], -one[1])):
        if begin >= at:
            yield begin, end, label
            at = end


def _texts(pointer: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _texts(f"{pointer}/{_escaped(str(name))}", part)
    elif isinstance(value, list):
        for at, part in enumerate(value):
            yield from _texts(f"{pointer}/{at}", part)
    else:
        yield pointer, value if isinstance(value, str) else _json_word(value)


def _escaped(name: str) -> str:
    for escape, character in reversed(_ESCAPES):
        name = name.replace(character, escape)
    return name


def _json_word(value: Any) -> str:
    return (
        {True: "true", False: "false", None: "null"}.get(value, str(value))
        if value in (True, False, None)
        else str(value)
    )
