"""Pydantic AI: a capability. A call that waits for people ends the run with what it waits for, as deferred tools do.

    agent = Agent(model, tools=[send_email], capabilities=[Governance(bridge)],
                  output_type=[str, DeferredToolRequests])

Run on with ``DeferredToolResults(approvals={call_id: True})``: whether people approved is read from the control plane.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.exceptions import ApprovalRequired
from pydantic_ai.messages import ModelRequest, ToolCallPart
from pydantic_core import to_jsonable_python

from aisecops_client.frameworks._bridge import Bridge, PendingCall, passed_on
from aisecops_client.frameworks._heard import Heard, text_of
from aisecops_client.frameworks._words import about, words
from aisecops_client.obligations import Duty
from aisecops_client.refusals import ApprovalRequiredError

_KINDS = {"system-prompt": "system_prompt", "user-prompt": "user_prompt"}


class Governance(AbstractCapability[Any]):
    """Runs each tool of an agent as granted. What other capabilities make of a call is done before it is judged."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge

    def get_ordering(self) -> CapabilityOrdering:
        """Stand next to the tool."""
        return CapabilityOrdering(position="innermost")

    async def wrap_tool_execute(
        self, ctx: RunContext[Any], *, call: ToolCallPart, tool_def: Any, args: Mapping[str, Any], handler: Any
    ) -> Any:
        """Run the tool as granted, or return what the model is told instead."""
        del tool_def
        try:
            plain = to_jsonable_python(dict(args))
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the tool does not run
            return words(error)

        async def run(granted: Mapping[str, Any]) -> Any:
            # Values that are no JSON are the tool's own, as long as nothing of them had to change.
            return await handler(args if granted == plain else dict(granted))

        def refused(error: Exception) -> Any:
            if isinstance(error, ApprovalRequiredError):
                raise ApprovalRequired(metadata=about(error)) from error
            return words(error)

        pending = PendingCall(
            name=call.tool_name,
            arguments=plain,
            call_id=call.tool_call_id,
            heard=list(heard(ctx.messages)),
            session=ctx.conversation_id or "",
            passed_on=_shown,
        )
        return await self.bridge.acall(pending, run, refused)


def heard(messages: Iterable[Any]) -> Iterator[Heard]:
    """Yield what of a conversation's messages reached the model from outside of it."""
    for message in messages:
        if isinstance(message, ModelRequest) and message.instructions:
            yield Heard("system_prompt", message.instructions, name="instructions")
        for part in message.parts:
            kind = part.part_kind
            if kind in _KINDS:
                yield Heard(_KINDS[kind], _text(part.content))
            elif kind == "tool-return" or kind.endswith("-tool-return"):
                yield Heard("tool_result", part.model_response_str(), tool=part.tool_name, call_id=part.tool_call_id)
            elif kind == "retry-prompt" and part.tool_name:
                yield Heard("tool_result", part.model_response(), tool=part.tool_name, call_id=part.tool_call_id)


def _text(content: Any) -> str | None:
    return text_of(list(content) if isinstance(content, Sequence) and not isinstance(content, str) else content)


def _shown(result: Any, duties: Sequence[Duty]) -> Any:
    return passed_on(result if isinstance(result, str) else to_jsonable_python(result), duties) if duties else result
