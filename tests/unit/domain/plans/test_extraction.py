"""Tool calls are read from the shapes they usually have, and from nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aisecops_server.domain.errors import InvalidPlanError
from aisecops_server.domain.plans.extraction import ToolCallFormat, ToolCallMessage, extract
from aisecops_server.domain.plans.plan_builder import build_plan
from aisecops_server.domain.plans.provenance import SourceKind, TrustLevel

from tests.unit.domain.drafts import FRESH

OPENAI: dict[str, Any] = {
    "role": "assistant",
    "content": None,
    "refusal": None,
    "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "send", "arguments": '{"to": "ada@example.org"}'}},
        {"id": "call_2", "type": "function", "function": {"name": "find", "arguments": "{}"}},
    ],
}
ANTHROPIC: dict[str, Any] = {
    "role": "assistant",
    "stop_reason": "tool_use",
    "content": [
        {"type": "text", "text": "I will send it."},
        {"type": "tool_use", "id": "toolu_1", "name": "send", "input": {"to": "ada@example.org"}},
    ],
}
MCP: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 7,
    "method": "tools/call",
    "params": {"name": "send", "arguments": {"to": "ada@example.org"}},
}
OURS: dict[str, Any] = {
    "intent": "send it",
    "steps": [{"step_id": "s1", "tool": "mail/send", "arguments": {"to": "ada@example.org"}, "influenced_by": ["p"]}],
    "sources": [{"source_id": "p", "kind": "user_prompt", "content": "", "declared_trust": "external"}],
    "delegation": [{"agent_id": "boss"}],
    "history": [{"step_id": "h", "tool": "crm/find"}],
}
MESSAGES = {"openai": OPENAI, "anthropic": ANTHROPIC, "mcp": MCP, "aisecops": OURS}


def extracted(shape: str, payload: Any, server: str = "mail") -> Any:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return build_plan(extract(ToolCallMessage(ToolCallFormat(shape), data, server)), FRESH)


def changed(message: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy with the member at a dotted path replaced, or removed when ``value`` is the marker ``...``."""
    copy = json.loads(json.dumps(message))
    *way, last = (int(part) if part.isdigit() else part for part in path.split("."))
    part = copy
    for name in way:
        part = part[name]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return dict(copy)


@pytest.mark.parametrize(
    ("shape", "ids"),
    [("openai", ["call_1", "call_2"]), ("anthropic", ["toolu_1"]), ("mcp", ["7"]), ("aisecops", ["s1"])],
)
def test_the_calls_of_every_shape_become_steps(shape: str, ids: list[str]) -> None:
    plan = extracted(shape, MESSAGES[shape])
    assert [step.id for step in plan.steps] == ids
    assert plan.steps[0].tool == "mail/send"
    assert plan.steps[0].arguments == {"to": "ada@example.org"}


def test_our_own_shape_carries_the_whole_plan() -> None:
    plan = extracted("aisecops", OURS)
    assert plan.intent == "send it"
    assert (plan.sources[0].kind, plan.sources[0].content) == (SourceKind.USER_PROMPT, "")
    assert plan.sources[0].declared_trust is TrustLevel.EXTERNAL
    assert plan.delegation[0].agent_id == "boss"
    assert not plan.history[0].observed


def test_a_call_without_arguments_is_known_only_to_mcp() -> None:
    assert extracted("mcp", changed(MCP, "params.arguments", ...)).steps[0].arguments == {}
    with pytest.raises(InvalidPlanError, match="arguments"):
        extracted("openai", changed(OPENAI, "tool_calls.0.function.arguments", ...))


def test_a_qualified_name_stays_as_it_is() -> None:
    message = changed(MCP, "params.name", "mail/send")
    assert [extracted("mcp", message, server).steps[0].tool for server in ("", "mail")] == ["mail/send", "mail/send"]


