"""LangGraph: a ``ToolNode`` whose tools run as they were granted. A call that waits for people interrupts the graph.

    bridge = Bridge(client, environment="production", tools={"send_email": "email/send"})
    graph.add_node("tools", governed_node([send_email], bridge))

Resume with anything: whether people approved is read from the control plane, and no value says it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.errors import GraphBubbleUp
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import interrupt

from aisecops_client.frameworks._bridge import AGAIN, Bridge, PendingCall, Refused, ToolFailedError, passed_on
from aisecops_client.frameworks._heard import Heard, text_of
from aisecops_client.frameworks._words import about, words
from aisecops_client.obligations import REDACTED, Duty
from aisecops_client.refusals import ApprovalRequiredError

_KINDS = {"human": "user_prompt", "system": "system_prompt", "tool": "tool_result"}


def governed_node(tools: Sequence[Any], bridge: Bridge, **options: Any) -> ToolNode:
    """Return a node that runs ``tools`` under ``bridge``; ``options`` are those of ``ToolNode``."""
    wraps = ToolWraps(bridge)
    return ToolNode(tools, wrap_tool_call=wraps.wrap_tool_call, awrap_tool_call=wraps.awrap_tool_call, **options)


@dataclass(eq=False)
class ToolWraps:
    """Wraps each call of a tool. Before the tool ran it raises interrupts, and nothing else."""

    bridge: Bridge

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        """Run the tool as granted, or return what the model is told instead."""

        def run(arguments: Mapping[str, Any]) -> Any:
            return _succeeded(handler(_granted(request, arguments)))

        pending = _pending(request)
        return self.bridge.call(pending, run, self._refused(request, pending))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """Run the tool as granted, or return what the model is told instead."""

        async def run(arguments: Mapping[str, Any]) -> Any:
            return _succeeded(await handler(_granted(request, arguments)))

        pending = _pending(request)
        return await self.bridge.acall(pending, run, self._refused(request, pending))

    def _refused(self, request: ToolCallRequest, pending: PendingCall) -> Refused:
        def refused(error: Exception) -> Any:
            if isinstance(error, ApprovalRequiredError):
                try:
                    interrupt(about(error) | {"tool": pending.name, "arguments": dict(pending.arguments)})
                except GraphBubbleUp:
                    raise
                except Exception:  # noqa: BLE001 - outside of a graph nothing can be interrupted
                    return _told(request, error)
                return AGAIN
            return _told(request, error)

        return refused


def _pending(request: ToolCallRequest) -> PendingCall:
    call, state = request.tool_call, request.state
    messages = state.get("messages", []) if isinstance(state, Mapping) else getattr(state, "messages", state)
    runtime = request.runtime
    settings = (getattr(runtime, "config", None) or {}).get("configurable") or {}
    return PendingCall(
        name=call["name"],
        arguments=call["args"],
        call_id=call["id"] or "",
        heard=heard(messages if isinstance(messages, list) else []),
        session=str(settings.get("thread_id") or ""),
        # The same when the graph is resumed, and another one whenever it comes by again.
        occasion=str(settings.get("checkpoint_ns") or ""),
        passed_on=_shown,
    )


def heard(messages: Sequence[Any]) -> list[Heard]:
    """Return what of a conversation's messages reached the model from outside of it."""
    found = []
    for message in messages:
        kind = _KINDS.get(getattr(message, "type", ""))
        if kind == "tool_result":
            text = text_of(message.content)
            found.append(Heard(kind, text, tool=message.name or "unknown", call_id=message.tool_call_id))
        elif kind is not None:
            found.append(Heard(kind, text_of(message.content), name=message.name or ""))
        elif getattr(message, "type", "") not in ("ai", "AIMessageChunk", "remove"):
            found.append(Heard("tool_result", text_of(getattr(message, "content", None)), name="other message"))
    return found


def _granted(request: ToolCallRequest, arguments: Mapping[str, Any]) -> ToolCallRequest:
    return request.override(tool_call={**request.tool_call, "args": dict(arguments)})


def _succeeded(message: Any) -> Any:
    if isinstance(message, ToolMessage) and message.status == "error":
        raise ToolFailedError(message)
    return message


def _shown(message: Any, duties: Sequence[Duty]) -> Any:
    """Return a tool's message as it may be passed on, without what the tool keeps beside a text that had to change."""
    if not isinstance(message, ToolMessage):
        return passed_on(message, duties)
    content = message.content if isinstance(message.content, str) else json.dumps(message.content)
    shown = passed_on(content, duties)
    if shown == content:
        return message
    return message.model_copy(
        update={"content": shown if isinstance(message.content, str) else REDACTED, "artifact": None}
    )


def _told(request: ToolCallRequest, error: Exception) -> ToolMessage:
    call = request.tool_call
    return ToolMessage(
        content=words(error),
        name=call["name"],
        tool_call_id=call["id"] or "",
        status="error",
        artifact={"aisecops": about(error)},
    )
