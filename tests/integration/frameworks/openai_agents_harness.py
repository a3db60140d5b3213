"""OpenAI's agents with the scripted model that its SDK ships."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from agents import Agent, RunConfig, Runner, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from aisecops_client.frameworks._bridge import Bridge
from aisecops_client.frameworks.openai_agents import governed

from tests.integration.frameworks.scene import PROMPT, Call, Tools, Turn

_numbers = itertools.count(1)
SILENT = RunConfig(tracing_disabled=True)


def scripted(turns: Sequence[Sequence[Call]]) -> ScriptedModel:
    calls = [
        [function_call(name, json.dumps(given), call_id=f"call-o{next(_numbers)}") for name, given in turn]
        for turn in turns
    ]
    return ScriptedModel([*calls, [assistant_message("done")]])


class OpenAIAgents:
    name = "openai-agents"
    pauses_again = False

    def run(self, bridge: Bridge, tools: Tools, turns: Sequence[Sequence[Call]], prompt: str = PROMPT) -> Turn:
        made = [function_tool(function) for function in tools.functions]
        agent = governed(Agent(name="support", model=scripted(turns), tools=made), bridge)
        return self._turn(agent, bridge, Runner.run_sync(agent, prompt, run_config=SILENT))

    def _turn(self, agent: Any, bridge: Bridge, result: Any) -> Turn:
        items = [item for item in result.to_input_list() if isinstance(item, dict)]
        order = [item["call_id"] for item in items if item.get("type") == "function_call"]
        told = {item["call_id"]: item["output"] for item in items if item.get("type") == "function_call_output"}
        waiting = result.interruptions

        def resume() -> Turn:
            state = result.to_state()
            for item in state.get_interruptions():
                state.approve(item)
            return self._turn(agent, bridge, Runner.run_sync(agent, state, run_config=SILENT))

        waits = [bridge.request_of(item.raw_item.call_id) for item in waiting]
        return Turn([told[call_id] for call_id in order if call_id in told], waits, resume)
