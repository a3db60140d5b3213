"""One byte form for the arguments of a call (RFC 8785), and its SHA-256: what a grant holds a call to.

Written for whoever executes a call, so it stands alone. What has no such form is refused, and never repaired: two
readers that disagree on arguments are how another call than the granted one comes to run.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any

# Beyond this not every reader keeps an integer.
SAFE_INTEGER = 2**53 - 1
_DEPTH = 32
# From this exponent on a number is written with one (ECMAScript, Number::toString).
_LARGEST_PLAIN, _SMALLEST_PLAIN = 21, -6


def canonical_arguments(arguments: Mapping[str, Any]) -> bytes:
    """Return the canonical form of the arguments of a call.

    Raises:
        TypeError: a value is not JSON.
        ValueError: a number or text has no exact form, or the nesting is too deep.
    """
    if not isinstance(arguments, Mapping):
        raise TypeError("arguments are a mapping from names to values")
    return canonical(arguments)


def canonical(value: Any) -> bytes:
    """Return the canonical form of any JSON value.

    Raises:
        TypeError: a value is not JSON.
        ValueError: a number or text has no exact form, or the nesting is too deep.
    """
    return _written(value, _DEPTH + 1).encode()


def arguments_sha256(arguments: Mapping[str, Any]) -> str:
    """Return the lower-case hexadecimal SHA-256 of the canonical form of arguments.

    Raises:
        TypeError: a value is not JSON.
        ValueError: a number or text has no exact form, or the nesting is too deep.
    """
    return hashlib.sha256(canonical_arguments(arguments)).hexdigest()


def _written(value: Any, depth: int) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return encode_basestring(value)
        case int():
            return _integer(value)
        case float():
            return _number(value)
        case _:
            return _container(value, depth - 1)


def _container(value: Any, depth: int) -> str:
    if depth <= 0:
        raise ValueError(f"nested deeper than {_DEPTH} levels")
    if isinstance(value, list | tuple):
        return f"[{','.join(_written(item, depth) for item in value)}]"
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("the name of a value is not text")
        members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
        return f"{{{','.join(f'{encode_basestring(key)}:{_written(member, depth)}' for key, member in members)}}}"
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _integer(value: int) -> str:
    if not -SAFE_INTEGER <= value <= SAFE_INTEGER:
        raise ValueError("an integer is beyond ±(2^53 - 1); send it as text")
    return int.__repr__(value)


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError("NaN and infinities are not JSON")
    if value.is_integer():
        return _integer(int(value))
    digits, point = _shortest(abs(value))
    sign = "-" if value < 0 else ""
    if 0 < point <= _LARGEST_PLAIN:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if _SMALLEST_PLAIN < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"


def _shortest(value: float) -> tuple[str, int]:
    """Return the shortest digits that mean ``value``, and where the decimal point stands in them."""
    mantissa, _, exponent = float.__repr__(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    return digits.rstrip("0"), point
