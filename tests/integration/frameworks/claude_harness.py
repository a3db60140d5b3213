"""The Claude Agent SDK with a transport in the place of its program: it calls hooks and tools as that does."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aisecops_client.frameworks._bridge import Bridge
from aisecops_client.frameworks.claude_agent_sdk import governed
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, SdkMcpTool, Transport, create_sdk_mcp_server

from tests.integration.frameworks.scene import POLICY_NAMES, PROMPT, Call, Tools, Turn

_numbers, _sessions = itertools.count(1), itertools.count(1)
_TYPES = {"amount": int}


class Program(Transport):
    """Plays the program: asks hooks, calls tools of the SDK's own servers, and goes on as the answers say.

    What it does is what was measured on the real one: a hook that raises, or says nothing, lets the tool run.
    """

    def __init__(self, session: str) -> None:
        self.session, self.told = session, list[str]()
        self._out: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self.hooks: dict[str, list[str]] = {}

    async def connect(self) -> None: ...
    async def end_input(self) -> None: ...
    def is_ready(self) -> bool:
        return True

    async def close(self) -> None:
        await self._out.put(None)

    async def write(self, data: str) -> None:
        message = json.loads(data)
        if message["type"] == "control_request":
            for event, matchers in (message["request"].get("hooks") or {}).items():
                self.hooks[event] = [name for matcher in matchers for name in matcher["hookCallbackIds"]]
                assert [matcher["onFailure"] for matcher in matchers] == ["block"]
            said = {"hook_on_failure_supported": True, "commands": []}
            answer = {"subtype": "success", "request_id": message["request_id"], "response": said}
            await self._out.put({"type": "control_response", "response": answer})
        elif message["type"] == "control_response":
            self._answers.pop(message["response"]["request_id"]).set_result(message["response"])

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        while (message := await self._out.get()) is not None:
            yield message

    async def use(self, turn: Sequence[Call]) -> None:
        """Use the tools of one turn at once, as the program does."""
        self.told += await asyncio.gather(*(self._use(f"mcp__desk__{name}", given) for name, given in turn))

    async def hook(self, event: str, use_id: str | None = None, **given: Any) -> dict[str, Any]:
        told: dict[str, Any] = {}
        for name in self.hooks.get(event, ()):
            about = {"hook_event_name": event, "session_id": self.session, "cwd": "/", "transcript_path": "", **given}
            answer = await self._ask(subtype="hook_callback", callback_id=name, input=about, tool_use_id=use_id)
            told |= (answer.get("response") or {}).get("hookSpecificOutput") or {}
        return told

    async def _use(self, tool: str, given: dict[str, Any]) -> str:
        use_id = f"use-{next(_numbers)}"
        about = {"tool_name": tool, "tool_input": given, "tool_use_id": use_id}
        said = await self.hook("PreToolUse", use_id, **about)
        if said.get("permissionDecision", "allow") != "allow":
            return str(said["permissionDecisionReason"])
        about["tool_input"] = arguments = said.get("updatedInput", given)
        answer = await self._server("tools/call", name=tool.rpartition("__")[2], arguments=arguments)
        if answer["result"].get("isError"):
            await self.hook("PostToolUseFailure", use_id, **about, error=answer["result"]["content"][0]["text"])
            return str(answer["result"]["content"][0]["text"])
        content = answer["result"]["content"]
        said = await self.hook("PostToolUse", use_id, **about, tool_response=content)
        shown = said.get("updatedToolOutput", content)
        return shown if isinstance(shown, str) else str(shown[0]["text"])

    async def _server(self, method: str, **params: Any) -> dict[str, Any]:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        if not method.startswith("notifications/"):
            message["id"] = next(_numbers)
        answer = await self._ask(subtype="mcp_message", server_name="desk", message=message)
        found: dict[str, Any] = answer["response"]["mcp_response"]
        return found

    async def open(self) -> None:
        about = {"name": "program", "version": "1"}
        await self._server("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=about)
        await self._server("notifications/initialized")

    async def _ask(self, **request: Any) -> dict[str, Any]:
        name = f"request-{next(_numbers)}"
        waiting = self._answers[name] = asyncio.get_running_loop().create_future()
        await self._out.put({"type": "control_request", "request_id": name, "request": request})
        answer: dict[str, Any] = await waiting
        return answer


def tool_of(function: Any) -> SdkMcpTool[Any]:
    names = [name for name in function.__annotations__ if name != "return"]

    async def handler(given: dict[str, Any]) -> dict[str, Any]:
        return {"content": [{"type": "text", "text": function(**given)}]}

    schema = {name: _TYPES.get(name, str) for name in names}
    return SdkMcpTool(function.__name__, function.__doc__, schema, handler)


class ClaudeAgentSDK:
    """A call that waits for people is made again by the model; so does this one, when it is resumed."""

    name = "claude-agent-sdk"
    pauses_again = True

    def run(self, bridge: Bridge, tools: Tools, turns: Sequence[Sequence[Call]], prompt: str = PROMPT) -> Turn:
        bridge.tools = {f"mcp__desk__{name}": policy for name, policy in POLICY_NAMES.items()}
        server = create_sdk_mcp_server("desk", tools=[tool_of(function) for function in tools.functions])
        options = governed(ClaudeAgentOptions(mcp_servers={"desk": server}), bridge)
        session = f"claude-{next(_sessions)}"
        return self._turn(options, session, list(turns), [], prompt)

    def _turn(self, options: Any, session: str, turns: list[Sequence[Call]], told: list[str], prompt: str) -> Turn:
        said, left = asyncio.run(self._talk(options, session, turns, prompt))
        found = [re.search(r"people have to approve this call first \(request (\S+)\)", text) for text in said]
        waits = [match[1] for match in found if match]
        made = [call for turn in turns for call in turn]
        again = [[call for call, match in zip(made, found, strict=False) if match], *left]

        def resume() -> Turn:
            after = self._turn(options, session, again, [], "")
            retold = iter(after.told)
            whole = [next(retold) if match else text for text, match in zip(said, found, strict=False)]
            return Turn([*whole, *retold], after.waits, after.resume)

        return Turn([*told, *said], waits, resume)

    async def _talk(
        self, options: Any, session: str, turns: list[Sequence[Call]], prompt: str
    ) -> tuple[list[str], list[Sequence[Call]]]:
        program = Program(session)
        async with ClaudeSDKClient(options, transport=program):
            await program.open()
            if prompt:
                await program.hook("UserPromptSubmit", prompt=prompt)
            for at, turn in enumerate(turns, 1):
                before = len(program.told)
                await program.use(turn)
                if any("people have to approve" in text for text in program.told[before:]):
                    return program.told, turns[at:]
        return program.told, []