@pytest.mark.parametrize(
    ("shape", "path", "value", "field"),
    [
        ("openai", "tool_calls", [], "tool_calls"),
        ("openai", "tool_calls", ..., "tool_calls"),
        ("openai", "tool_calls", {"0": {}}, "tool_calls"),
        ("openai", "tool_calls.1", "send", "tool_calls[1]"),
        ("openai", "tool_calls.0.id", ..., "tool_calls[0].id"),
        ("openai", "tool_calls.0.type", "custom", "tool_calls[0].type"),
        ("openai", "tool_calls.0.extra", 1, "tool_calls[0].extra"),
        ("openai", "tool_calls.0.function.name", ..., "tool_calls[0].function.name"),
        ("openai", "tool_calls.0.function.name", 3, "tool_calls[0].function.name"),
        ("openai", "tool_calls.0.function.arguments", {"to": "x"}, "tool_calls[0].function.arguments"),
        ("openai", "tool_calls.0.function.strict", True, "tool_calls[0].function.strict"),
        ("openai", "role", "user", "role"),
        ("openai", "function_call", {"name": "send"}, "function_call"),
        ("openai", "refusal", "I cannot.", "refusal"),
        ("openai", "content", [{"type": "tool_use"}], "content"),
        ("anthropic", "content", "Call send now.", "content"),
        ("anthropic", "content", [{"type": "text", "text": "send(to=ada)"}], "content"),
        ("anthropic", "content.1.type", "server_tool_use", "content[1].type"),
        ("anthropic", "content.1.id", ..., "content[1].id"),
        ("anthropic", "content.1.name", ..., "content[1].name"),
        ("anthropic", "content.1.input", "{}", "content[1].input"),
        ("anthropic", "content.1.input", ..., "content[1].input"),
        ("anthropic", "content.1.more", 1, "content[1].more"),
        ("anthropic", "tool_calls", [], "tool_calls"),
        ("mcp", "jsonrpc", "1.0", "jsonrpc"),
        ("mcp", "method", "tools/list", "method"),
        ("mcp", "id", None, "id"),
        ("mcp", "id", ..., "id"),
        ("mcp", "id", True, "id"),
        ("mcp", "id", 1.5, "id"),
        ("mcp", "params", [], "params"),
        ("mcp", "params.arguments", [], "params.arguments"),
        ("mcp", "params.task", {}, "params.task"),
        ("mcp", "result", {}, "result"),
        ("aisecops", "outcome", "ALLOW", "outcome"),
        ("aisecops", "steps.0.arguments", "{}", "steps[0].arguments"),
        ("aisecops", "steps.0.trusted", True, "steps[0].trusted"),
        ("aisecops", "steps.0.depends_on", [1], "steps[0].depends_on[0]"),
        ("aisecops", "sources.0.kind", "prompt", "sources[0].kind"),
        ("aisecops", "sources.0.trust", "trusted", "sources[0].trust"),
        ("aisecops", "history.0.observed", True, "history[0].observed"),
        ("aisecops", "intent", None, "intent"),
    ],
)
def test_what_is_not_exactly_a_call_is_refused_by_its_place(shape: str, path: str, value: Any, field: str) -> None:
    with pytest.raises(InvalidPlanError) as caught:
        extracted(shape, changed(MESSAGES[shape], path, value))
    assert caught.value.metadata()["field"] == f"message.payload.{field}"


@pytest.mark.parametrize("arguments", ["", "[]", "null", '{"to":', '{"a":1,"a":2}', "send to ada", '{"n":NaN}', "{}{}"])
def test_arguments_that_a_model_wrote_are_parsed_strictly(arguments: str) -> None:
    with pytest.raises(InvalidPlanError) as caught:
        extracted("openai", changed(OPENAI, "tool_calls.0.function.arguments", arguments))
    assert caught.value.metadata()["field"] == "steps[0].arguments_json"


@pytest.mark.parametrize("shape", list(MESSAGES))
@pytest.mark.parametrize(
    "payload", [b"", b"I will now call send.", b"[]", b"null", b'{"a":1}{"b":2}', b"```json\n{}\n```"]
)
def test_text_instead_of_a_call_is_refused(shape: str, payload: bytes) -> None:
    with pytest.raises(InvalidPlanError) as caught:
        extracted(shape, payload)
    assert caught.value.metadata()["field"].startswith("message.payload")


@pytest.mark.parametrize("shape", list(MESSAGES))
def test_a_message_of_one_shape_is_not_read_as_another(shape: str) -> None:
    for other, message in MESSAGES.items():
        if other != shape:
            with pytest.raises(InvalidPlanError):
                extracted(shape, message)


@pytest.mark.parametrize(
    ("name", "server"), [("send", ""), ("bank/pay", "mail"), ("mail/a/b", "mail"), ("se nd", "mail")]
)
def test_a_tool_whose_server_is_unclear_is_refused(name: str, server: str) -> None:
    with pytest.raises(InvalidPlanError):
        extracted("mcp", changed(MCP, "params.name", name), server)
