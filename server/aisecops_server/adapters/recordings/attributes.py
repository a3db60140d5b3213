"""The attributes of OTLP/JSON as Python values, and the names of those that we read. Unknown ones are ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aisecops_server.domain.formats.canonical import JsonValue

OPERATION = "gen_ai.operation.name"
AGENT_ID = "gen_ai.agent.id"
AGENT_NAME = "gen_ai.agent.name"
CONVERSATION = "gen_ai.conversation.id"
INPUT_MESSAGES = "gen_ai.input.messages"
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
TOOL_NAME = "gen_ai.tool.name"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"
TOOL_SERVER = "aisecops.tool.server"
ENVIRONMENT = "deployment.environment.name"
EXECUTE_TOOL = "execute_tool"

_MOST_DEPTH = 32


class MalformedError(ValueError):
    """A part that we need is not what the format says."""


def attributes(value: JsonValue) -> dict[str, JsonValue]:
    """Return a list of OTLP key-value pairs as an object.

    Raises:
        MalformedError: it is not such a list.
    """
    found: dict[str, JsonValue] = {}
    for pair in _array(value, "attributes"):
        item = _object(pair, "an attribute")
        key = item.get("key")
        if not isinstance(key, str):
            raise MalformedError("an attribute has no key")
        found[key] = _plain(item.get("value", {}), _MOST_DEPTH)
    return found


def text(found: Mapping[str, JsonValue], name: str) -> str:
    """Return a text attribute, or an empty string if there is none.

    Raises:
        MalformedError: it is something else.
    """
    value = found.get(name, "")
    if not isinstance(value, str):
        raise MalformedError(f"{name} is not a text")
    return value


def members(value: Mapping[str, JsonValue], name: str) -> Sequence[Mapping[str, JsonValue]]:
    """Return an array of objects that a message holds; a missing one is empty, as in protobuf.

    Raises:
        MalformedError: it is something else.
    """
    return [_object(item, f"an item of {name}") for item in _array(value.get(name, []), name)]


def _plain(value: JsonValue, depth: int) -> JsonValue:
    held = _object(value, "an attribute's value")
    if depth == 0 or len(held) > 1:
        raise MalformedError("an attribute's value is not an OTLP AnyValue")
    for kind, item in held.items():
        if kind == "arrayValue":
            return [_plain(part, depth - 1) for part in _array(_object(item, kind).get("values", []), kind)]
        if kind == "kvlistValue":
            pairs = members(_object(item, kind), "values")
            return {str(pair.get("key", "")): _plain(pair.get("value", {}), depth - 1) for pair in pairs}
        if kind == "intValue":
            return _integer(item)
        if kind in {"stringValue", "boolValue", "doubleValue", "bytesValue"}:
            return item
    return None


def _integer(item: JsonValue) -> int:
    # Protobuf's JSON form writes 64-bit integers as text.
    if isinstance(item, bool) or not isinstance(item, (int, str)):
        raise MalformedError("an intValue is not an integer")
    return int(item)


def _object(value: JsonValue, what: str) -> Mapping[str, JsonValue]:
    if not isinstance(value, Mapping):
        raise MalformedError(f"{what} is not an object")
    return value


def _array(value: JsonValue, what: str) -> Sequence[JsonValue]:
    if not isinstance(value, list):
        raise MalformedError(f"{what} is not an array")
    return value
