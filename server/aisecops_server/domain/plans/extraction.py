"""Plans from the text of models and clients, in the shapes that tool calls usually have.

The caller names the shape; it is never guessed. Text that is not exactly calls of that shape is refused, with
the place: nothing is repaired, completed or skipped, because a call that was half understood is a call that
nobody proposed. Extraction yields drafts; ``plan_builder`` still checks them like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes
from aisecops_server.domain.formats.json_fields import JsonFields, refusal
from aisecops_server.domain.formats.limits import LIMITS
from aisecops_server.domain.formats.strict_json import parse_object
from aisecops_server.domain.plans.foreign_plan import read_plan
from aisecops_server.domain.plans.plan_builder import PlanDraft, StepDraft

FIELD = "message.payload"


class ToolCallFormat(StrEnum):
    """The shape of a foreign message."""

    AISECOPS = "aisecops"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    MCP = "mcp"


@dataclass(frozen=True, slots=True)
class ToolCallMessage:
    """Text from which steps are extracted; ``server`` qualifies the tool names that it leaves bare."""

    format: ToolCallFormat
    payload: bytes
    server: str = ""


def extract(message: ToolCallMessage) -> PlanDraft:
    """Return a draft with the calls of ``message``; only our own shape can carry more than steps.

    Raises:
        InvalidPlanError: the text is not calls of the named shape.
    """
    document = parse_object(message.payload, field=FIELD, limit=LIMITS.plan_bytes)
    fields = JsonFields(document, FIELD)
    match message.format:
        case ToolCallFormat.AISECOPS:
            return read_plan(fields)
        case ToolCallFormat.OPENAI:
            steps = _openai(fields, message.server)
        case ToolCallFormat.ANTHROPIC:
            steps = _anthropic(fields, message.server)
        case ToolCallFormat.MCP:
            steps = (_mcp(fields, message.server),)
    return PlanDraft(steps=steps)


def _openai(message: JsonFields, server: str) -> tuple[StepDraft, ...]:
    _role_is(message, "assistant")
    _has_none_of(message, ("function_call", "refusal", "audio"))
    _is_not_mixed(message, "tool_use")
    return tuple(_openai_call(call, server) for call in _calls(message, "tool_calls"))


def _openai_call(call: JsonFields, server: str) -> StepDraft:
    call.allows("id", "type", "function", "index")
    _is(call, "type", "function")
    function = call.object("function")
    function.allows("name", "arguments")
    return StepDraft(
        id=call.text("id"),
        tool=_qualified(function.text("name"), server, function.field("name")),
        # The model wrote this text; the plan builder parses it strictly and refuses anything but an object.
        arguments_json=function.text("arguments").encode(),
    )


def _anthropic(message: JsonFields, server: str) -> tuple[StepDraft, ...]:
    _role_is(message, "assistant")
    _has_none_of(message, ("tool_calls", "function_call"))
    blocks = _calls(message, "content")
    calls = [block for block in blocks if _block_type(block) == "tool_use"]
    if not calls:
        raise refusal(message.field("content"), "holds no tool_use block, only text")
    return tuple(_anthropic_call(call, server) for call in calls)


def _block_type(block: JsonFields) -> str:
    kind = block.text("type")
    if kind not in ("tool_use", "text", "thinking", "redacted_thinking"):
        raise refusal(block.field("type"), "is neither a call, text nor thinking")
    return kind


def _anthropic_call(call: JsonFields, server: str) -> StepDraft:
    call.allows("type", "id", "name", "input", "cache_control", "caller")
    return StepDraft(
        id=call.text("id"),
        tool=_qualified(call.text("name"), server, call.field("name")),
        arguments_json=canonical_bytes(call.mapping("input")),
    )


def _mcp(request: JsonFields, server: str) -> StepDraft:
    request.allows("jsonrpc", "id", "method", "params")
    _is(request, "jsonrpc", "2.0")
    _is(request, "method", "tools/call")
    params = request.object("params")
    params.allows("name", "arguments", "_meta")
    # The protocol lets a call without arguments leave them out.
    arguments: Mapping[str, JsonValue] = params.mapping("arguments") if params.has("arguments") else {}
    return StepDraft(
        id=_request_id(request),
        tool=_qualified(params.text("name"), server, params.field("name")),
        arguments_json=canonical_bytes(arguments),
    )


def _request_id(request: JsonFields) -> str:
    value = request.value("id")
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise refusal(request.field("id"), "must be a string or an integer")
    return str(value)


def _calls(message: JsonFields, name: str) -> Sequence[JsonFields]:
    calls = message.objects(name)
    if not calls:
        raise refusal(message.field(name), "holds no call")
    return calls


def _role_is(message: JsonFields, role: str) -> None:
    if message.has("role"):
        _is(message, "role", role)


def _is(part: JsonFields, name: str, expected: str) -> None:
    if part.text(name) != expected:
        raise refusal(part.field(name), f"must be {expected!r}")


def _has_none_of(message: JsonFields, names: Sequence[str]) -> None:
    for name in names:
        if message.value(name, None) is not None:
            raise refusal(message.field(name), "may not stand in a message of this shape")


def _is_not_mixed(message: JsonFields, foreign_type: str) -> None:
    content = message.value("content", None)
    blocks = content if isinstance(content, list) else []
    if any(isinstance(block, dict) and block.get("type") == foreign_type for block in blocks):
        raise refusal(message.field("content"), f"mixes {foreign_type} blocks with calls of another shape")


def _qualified(name: str, server: str, field: str) -> str:
    if not server:
        if "/" not in name:
            raise refusal(field, "is not qualified, and message.server does not say whose tool it is")
        return name
    if "/" not in name:
        return f"{server}/{name}"
    # The caller knows which server it talks to; a model may not name another one.
    if not name.startswith(f"{server}/"):
        raise refusal(field, "names a tool of another server than message.server")
    return name
