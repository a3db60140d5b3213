"""What people and systems said, and what tools answered, in the shapes in which frameworks keep messages.

Only messages that say themselves that they are a person's or the system's count as prompts. A conversation that was
written out as one text holds the answers of tools as well, so nothing is taken from such a text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.plans.provenance import SourceKind
from aisecops_server.domain.recordings.recorded_trace import RecordedPrompt

# What a call without known arguments has in their place: no JSON, so that it cannot be decided, and is not allowed.
UNKNOWN_ARGUMENTS = ""
_KINDS = {
    "user": SourceKind.USER_PROMPT,
    "human": SourceKind.USER_PROMPT,
    "HumanMessage": SourceKind.USER_PROMPT,
    "system": SourceKind.SYSTEM_PROMPT,
    "developer": SourceKind.SYSTEM_PROMPT,
    "SystemMessage": SourceKind.SYSTEM_PROMPT,
}
_PAIR = 2
_MOST_DEPTH = 4


def prompts_in(value: JsonValue) -> Iterator[RecordedPrompt]:
    """Yield the prompts among messages: a list of them, an object with ``messages``, or either as JSON text."""
    yield from _prompts(parsed(value), _MOST_DEPTH)


def result_text(value: JsonValue) -> str | None:
    """Return what a tool answered: the content of the message that wraps it, else the value itself."""
    held = parsed(value)
    for wrapper in ("output", "data"):
        if isinstance(held, Mapping) and isinstance(held.get(wrapper), Mapping):
            held = held[wrapper]
    if isinstance(held, Mapping) and "tool_call_id" in held and "content" in held:
        return _content(held["content"])
    return None if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def arguments_text(value: JsonValue) -> str:
    """Return arguments as JSON; what is no object names no arguments, and they are unknown."""
    held = parsed(value)
    return json.dumps(held, ensure_ascii=False) if isinstance(held, Mapping) else UNKNOWN_ARGUMENTS


def parsed(value: JsonValue) -> JsonValue:
    """Return what a text says as JSON; any other value, and a text that is no JSON, as it is."""
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return value
    try:
        found: JsonValue = json.loads(value)
    except ValueError:
        return value
    return found


def _prompts(held: JsonValue, depth: int) -> Iterator[RecordedPrompt]:
    if depth == 0:
        return
    if isinstance(held, Mapping) and "messages" in held:
        yield from _prompts(held["messages"], depth - 1)
    elif isinstance(held, Sequence) and not isinstance(held, str):
        for message in held:
            prompt = _prompt(message)
            if prompt is not None:
                yield prompt
            elif isinstance(message, list):
                yield from _prompts(message, depth - 1)


def _prompt(message: JsonValue) -> RecordedPrompt | None:
    role, content = _role_and_content(message)
    kind = _KINDS.get(role)
    text = _content(content)
    return RecordedPrompt(kind, text) if kind is not None and text else None


def _role_and_content(message: JsonValue) -> tuple[str, JsonValue]:
    if isinstance(message, list) and len(message) == _PAIR and all(isinstance(part, str) for part in message):
        return str(message[0]), message[1]
    if not isinstance(message, Mapping):
        return "", None
    kwargs, data, kind = message.get("kwargs"), message.get("data"), message.get("id")
    if isinstance(kwargs, Mapping) and isinstance(kind, list) and kind:
        return str(kind[-1]), kwargs.get("content")
    inner = data if isinstance(data, Mapping) else message
    return str(message.get("role") or message.get("type") or ""), inner.get("content")


def _content(content: JsonValue) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
    return "\n".join(text for text in texts if isinstance(text, str))
