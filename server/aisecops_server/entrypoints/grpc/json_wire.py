"""Requests and answers of the API as protobuf's JSON, read so strictly that no other reader can read them differently.

What the JSON mapping leaves to its reader is settled here: fields that there are not, fields given by both of their
names, numbers as other than plain digits, base64 with anything else in it. All of it is refused, by the field's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from aisecops_server.domain.errors import InvalidPlanError, InvalidRequestError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.formats.strict_json import parse_object

_M = TypeVar("_M", bound=Message)
_OURS = "aisecops."
_DEPTH = 64
_SHOWN = 100
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,19})", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_BASE64 = re.compile(r"([A-Za-z0-9+/]*|[A-Za-z0-9_-]*)={0,2}", re.ASCII)


def read_json(kind: type[_M], body: bytes, *, limit: int) -> _M:
    """Return the message that ``body`` spells, which has at most ``limit`` bytes.

    Raises:
        InvalidRequestError: it is not strict JSON, or none of this message; ``field`` says where.
    """
    try:
        value = parse_object(body, field="body", limit=limit)
    except InvalidPlanError as error:
        raise InvalidRequestError(error.message, hint=error.hint, **error.metadata()) from error
    _check(value, kind.DESCRIPTOR, "")  # type: ignore[arg-type]  # the stubs know a second class of them
    try:
        return json_format.ParseDict(value, kind(), max_recursion_depth=_DEPTH)
    except (json_format.ParseError, ValueError, OverflowError, RecursionError) as error:
        raise _refusal("body", f"is no {kind.DESCRIPTOR.name} in JSON") from error


def json_of(message: Message) -> str:
    """Return a message as JSON on one line of ASCII; what has its default value is left out."""
    return json_format.MessageToJson(message, indent=None)


def _check(value: JsonValue, kind: Descriptor, place: str) -> None:
    if not kind.full_name.startswith(_OURS):
        return
    if not isinstance(value, dict):
        raise _refusal(place or "body", f"must be an object, of {kind.name}")
    known = {name: field for field in kind.fields for name in (field.name, field.json_name)}
    given: set[str] = set()
    for name, item in value.items():
        at = f"{place}.{name[:_SHOWN]}" if place else name[:_SHOWN]
        field = known.get(name)
        if field is None:
            raise _refusal(at, f"{kind.name} has no such field")
        if field.name in given:
            raise _refusal(at, "is given by both of its names")
        given.add(field.name)
        if item is not None:
            _check_field(item, field, at)


def _check_field(value: JsonValue, field: FieldDescriptor, at: str) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        if not isinstance(value, dict):
            raise _refusal(at, "must be an object")
        for key, item in value.items():
            _check_one(item, field.message_type.fields_by_name["value"], f"{at}.{key[:_SHOWN]}")
    elif field.is_repeated:
        if not isinstance(value, list):
            raise _refusal(at, "must be a list")
        for number, item in enumerate(value):
            _check_one(item, field, f"{at}[{number}]")
    else:
        _check_one(value, field, at)


def _check_one(value: JsonValue, field: FieldDescriptor, at: str) -> None:
    if field.message_type is not None:
        _check(value, field.message_type, at)
        return
    is_right, wanted = _KINDS[field.cpp_type if field.type != FieldDescriptor.TYPE_BYTES else _BYTES]
    if not is_right(value):
        raise _refusal(at, f"must be {wanted}")
    if field.enum_type is not None and isinstance(value, str) and value not in field.enum_type.values_by_name:
        raise _refusal(at, f"{field.enum_type.name} has no such value")


def _refusal(at: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"{at}: {why}", hint="docs/reference/rpc.md has the fields of every message", field=at)


def _is_integer(value: JsonValue) -> bool:
    if isinstance(value, str):
        return _INTEGER.fullmatch(value) is not None
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: JsonValue) -> bool:
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_text(value: JsonValue) -> bool:
    return isinstance(value, str)


def _is_base64(value: JsonValue) -> bool:
    return isinstance(value, str) and _BASE64.fullmatch(value) is not None


def _is_name(value: JsonValue) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


_BYTES = -1
_WHOLE = (_is_integer, "a whole number")
_FRACTION = (_is_number, "a number")
_KINDS: Mapping[int, tuple[Callable[[JsonValue], bool], str]] = {
    FieldDescriptor.CPPTYPE_INT32: _WHOLE,
    FieldDescriptor.CPPTYPE_INT64: _WHOLE,
    FieldDescriptor.CPPTYPE_UINT32: _WHOLE,
    FieldDescriptor.CPPTYPE_UINT64: _WHOLE,
    FieldDescriptor.CPPTYPE_DOUBLE: _FRACTION,
    FieldDescriptor.CPPTYPE_FLOAT: _FRACTION,
    FieldDescriptor.CPPTYPE_BOOL: (lambda value: isinstance(value, bool), "true or false"),
    FieldDescriptor.CPPTYPE_ENUM: (_is_name, "the name of a value"),
    FieldDescriptor.CPPTYPE_STRING: (_is_text, "a text"),
    _BYTES: (_is_base64, "base64"),
}
