"""A small host of agent-hooks: its own emitter and contexts carry each call, as the contract has hosts do."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Sequence
from typing import Any

from agent_hooks import AgentContextBuilder, InterceptionBlocked, InterceptionEmitter
from aisecops_client.frameworks._bridge import Bridge
from aisecops_client.frameworks.agent_hooks import Interceptor

from tests.integration.frameworks.scene import PROMPT, Call, Tools, Turn

_numbers, _sessions = itertools.count(1), itertools.count(1)
_WAITS = re.compile(r"people have to approve this call first \(request (\S+)\)")


class Host:
    """Enforces verdicts: what is denied does not run, what is transformed goes on transformed."""

    def __init__(self, interceptor: Interceptor, tools: Tools, session: str) -> None:
        self.emitter = InterceptionEmitter()
        self.emitter.register(interceptor)
        self.about = AgentContextBuilder(agent_id="claimed", framework="host", session_id=session)
        self.functions: dict[str, Any] = {function.__name__: function for function in [*tools.functions, tools.fail]}

    async def say(self, prompt: str) -> None:
        await self.emitter.emit(self.about.input(content=prompt))

    async def use(self, call: Call) -> str:
        (name, args), call_id = call, f"call-{next(_numbers)}"
        try:
            before = await self.emitter.emit(self.about.pre_tool_call(call_id=call_id, name=name, args=args))
            args = before.target
            try:
                value, failed = self.functions[name](**args), False
            except RuntimeError as error:
                value, failed = str(error), True
            after = self.about.post_tool_call(call_id=call_id, name=name, args=args, value=value, is_error=failed)
            return str((await self.emitter.emit(after)).target)
        except InterceptionBlocked as blocked:
            verdict = blocked.result.verdict
            # The contract itself takes no number beyond 2^53: the host says so, and nobody is asked.
            refused = verdict.reason == "host_error:context_invalid"
            return f"Not run: the call cannot be judged: {verdict.message}" if refused else str(verdict.message)


class AgentHooks:
    """A call that waits for people is made again by the model; so does this one, when it is resumed."""

    name = "agent-hooks-sdk"
    pauses_again = True

    def run(self, bridge: Bridge, tools: Tools, turns: Sequence[Sequence[Call]], prompt: str = PROMPT) -> Turn:
        interceptor, session = Interceptor(bridge), f"hooks-{next(_sessions)}"
        return self._turn(Host(interceptor, tools, session), list(turns), prompt)

    def _turn(self, host: Host, turns: list[Sequence[Call]], prompt: str) -> Turn:
        said, left = asyncio.run(self._talk(host, turns, prompt))
        found = [_WAITS.search(text) for text in said]
        made = [call for turn in turns for call in turn]
        again = [[call for call, match in zip(made, found, strict=False) if match], *left]

        def resume() -> Turn:
            after = self._turn(host, again, "")
            retold = iter(after.told)
            whole = [next(retold) if match else text for text, match in zip(said, found, strict=False)]
            return Turn([*whole, *retold], after.waits, after.resume)

        return Turn(said, [match[1] for match in found if match], resume)

    async def _talk(
        self, host: Host, turns: list[Sequence[Call]], prompt: str
    ) -> tuple[list[str], list[Sequence[Call]]]:
        said: list[str] = []
        if prompt:
            await host.say(prompt)
        for at, turn in enumerate(turns, 1):
            before = len(said)
            said += await asyncio.gather(*(host.use(call) for call in turn))
            if any(_WAITS.search(text) for text in said[before:]):
                return said, turns[at:]
        return said, []
