"""OpenAI Agents SDK: an agent whose function tools run as they were granted. What waits for people interrupts the run.

    agent = governed(Agent(name="support", tools=[send_email], model=model), bridge)

After ``state.approve(item)``, whether people approved is read from the control plane. Tools that the model's provider
runs, and tools of MCP servers, do not come by here: they are refused when the agent is made.
"""

from __future__ import annotations

import copy
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agents import Agent, AgentHooks, FunctionTool

from aisecops_client.frameworks._bridge import Bridge, PendingCall, Permit
from aisecops_client.frameworks._heard import Heard, text_of
from aisecops_client.frameworks._words import words
from aisecops_client.refusals import ApprovalRequiredError

_KINDS = {"user": "user_prompt", "system": "system_prompt", "developer": "system_prompt"}
_OWN = frozenset({"function_call", "reasoning", "item_reference"})
_KEPT = 1024


def governed(agent: Agent[Any], bridge: Bridge) -> Agent[Any]:
    """Return a copy of an agent whose tools run as they were granted. Agents that it hands off to are governed apart.

    Raises:
        ValueError: it has tools that no hook of this program sees.
    """
    stray = [tool.name for tool in agent.tools if not isinstance(tool, FunctionTool)]
    if stray or agent.mcp_servers:
        raise ValueError(
            f"cannot be governed here: {', '.join([*stray, *(server.name for server in agent.mcp_servers)])}. "
            "Put the MCP proxy before servers; leave out tools that the provider runs"
        )
    listening = _Listening(agent.hooks)
    tools = [_Governed(bridge, listening, tool).tool for tool in agent.tools if isinstance(tool, FunctionTool)]
    return agent.clone(tools=tools, hooks=listening)


class _Listening(AgentHooks[Any]):
    """Keeps what the model had read when it asked for each call. ``inner`` are the agent's own hooks."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner or AgentHooks()
        self.read: OrderedDict[str, list[Heard]] = OrderedDict()
        self._reading: OrderedDict[int, list[Heard]] = OrderedDict()
        for name in ("on_start", "on_end", "on_handoff", "on_tool_start", "on_tool_end"):
            setattr(self, name, getattr(self.inner, name))

    async def on_llm_start(self, context: Any, agent: Any, system_prompt: str | None, input_items: list[Any]) -> None:
        """Keep what the model is about to read."""
        _keep(self._reading, id(context), list(heard(system_prompt, input_items)))
        await self.inner.on_llm_start(context, agent, system_prompt, input_items)

    async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
        """Keep it for the calls that it led to."""
        known = self._reading.pop(id(context), None)
        for item in response.output if known is not None else ():
            if getattr(item, "type", "") == "function_call":
                _keep(self.read, item.call_id, known)
        await self.inner.on_llm_end(context, agent, response)


def _keep(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    kept[key] = value
    while len(kept) > _KEPT:
        kept.popitem(last=False)


class _Governed:
    """One tool. It is decided when the SDK asks whether it needs approval, and runs by what was decided then."""

    def __init__(self, bridge: Bridge, listening: _Listening, tool: FunctionTool) -> None:
        self.bridge, self.listening, self.inner = bridge, listening, tool
        self.tool = copy.copy(tool)
        self.tool.on_invoke_tool, self.tool.needs_approval = self.invoke, self.needs_approval
        self._permits: OrderedDict[str, Permit] = OrderedDict()

    async def needs_approval(self, _context: Any, arguments: Any, call_id: str) -> bool:
        """Return whether people have to approve a call. Any other refusal is told when it is invoked."""
        try:
            permit = await self.bridge.abegin(self._pending(arguments, call_id))
        except ApprovalRequiredError:
            return True
        except Exception:  # noqa: BLE001 - it is asked again when the tool is invoked, and refused in words
            return False
        self._permits[call_id] = permit
        return False

    async def invoke(self, context: Any, arguments: str) -> Any:
        """Run the tool as granted, or return what the model is told instead."""

        async def run(granted: Mapping[str, Any]) -> Any:
            return await self.inner.on_invoke_tool(context, json.dumps(granted))

        try:
            parsed = json.loads(arguments or "{}")
            pending = self._pending(parsed, context.tool_call_id)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the tool does not run
            return words(error)
        return await self.bridge.acall(pending, run, words, self._permits.pop(context.tool_call_id, None))

    def _pending(self, arguments: Any, call_id: str) -> PendingCall:
        # In a process that only resumes, what was read before is not known, and that is what policy is told.
        read = self.listening.read.get(call_id, [Heard("tool_result", None, name="earlier messages")])
        return PendingCall(name=self.tool.name, arguments=arguments, call_id=call_id, heard=read)


def heard(system_prompt: str | None, items: Iterable[Any]) -> Iterator[Heard]:
    """Yield what of a model's input reached it from outside of the conversation."""
    if system_prompt:
        yield Heard("system_prompt", system_prompt, name="instructions")
    names = {}
    for item in items:
        kind, role = item.get("type", "message"), item.get("role", "")
        if kind == "function_call":
            names[item["call_id"]] = item["name"]
        elif kind == "function_call_output":
            call_id = item["call_id"]
            yield Heard("tool_result", text_of(item["output"]), tool=names.get(call_id, "unknown"), call_id=call_id)
        elif kind == "message" and role in _KINDS:
            yield Heard(_KINDS[role], text_of(item.get("content")))
        elif not (kind in _OWN or (kind == "message" and role == "assistant")):
            yield Heard("tool_result", None, name=str(kind))
