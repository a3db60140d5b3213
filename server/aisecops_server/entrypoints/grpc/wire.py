"""How often a field occurs in protobuf bytes, told without parsing them: what is weighed must not have cost yet."""

from __future__ import annotations

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BYTES = 10
_CONTINUES = 0x80


def occurrences(data: bytes, field: int) -> int:
    """Return how often ``field`` occurs at the top of a message; what cannot be read counts up to there."""
    found = at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _LENGTH:
            size, at = _varint(data, at)
            at += size
        elif kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            return found
        if at > len(data):
            return found
        found += tag >> 3 == field
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at a place and where it ends; behind the data when it does not end in it."""
    value = 0
    for number, byte in enumerate(data[at : at + _VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * number
        if byte < _CONTINUES:
            return value, at + number + 1
    return 0, len(data) + 1
