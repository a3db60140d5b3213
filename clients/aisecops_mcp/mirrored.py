"""Arguments that a tool's definition wants repeated as headers (``x-mcp-header``, 2026-07-28).

They are written to a server from the arguments that are sent to it, and what a client wrote has to be what its
arguments say: a gateway on the way may have gone by them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PREFIX = "Mcp-Param-"
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}")
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?|")
_ENCODED = re.compile(r"=\?base64\?(.*)\?=")
_TYPES = frozenset({"string", "integer", "boolean"})
_DEEPEST = 32


@dataclass(frozen=True, slots=True)
class Mirrored:
    """One argument, by where it stands, and the header that repeats it; ``whole`` for one that is a whole number."""

    path: tuple[str, ...]
    header: str
    whole: bool = False

    def value(self, arguments: Any) -> str | None:
        """Return what the header has to say; ``None`` if there has to be none."""
        found = arguments
        for name in self.path:
            found = found.get(name) if isinstance(found, Mapping) else None
        if isinstance(found, bool):
            return "true" if found else "false"
        if self.whole and isinstance(found, float) and found.is_integer():
            found = int(found)
        return str(found) if isinstance(found, str | int | float) else None

    def says(self, header: str, wanted: str) -> bool:
        """Return whether a header says a value; a whole number is the same, however it is written."""
        given = decoded(header)
        return given == wanted or (self.whole and given is not None and re.sub(r"\.0+$", "", given) == wanted)


def mirrored_in(schema: Any) -> tuple[Mirrored, ...]:
    """Return which arguments a definition's schema wants repeated; none where two want the same header."""
    found = tuple(_found(schema, ()))
    names = [one.header.lower() for one in found]
    return found if len(set(names)) == len(names) else ()


def headers_for(mirrored: Sequence[Mirrored], arguments: Any) -> dict[str, str]:
    """Return the headers that repeat arguments."""
    values = {one.header: one.value(arguments) for one in mirrored}
    return {header: encoded(value) for header, value in values.items() if value is not None}


def encoded(value: str) -> str:
    """Return a text as a header may say it."""
    if _PLAIN.fullmatch(value) and not _ENCODED.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode('utf-8', 'surrogatepass')).decode('ascii')}?="


def decoded(value: str) -> str | None:
    """Return the text that a header says; ``None`` for what cannot be read in one way."""
    found = _ENCODED.fullmatch(value)
    if found is None:
        return value
    try:
        data = base64.b64decode(found[1], validate=True)
        return data.decode("utf-8") if base64.b64encode(data).decode("ascii") == found[1] else None
    except (binascii.Error, ValueError):
        return None


def differing(mirrored: Sequence[Mirrored], arguments: Any, headers: Mapping[str, Sequence[str]]) -> str:
    """Return the name of a header that does not say what the arguments say; empty if all do.

    ``headers`` are those of a request, by their names in small letters.
    """
    for one in mirrored:
        given, wanted = list(headers.get(one.header.lower(), ())), one.value(arguments)
        if wanted is None and given:
            return one.header
        if wanted is not None and (len(given) != 1 or not one.says(given[0], wanted)):
            return one.header
    return ""


def _found(schema: Any, path: tuple[str, ...]) -> Iterator[Mirrored]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping) or len(path) >= _DEEPEST:
        return
    for name, inner in properties.items():
        if not isinstance(inner, Mapping):
            continue
        token = inner.get("x-mcp-header")
        if isinstance(token, str) and _TOKEN.fullmatch(token) and inner.get("type") in _TYPES:
            yield Mirrored((*path, str(name)), PREFIX + token, whole=inner["type"] == "integer")
        yield from _found(inner, (*path, str(name)))
