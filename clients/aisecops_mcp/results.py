"""What a tool returned: which of it may be passed on, and which texts of it the model reads.

The text blocks of a result are often the same record as its structured content, printed. A field that must not be seen
is taken out of both; a text that is no record, in which nobody can tell where the field is, is taken out whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aisecops_client.obligations import REDACTED, Duty, result_under

from aisecops_mcp import jsonrpc
from aisecops_mcp.jsonrpc import Message

_RESULT_KINDS = frozenset({"redact", "limit"})
_TEXT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Read:
    """Something in a result that reaches the model. Without ``content`` only that there is something is known."""

    content: str | None
    about: str = ""


def passed_on(answer: Message, duties: Sequence[Duty]) -> bytes:
    """Return an answer as it may be passed on: the very bytes, where nothing has to be taken out.

    Raises:
        ObligationUnmetError: it cannot be told what of it may be.
    """
    binding = [
        duty for duty in duties if duty.kind in _RESULT_KINDS and duty.parameters.get("of", "result") == "result"
    ]
    if not binding:
        return answer.raw
    if answer.error is not None:
        told = {"code": answer.error.get("code", jsonrpc.SERVER_FAILED), "message": REDACTED}
        return jsonrpc.renamed(answer, error=told)
    result = dict(answer.result)
    if isinstance(result.get("content"), list):
        result["content"] = [_block(block, binding) for block in result["content"]]
    for name in ("structuredContent", "_meta", "contents", "messages"):
        if name in result:
            result[name] = result_under(result[name], binding)
    return jsonrpc.renamed(answer, result=result)


def reads(answer: Message) -> Iterator[Read]:
    """Yield everything in an answer that reaches the model; an error's words do too."""
    if answer.error is not None:
        yield Read(str(answer.error.get("message", "")), "error")
        return
    result = answer.result
    texts = []
    for found in _found(result):
        texts.append(found.content)
        yield found
    structured = result.get("structuredContent")
    if structured is not None and structured not in [_parsed(text) for text in texts]:
        yield _bounded(json.dumps(structured, ensure_ascii=False), "structured")


def _found(result: Mapping[str, Any]) -> Iterator[Read]:
    for block in _blocks(result):
        if isinstance(block.get("text"), str):
            yield _bounded(block["text"], str(block.get("uri", "")))
        elif isinstance(block.get("uri"), str) and "blob" not in block:
            # A link with the words that describe it.
            words = [str(block.get(key, "")) for key in ("uri", "name", "title", "description")]
            yield _bounded("\n".join(word for word in words if word), "link")
        else:
            yield Read(None, str(block.get("mimeType", "")))


def _blocks(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the blocks of a tool's result, of a resource that was read, and of a prompt that was got."""
    for name in ("content", "contents"):
        given = result.get(name)
        for block in given if isinstance(given, list) else []:
            yield from _block_parts(block)
    for message in result.get("messages", []) if isinstance(result.get("messages"), list) else []:
        content = message.get("content") if isinstance(message, Mapping) else None
        for block in content if isinstance(content, list) else [content]:
            yield from _block_parts(block)


def _block_parts(block: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(block, Mapping):
        inner = block.get("resource")
        yield inner if isinstance(inner, Mapping) else block


def _bounded(text: str, about: str) -> Read:
    return Read(text if len(text.encode("utf-8", "replace")) <= _TEXT_BYTES else None, about)


def _block(block: Any, duties: Sequence[Duty]) -> Any:
    if not isinstance(block, Mapping):
        return {"type": "text", "text": REDACTED}
    if isinstance(block.get("text"), str):
        return {**block, "text": _text(block["text"], duties)}
    inner = block.get("resource")
    if isinstance(inner, Mapping) and isinstance(inner.get("text"), str):
        return {**block, "resource": {**inner, "text": _text(inner["text"], duties)}}
    # An image or a sound shows what it shows.
    return {"type": "text", "text": REDACTED}


def _text(text: str, duties: Sequence[Duty]) -> str:
    found = _parsed(text)
    if not isinstance(found, dict | list):
        return REDACTED
    return json.dumps(result_under(found, duties), ensure_ascii=False)


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "")
    except (ValueError, RecursionError):
        return None
