"""One byte form for one JSON value (RFC 8785, JSON Canonicalization Scheme), and its digest.

A document is made canonical once; the same bytes go to the engine, the hash, the store and the screen.
Numbers are integers within ±(2^53 - 1) or floats that the strict parser let in; keys are strings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import orjson
import rfc8785

# Recursive in spirit; spelled without a recursive alias so that pydantic and mypy agree on it.
JsonValue = None | bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]

SAFE_INTEGER = 2**53 - 1


def canonical_bytes(value: JsonValue) -> bytes:
    """Return the RFC 8785 form of ``value``.

    The fast writer sorts keys by code point and writes floats its own way, so it serves only values whose
    keys are ASCII and which hold no floats; everything else takes the reference writer.

    Raises:
        ValueError: the value has no canonical form (NaN, an unsafe integer, a lone surrogate).
    """
    if _is_plain(value):
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return rfc8785.dumps(value)


def digest(data: bytes) -> str:
    """Return the lower-case hexadecimal SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def _is_plain(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return all(key.isascii() and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, int):
        return -SAFE_INTEGER <= value <= SAFE_INTEGER
    return value is None or isinstance(value, str)
