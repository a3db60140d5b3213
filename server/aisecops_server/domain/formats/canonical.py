"""One byte form for one JSON value (RFC 8785, JSON Canonicalization Scheme), and its digest.

A document is made canonical once; the same bytes go to the engine, the hash, the store and the screen.
Numbers are integers within ±(2^53 - 1) or floats that the strict parser let in; keys are strings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

import orjson
import rfc8785

# Recursive in spirit; spelled without a recursive alias so that pydantic and mypy agree on it.
JsonValue = None | bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]

SAFE_INTEGER = 2**53 - 1
# From here to the safe integers, every writer of shortest fractions uses plain decimals.
_SMALLEST_ORDINARY = 1e-4
_SCALARS = frozenset({str, int, bool, type(None)})


def canonical_bytes(value: JsonValue) -> bytes:
    """Return the RFC 8785 form of ``value``.

    The fast writer sorts keys by code point and spells some floats its own way, so it serves only values whose
    keys are ASCII and whose floats are ordinary fractions; everything else takes the reference writer.

    Raises:
        ValueError: the value has no canonical form (NaN, an unsafe integer, a lone surrogate).
    """
    try:
        if _is_plain(value):
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER)
        if isinstance(value, dict) and all(isinstance(key, str) and key.isascii() for key in value):
            # Only the members that need it take the slow writer.
            members = (orjson.dumps(key) + b":" + canonical_bytes(value[key]) for key in sorted(value))
            return b"{" + b",".join(members) + b"}"
        return rfc8785.dumps(value)
    except (orjson.JSONEncodeError, UnicodeEncodeError, RecursionError) as error:
        raise ValueError("the value has no canonical form") from error


def digest(data: bytes) -> str:
    """Return the lower-case hexadecimal SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def _is_plain(value: JsonValue) -> bool:
    # Whole containers are judged by the set of their members' types, which costs no Python per member.
    waiting: list[object] = [value]
    for part in waiting:
        if isinstance(part, dict):
            if not all(map(str.isascii, part)):
                return False
            members: Collection[object] = part.values()
        elif isinstance(part, (list, tuple)):
            members = part
        elif type(part) in _SCALARS or (type(part) is float and _is_ordinary(part)):
            continue
        else:
            return False
        if not _SCALARS.issuperset(map(type, members)):
            waiting += [member for member in members if type(member) not in _SCALARS]
    return True


def _is_ordinary(number: float) -> bool:
    return _SMALLEST_ORDINARY <= abs(number) < SAFE_INTEGER and not number.is_integer()
