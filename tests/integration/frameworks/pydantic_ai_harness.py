"""Pydantic AI's agents with the function model that it ships."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from aisecops_client.frameworks._bridge import Bridge
from aisecops_client.frameworks.pydantic_ai import Governance
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

from tests.integration.frameworks.scene import PROMPT, Call, Tools, Turn

_numbers = itertools.count(1)


def scripted(turns: Sequence[Sequence[Call]]) -> FunctionModel:
    calls = [[ToolCallPart(name, given, f"call-p{next(_numbers)}") for name, given in turn] for turn in turns]

    def answer(messages: Any, _info: Any) -> ModelResponse:
        said = sum(isinstance(message, ModelResponse) for message in messages)
        return ModelResponse(calls[said] if said < len(calls) else [TextPart("done")])

    return FunctionModel(answer)


class PydanticAI:
    name = "pydantic-ai"
    pauses_again = True

    def run(self, bridge: Bridge, tools: Tools, turns: Sequence[Sequence[Call]], prompt: str = PROMPT) -> Turn:
        agent = Agent(
            scripted(turns),
            tools=tools.functions,
            capabilities=[Governance(bridge)],
            output_type=[str, DeferredToolRequests],
        )
        return self._turn(agent, agent.run_sync(prompt))

    def _turn(self, agent: Any, result: Any) -> Turn:
        parts = [part for message in result.all_messages() for part in message.parts]
        order = [part.tool_call_id for part in parts if isinstance(part, ToolCallPart)]
        told = {part.tool_call_id: str(part.content) for part in parts if isinstance(part, ToolReturnPart)}
        waits: dict[str, str] = {}
        if isinstance(result.output, DeferredToolRequests):
            asked = result.output.metadata
            waits = {call.tool_call_id: asked[call.tool_call_id]["approval_id"] for call in result.output.approvals}

        def resume() -> Turn:
            # As an application does whose user pressed the button.
            approved = DeferredToolResults(approvals=dict.fromkeys(waits, True))
            again = agent.run_sync(message_history=result.all_messages(), deferred_tool_results=approved)
            return self._turn(agent, again)

        return Turn([told[call_id] for call_id in order if call_id in told], list(waits.values()), resume)
