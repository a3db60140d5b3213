"""JSON-RPC 2.0 messages as MCP uses them: read strictly, kept as they came, written only where one had to change.

Two readers that disagree on a message are how another call than the decided one comes to run, so what could be read
in two ways (a key twice, NaN, a batch, an id of another type) is refused and never repaired.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
# Ours, from the range that the specification leaves to implementations.
NO_DECISION, SERVER_FAILED, NOT_ALLOWED = -32010, -32011, -32012
_VERSION = "2.0"
MessageId = str | int


class MalformedError(Exception):
    """Bytes are not one JSON-RPC message. ``id`` is that of the request it answers or is, where it can be told."""

    def __init__(self, why: str, *, code: int = INVALID_REQUEST, id: MessageId | None = None) -> None:
        super().__init__(why)
        self.code = code
        self.id = id


@dataclass(frozen=True, slots=True)
class Message:
    """One message: ``raw`` as it came, but on one line, and what it says.

    ``during`` is the request in the course of which a server sent it, where the transport tells.
    """

    raw: bytes = field(repr=False)
    fields: Mapping[str, Any] = field(repr=False)
    during: MessageId | None = None

    @property
    def id(self) -> MessageId | None:
        """Return its id; ``None`` for a notification."""
        found: MessageId | None = self.fields.get("id")
        return found

    @property
    def method(self) -> str:
        """Return the method; empty for an answer."""
        return str(self.fields.get("method", ""))

    @property
    def params(self) -> Mapping[str, Any]:
        """Return the parameters, which may be empty."""
        found = self.fields.get("params")
        return found if isinstance(found, Mapping) else {}

    @property
    def is_request(self) -> bool:
        """Return whether it wants an answer."""
        return bool(self.method) and self.id is not None

    @property
    def is_answer(self) -> bool:
        """Return whether it is an answer."""
        return not self.method

    @property
    def result(self) -> Mapping[str, Any]:
        """Return the result of an answer; empty for an error."""
        found = self.fields.get("result")
        return found if isinstance(found, Mapping) else {}

    @property
    def error(self) -> Mapping[str, Any] | None:
        """Return the error of an answer, ``None`` where it has a result."""
        found: Mapping[str, Any] | None = self.fields.get("error")
        return found


def read(raw: bytes) -> Message:
    """Return the message in ``raw``.

    Raises:
        MalformedError: it is not exactly one.
    """
    try:
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant)
    except _TwiceError as error:
        raise MalformedError(f"the name {error} stands twice in one object", id=_lenient_id(raw)) from error
    except (ValueError, RecursionError) as error:
        raise MalformedError("not JSON that can be read in one way", code=PARSE_ERROR, id=_lenient_id(raw)) from error
    if isinstance(found, list):
        raise MalformedError("batches are not taken; send one message at a time")
    if not isinstance(found, dict) or found.get("jsonrpc") != _VERSION:
        raise MalformedError("not a JSON-RPC 2.0 message", id=_id(found))
    _require_sound(found)
    return Message(_on_one_line(raw), found)


def written(fields: Mapping[str, Any]) -> bytes:
    """Return a message as bytes, without a newline."""
    try:
        return json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        # Half a surrogate pair can be said in JSON and not in UTF-8.
        return json.dumps(fields, allow_nan=False, separators=(",", ":")).encode()


def answer(id: MessageId | None, result: Mapping[str, Any]) -> bytes:
    """Return an answer with a result."""
    return written({"jsonrpc": _VERSION, "id": id, "result": result})


def failure(id: MessageId | None, code: int, message: str, data: Mapping[str, Any] | None = None) -> bytes:
    """Return an answer with an error."""
    error: dict[str, Any] = {"code": code, "message": message}
    return written({"jsonrpc": _VERSION, "id": id, "error": {**error, "data": data} if data else error})


def request(id: MessageId, method: str, params: Mapping[str, Any] | None = None) -> bytes:
    """Return a request."""
    fields: dict[str, Any] = {"jsonrpc": _VERSION, "id": id, "method": method}
    return written({**fields, "params": params} if params is not None else fields)


def notification(method: str, params: Mapping[str, Any]) -> bytes:
    """Return a notification."""
    return written({"jsonrpc": _VERSION, "method": method, "params": params})


def renamed(message: Message, **changed: Any) -> bytes:
    """Return a message with some of its members replaced."""
    return written({**message.fields, **changed})


def _on_one_line(raw: bytes) -> bytes:
    """Return a message without line ends: a peer that reads lines would take a part of it for another message.

    In JSON they stand between tokens only, where a space means the same.
    """
    return raw.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in raw or b"\r" in raw else raw


class _TwiceError(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        raise _TwiceError(next(repr(name) for name, _ in pairs if name in seen or seen.add(name)))  # type: ignore[func-returns-value]
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _lenient_id(raw: bytes) -> MessageId | None:
    try:
        return _id(json.loads(raw))
    except (ValueError, RecursionError):
        return None


def _id(found: Any) -> MessageId | None:
    given = found.get("id") if isinstance(found, dict) else None
    return given if isinstance(given, str) or type(given) is int else None


def _require_sound(found: Mapping[str, Any]) -> None:
    identity = _id(found)
    if "id" in found and identity is None and (found["id"] is not None or "method" in found):
        raise MalformedError("an id is a text or a whole number")
    if "method" in found:
        _require_call(found, identity)
    elif ("result" in found) == ("error" in found):
        raise MalformedError("an answer has either a result or an error", id=identity)
    elif not isinstance(found.get("result", {}), dict) or not isinstance(found.get("error", {}), dict):
        raise MalformedError("a result and an error are objects", id=identity)


def _require_call(found: Mapping[str, Any], identity: MessageId | None) -> None:
    if not isinstance(found["method"], str) or not found["method"]:
        raise MalformedError("a method is a text", id=identity)
    if not isinstance(found.get("params", {}), dict):
        raise MalformedError("parameters are an object", id=identity)
    if "result" in found or "error" in found:
        raise MalformedError("a message is a call or an answer, and not both", id=identity)
