"""What a server wants to know of the client before it answers a call: decided, and shown under the server's name.

In the era without connections (2026-07-28) that is a result, in the one before an error that names addresses to open.
Either is one more way to speak to the person at the client, so each question in it is a call of a reserved tool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aisecops_client import CallDeniedError
from aisecops_client.guarded import GrantedCall

from aisecops_mcp import jsonrpc, telling
from aisecops_mcp.addresses import Addresses
from aisecops_mcp.consent import ASKING, KEY, STATE, Consent, InputDeniedError, of_server
from aisecops_mcp.governor import Asked, Governor
from aisecops_mcp.jsonrpc import Message
from aisecops_mcp.listing import REQUESTS
from aisecops_mcp.session import Session
from aisecops_mcp.upstream import ServerGoneError

ADDRESSES_WANTED = -32042


@dataclass(frozen=True, slots=True)
class Inputs:
    """Decides for one session. ``governor`` gives that of the credential which the agent shows now.

    Where the client can be asked meanwhile, what people have to approve first waits for them as a call does.
    """

    governor: Callable[[], Governor]
    session: Session
    consent: Consent
    addresses: Addresses

    async def decided(self, server: str, call: Message, answer: Message) -> Message:
        """Return a server's answer as the client may see it, if all that it asks for may be asked.

        Raises:
            InputDeniedError: it may not.
            ServerGoneError: nobody knows what it asks for, or it poses as the proxy.
        """
        if answer.error is not None:
            return await self._addresses_decided(server, call, answer)
        state, wanted = answer.result.get("requestState"), answer.result.get("inputRequests", {})
        posing = isinstance(state, str) and state.startswith(STATE)
        if posing or not isinstance(wanted, Mapping) or KEY in wanted:
            raise ServerGoneError(f"the server {server} asks in a way that is not let through")
        passed = {name: await self._one_decided(server, call, one) for name, one in wanted.items()}
        result = {**telling.without_own(answer.result), **({"inputRequests": passed} if passed else {})}
        return answer if result == answer.result else jsonrpc.read(jsonrpc.renamed(answer, result=result))

    async def _one_decided(self, server: str, call: Message, one: Any) -> Any:
        method = one.get("method") if isinstance(one, Mapping) else None
        if not isinstance(one, Mapping) or method not in REQUESTS or not isinstance(one.get("params", {}), Mapping):
            raise ServerGoneError(f"the server {server} asks for {method!r}, which is not let through")
        await self._may_ask(server, call, method, one.get("params", {}))
        return {**one, "params": of_server(server, one.get("params", {}))} if method == ASKING else one

    async def _addresses_decided(self, server: str, call: Message, answer: Message) -> Message:
        error = dict(answer.error or {})
        if error.get("code") != ADDRESSES_WANTED:
            return answer
        data = error.get("data")
        wanted = data.get("elicitations") if isinstance(data, Mapping) else None
        if not isinstance(wanted, list) or not all(isinstance(one, Mapping) for one in wanted):
            raise ServerGoneError(f"the server {server} wants addresses opened that cannot be read")
        for one in wanted:
            await self._may_ask(server, call, ASKING, one)
            self.addresses.shown(server, one)
        told = of_server(server, {"message": str(error.get("message", ""))})["message"]
        shown = {"elicitations": [of_server(server, one) for one in wanted]}
        return jsonrpc.read(jsonrpc.renamed(answer, error={**error, "message": told, "data": shown}))

    async def _may_ask(self, server: str, call: Message, method: str, params: Mapping[str, Any]) -> None:
        async def forward(_call: GrantedCall) -> Message:
            return jsonrpc.read(jsonrpc.answer(0, {}))

        given = {name: value for name, value in params.items() if name != "_meta"}
        asked = Asked(self.session, f"{server}/{method.replace('/', '.')}", given, forward)
        try:
            if telling.is_modern(call):
                await self.governor().call(asked)
            else:
                await self.consent.patiently(lambda: self.governor().call(asked), call.id)
        except CallDeniedError as error:
            raise InputDeniedError(error) from error
