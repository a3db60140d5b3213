"""Reading foreign JSON so that nobody downstream can read it differently.

Two readers that disagree on one document are a hole: what policy judged is then not what the tool runs. So
everything on which JSON readers are known to differ is refused, and never repaired: duplicate keys (after
unescaping), byte order marks, lone surrogates, NaN and infinities, text after the value, numbers whose
magnitude exceeds 2^53 - 1 or that vanish in a double, nesting beyond the limit.

Fractions are allowed: they are read as IEEE 754 doubles. A number without a fractional part is an ``int``
however it was spelled (``1.0``, ``1e2``), as it is in the canonical form.

Order: size, encoding, syntax, then meaning. The fast reader stops at the first fault; only then a second
pass finds where it stands, so that good documents pay nothing for good errors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aisecops_server.domain.errors import InvalidPlanError
from aisecops_server.domain.formats.canonical import SAFE_INTEGER, JsonValue
from aisecops_server.domain.formats.limits import LIMITS

# Longer spellings cannot be safe integers; refusing them first also spares the quadratic conversion.
_INTEGER_CHARACTERS = 17
_FLOAT_CHARACTERS = 64
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_Pairs = list[tuple[str, JsonValue]]


@dataclass(frozen=True, slots=True)
class _Flaw:
    """Stands where a value was refused, so that a walk finds the place."""

    why: str


class _RefusedError(Exception):
    """The fast reader met something it refuses."""


def parse(data: bytes, *, field: str, limit: int = LIMITS.arguments_bytes) -> JsonValue:
    """Return the value that ``data`` spells.

    Raises:
        InvalidPlanError: ``data`` is not strict JSON; its metadata has ``field`` and, where it applies,
            ``pointer`` (RFC 6901) or ``offset`` (in characters).
    """
    text = _decoded(data, field=field, limit=limit)
    try:
        value: JsonValue = _FAST.decode(text)
    except json.JSONDecodeError as error:
        raise _refusal(field, f"not JSON: {error.msg.lower()}", offset=str(error.pos)) from error
    except _RefusedError as error:
        raise _located(text, field) from error
    except RecursionError as error:
        raise _too_deep(field) from error
    _check_depth(value, data, field)
    _check_surrogates(value, text, field)
    return value


def parse_object(data: bytes, *, field: str, limit: int = LIMITS.arguments_bytes) -> dict[str, JsonValue]:
    """Return the object that ``data`` spells.

    Raises:
        InvalidPlanError: ``data`` is not strict JSON or not an object.
    """
    value = parse(data, field=field, limit=limit)
    if not isinstance(value, dict):
        raise _refusal(field, "must be a JSON object")
    return value


def _decoded(data: bytes, *, field: str, limit: int) -> str:
    if len(data) > limit:
        raise _refusal(field, f"{len(data)} bytes, at most {limit} are allowed")
    if data.startswith(_BYTE_ORDER_MARK):
        raise _refusal(field, "starts with a byte order mark", offset="0")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _refusal(field, "not UTF-8", offset=str(error.start)) from error


def _object(pairs: _Pairs) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _RefusedError
    return members


def _integer(spelling: str) -> int:
    if len(spelling) <= _INTEGER_CHARACTERS:
        value = int(spelling)
        if -SAFE_INTEGER <= value <= SAFE_INTEGER:
            return value
    raise _RefusedError


def _number(spelling: str) -> int | float:
    if len(spelling) > _FLOAT_CHARACTERS:
        raise _RefusedError
    value = float(spelling)
    if not -SAFE_INTEGER <= value <= SAFE_INTEGER or (not value and _is_nonzero(spelling)):
        raise _RefusedError
    return int(value) if value.is_integer() else value


def _is_nonzero(spelling: str) -> bool:
    mantissa = spelling.lower().partition("e")[0]
    return any(digit in mantissa for digit in "123456789")


def _constant(_spelling: str) -> JsonValue:
    raise _RefusedError


_FAST = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant)


def _located(text: str, field: str) -> InvalidPlanError:
    """Read again, with a flaw in each refused place, and name the first one."""
    marking = json.JSONDecoder(
        object_pairs_hook=_marked_object,
        parse_int=_marked(_integer, "the number is beyond ±(2^53 - 1); send it as a string"),
        parse_float=_marked(_number, "the number is not one that a double keeps; send it as a string"),
        parse_constant=lambda spelling: _Flaw(f"{spelling} is not JSON"),
    )
    try:
        value = marking.decode(text)
    except json.JSONDecodeError as error:
        return _refusal(field, f"not JSON: {error.msg.lower()}", offset=str(error.pos))
    except RecursionError:
        return _too_deep(field)
    for pointer, part in _walk(value):
        if isinstance(part, _Flaw):
            return _refusal(field, part.why, pointer=pointer)
    return _refusal(field, "not strict JSON")


def _marked(read: Callable[[str], int | float], why: str) -> Callable[[str], object]:
    def reader(spelling: str) -> object:
        try:
            return read(spelling)
        except _RefusedError:
            return _Flaw(why)

    return reader


def _marked_object(pairs: _Pairs) -> object:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return _Flaw(f"the key {json.dumps(key[:64])} is given twice")
        seen.add(key)
    return dict(pairs)


def _check_depth(value: JsonValue, data: bytes, field: str) -> None:
    # Brackets inside strings only make this bound looser.
    if data.count(b"[") + data.count(b"{") <= LIMITS.depth:
        return
    level: list[JsonValue] = [value]
    for _ in range(LIMITS.depth):
        level = [child for part in level for child in _children(part)]
        if not level:
            return
    raise _too_deep(field)


def _children(part: JsonValue) -> list[JsonValue]:
    # Only containers matter: a level of nothing but scalars ends the search.
    if isinstance(part, dict):
        return [child for child in part.values() if isinstance(child, (dict, list))]
    if isinstance(part, list):
        return [child for child in part if isinstance(child, (dict, list))]
    return []


def _check_surrogates(value: JsonValue, text: str, field: str) -> None:
    # UTF-8 cannot carry a surrogate, so only an escape can have made one.
    if "\\ud" not in text and "\\uD" not in text:
        return
    for pointer, part in _walk(value):
        texts = list(part) if isinstance(part, dict) else [part]
        if any(isinstance(item, str) and _has_surrogate(item) for item in texts):
            shown = pointer.encode("utf-8", "replace").decode()
            raise _refusal(field, "a lone surrogate is not a character", pointer=shown)


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _walk(value: object) -> Iterator[tuple[str, object]]:
    """Yield every part with its pointer, without recursion: a flawed document may be deep."""
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting:
        pointer, part = waiting.pop()
        yield pointer, part
        if isinstance(part, dict):
            steps = [(f"{pointer}/{_escaped(key)}", child) for key, child in part.items()]
        elif isinstance(part, list):
            steps = [(f"{pointer}/{index}", child) for index, child in enumerate(part)]
        else:
            continue
        waiting.extend(reversed(steps))


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _too_deep(field: str) -> InvalidPlanError:
    return _refusal(field, f"nested deeper than {LIMITS.depth} levels")


def _refusal(field: str, why: str, **where: str) -> InvalidPlanError:
    place = "".join(f", at {name} {value[:200]}" for name, value in where.items() if value)
    return InvalidPlanError(f"{field}: {why}{place}", hint="Send strict JSON (RFC 8259, I-JSON)", field=field, **where)
