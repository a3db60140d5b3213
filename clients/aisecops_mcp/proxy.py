"""Between one client and its servers: every message is passed on as it came, or decided first, or refused.

Ordering: what a server sends on its own (progress, log lines) reaches the client before the answer that comes after it.
A request is forwarded once, with its own id, so that cancellation and progress mean the same on both sides.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aisecops_client import AisecopsClientError
from aisecops_client.guarded import GrantedCall

from aisecops_mcp import jsonrpc, telling
from aisecops_mcp.addresses import Addresses
from aisecops_mcp.consent import ASKING, COMPLETED, KEY, Asking, Consent, InputDeniedError, of_server
from aisecops_mcp.definitions import CHANGED, Change, Definitions
from aisecops_mcp.governor import Asked, Governor
from aisecops_mcp.inputs import Inputs
from aisecops_mcp.joint import Joint
from aisecops_mcp.jsonrpc import MalformedError, Message, MessageId
from aisecops_mcp.listing import LISTS, REQUESTS, Access, take_in
from aisecops_mcp.mirrored import Mirrored
from aisecops_mcp.naming import Naming
from aisecops_mcp.session import Session, ToldWronglyError
from aisecops_mcp.talk import Say
from aisecops_mcp.upstream import ServerGoneError, Upstream

# Without a handshake: the request whose answer is what a server tells by itself, for as long as it is listened to.
SUBSCRIBED = "subscriptions/listen"
# What only manages the connection; it is passed on undecided, but for the resources that a client wants to hear of.
PASSED = frozenset({"initialize", "ping", "logging/setLevel", "resources/unsubscribe", "server/discover", SUBSCRIBED})
_NOTIFICATIONS = frozenset(
    {
        "notifications/initialized",
        "notifications/cancelled",
        "notifications/progress",
        "notifications/roots/list_changed",
    }
)
_CANCELLED = "notifications/cancelled"
_OWN_ID = "aisecops-"


class Send(Protocol):
    """Gives the client a message. ``about`` is the client's request that it belongs to, where that can be told."""

    def __call__(self, raw: bytes, about: MessageId | None = None, /) -> None:
        """Give it."""


def _of_no_interest(_id: MessageId) -> None:
    """Where every message goes one way, nobody asks when there are no more of a request."""


@dataclass(slots=True)
class Proxy:
    """One client's connection. ``send`` gives it a message; ``done`` hears when a request of it is over.

    ``call_seconds`` is how long a server may take for one request, ``asking`` how calls wait for people.
    """

    servers: Mapping[str, Upstream]
    governor: Governor
    send: Send
    say: Say
    call_seconds: float
    pins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    done: Callable[[MessageId], None] = _of_no_interest
    asking: Asking = field(default_factory=Asking)
    session: Session = field(init=False)
    consent: Consent = field(init=False)
    inputs: Inputs = field(init=False)
    addresses: Addresses = field(init=False)
    naming: Naming = field(init=False)
    joint: Joint = field(init=False)
    definitions: Mapping[str, Definitions] = field(init=False)
    _answering: dict[MessageId, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _forwarded: dict[MessageId, Upstream] = field(default_factory=dict, init=False)
    _asking: dict[MessageId, asyncio.Future[Message]] = field(default_factory=dict, init=False)
    _working: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        """Begin a session."""
        self.session = self.governor.session()
        self.naming = Naming(tuple(self.servers))
        self.definitions = {
            name: Definitions(dict(self.pins.get(name, {})), strict=bool(self.pins)) for name in self.servers
        }
        self.joint = Joint(self.servers, self.naming, self.say, self.definitions)
        self.consent = Consent(lambda: self.governor, self.session, self.send, self.say, self.asking)
        self.addresses = Addresses()
        self.inputs = Inputs(lambda: self.governor, self.session, self.consent, self.addresses)

    # --- from the client ---------------------------------------------------------------------------------------

    def from_client(self, raw: bytes) -> None:
        """Take a message of the client."""
        try:
            message = jsonrpc.read(raw)
        except MalformedError as error:
            self.send(jsonrpc.failure(error.id, error.code, str(error)))
            return
        self.take(message)

    def take(self, message: Message) -> None:
        """Take a message of the client that was read already."""
        if message.is_answer:
            self._answered(message)
        elif message.id is None:
            self._work(self._notified(message))
        elif message.id in self._answering or str(message.id).startswith(_OWN_ID):
            self.send(
                jsonrpc.failure(message.id, jsonrpc.INVALID_REQUEST, "the id is in use; give each request its own")
            )
        else:
            task = asyncio.create_task(self._answer(message, message.id))
            self._answering[message.id] = task

    async def close(self) -> None:
        """Give up what is under way, end the servers, and have told what came of every call."""
        under_way = [*self._answering.values(), *self._working]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await asyncio.gather(*(server.stop() for server in self.servers.values()))
        await self.governor.settle(self.session)

    async def _answer(self, message: Message, id: MessageId) -> None:
        try:
            self.send(await self._answered_or_refused(message), id)
        finally:
            self._answering.pop(id, None)
            self.done(id)

    async def _answered_or_refused(self, message: Message) -> bytes:
        try:
            return await self._reply(message)
        except ServerGoneError as error:
            return jsonrpc.failure(message.id, jsonrpc.SERVER_FAILED, str(error))
        except LookupError as error:
            return jsonrpc.failure(message.id, jsonrpc.INVALID_PARAMS, str(error))
        except InputDeniedError as error:
            return telling.refusal(message, error.why)
        except (AisecopsClientError, ToldWronglyError, TypeError, ValueError) as error:
            return telling.refusal(message, error)

    async def _reply(self, message: Message) -> bytes:
        if message.method == "tools/call":
            return await self.consent.call(message, self._called)
        if message.method in REQUESTS:
            return await self.consent.call(message, self._requested)
        if message.method in LISTS:
            return await self._listed(message)
        if message.method not in PASSED:
            why = f"{message.method} is not let through: it is not known what it does"
            return jsonrpc.failure(message.id, jsonrpc.METHOD_NOT_FOUND, why)
        raw = await self._passed(message)
        if message.method == "initialize":
            self.consent.began(message, jsonrpc.read(raw))
        return raw

    async def _passed(self, message: Message) -> bytes:
        if self.naming.is_joint:
            return await self.joint.reply(message, self._ask)
        if message.method == SUBSCRIBED:
            return await self._subscribed(message)
        [server] = self.servers.values()
        return (await self._ask(server, message, message.raw)).raw

    async def _called(self, message: Message) -> bytes:
        shown, arguments = message.params.get("name"), message.params.get("arguments", {})
        if not isinstance(shown, str) or not isinstance(arguments, dict):
            return jsonrpc.failure(message.id, jsonrpc.INVALID_PARAMS, "a call has a name and an object of arguments")
        name, bare = self.naming.split(shown)
        server = self.servers[name]
        if not self.definitions[name].known:
            await self.joint.look(server, message)
        if change := self.definitions[name].change_of(bare):
            await self._accepted(name, change)

        async def forward(call: GrantedCall) -> Message:
            changed: dict[str, Any] = {"name": bare}
            # What is sent is what was granted, and not what it was read from.
            if "arguments" in message.params or json.loads(call.arguments):
                changed["arguments"] = json.loads(call.arguments)
            answer = await self._ask(server, message, _with_params(message, changed))
            return await self.inputs.decided(server.name, message, answer)

        return await self._governed(message, f"{name}/{bare}", arguments, forward)

    async def _accepted(self, server: str, change: Change) -> None:
        """Have a changed definition accepted.

        Raises:
            CallDeniedError: it is not, or people have to look at it first.
            AisecopsClientError: there is no decision about it.
        """

        async def forward(_call: GrantedCall) -> Message:
            self.definitions[server].accept(change)
            return jsonrpc.read(jsonrpc.answer(0, {}))

        await self.governor.call(Asked(self.session, f"{server}/{CHANGED}", change.arguments, forward))

    async def _requested(self, message: Message) -> bytes:
        server, params = self.joint.route(message)
        arguments = {name: value for name, value in message.params.items() if name != "_meta"}

        async def forward(call: GrantedCall) -> Message:
            granted = json.loads(call.arguments)
            raw = _with_params(message, {**granted, **params})
            return await self.inputs.decided(server.name, message, await self._ask(server, message, raw))

        return await self._governed(
            message, f"{server.name}/{message.method.replace('/', '.')}", {**arguments, **params}, forward
        )

    async def _subscribed(self, message: Message) -> bytes:
        """Have a server tell the client of changes (2026-07-28), for as long as both want."""
        [server] = self.servers.values()
        wanted = message.params.get("notifications")
        uris = wanted.get("resourceSubscriptions") if isinstance(wanted, Mapping) else None
        for uri in uris if isinstance(uris, list) else []:
            await self._look_into(f"{server.name}/resources.subscribe", {"uri": uri})
        assert message.id is not None  # noqa: S101 - requests only
        self._forwarded[message.id] = server
        try:
            return (await server.ask(message.id, message.raw)).raw
        finally:
            self._forwarded.pop(message.id, None)

    async def mirrored(self, message: Message) -> Sequence[Mirrored]:
        """Return which arguments of a call the tool's definition wants repeated as headers.

        Raises:
            LookupError: no server is meant.
        """
        name, bare = self.naming.split(str(message.params.get("name", "")))
        if not self.definitions[name].known:
            await self.joint.look(self.servers[name], message)
        return self.definitions[name].mirrored(bare)

    async def _look_into(self, tool: str, params: Mapping[str, Any]) -> None:
        """Have something allowed that is not done here.

        Raises:
            CallDeniedError: it is not.
            AisecopsClientError: there is no decision about it.
        """

        async def forward(_call: GrantedCall) -> Message:
            return jsonrpc.read(jsonrpc.answer(0, {}))

        await self.governor.call(Asked(self.session, tool, params, forward))

    async def _governed(
        self,
        message: Message,
        tool: str,
        arguments: Mapping[str, Any],
        forward: Callable[[GrantedCall], Awaitable[Message]],
    ) -> bytes:
        meta = message.params.get("_meta")
        if isinstance(meta, Mapping) and telling.SOURCES in meta:
            self.session.told(meta[telling.SOURCES])
        return await self.governor.call(Asked(self.session, tool, arguments, forward))

    async def _listed(self, message: Message) -> bytes:
        access = {
            name: Access.of(name, await self.governor.tools(name), self.definitions[name]) for name in self.servers
        }
        if self.naming.is_joint:
            return await self.joint.listed(message, access, self._ask)
        [server] = self.servers.values()
        answer = await self._ask(server, message, message.raw)
        member, _ = LISTS[message.method]
        entries = answer.result.get(member)
        if answer.error is not None or not isinstance(entries, list):
            return answer.raw
        if message.method == "tools/list":
            take_in(server.name, self.definitions[server.name], entries, self.say)
        kept = access[server.name].kept(message.method, entries)
        # What this agent may see is not what another may.
        changed = {"cacheScope": "private"} if "cacheScope" in answer.result else {}
        if len(kept) == len(entries) and all(answer.result[key] == value for key, value in changed.items()):
            return answer.raw
        return jsonrpc.renamed(answer, result={**answer.result, member: kept, **changed})

    async def _ask(self, server: Upstream, message: Message, raw: bytes) -> Message:
        """Forward a request of the client and return the answer to it.

        Raises:
            ServerGoneError: there is none, or not in time.
        """
        assert message.id is not None  # noqa: S101 - requests only
        self._forwarded[message.id] = server
        try:
            async with asyncio.timeout(self.call_seconds):
                return await server.ask(message.id, raw)
        except TimeoutError as error:
            told = {"requestId": message.id, "reason": "no answer in time"}
            await server.tell(jsonrpc.notification(_CANCELLED, told))
            raise ServerGoneError(f"the server {server.name} gave no answer in {self.call_seconds:g} s") from error
        finally:
            self._forwarded.pop(message.id, None)

    async def _notified(self, message: Message) -> None:
        if message.method not in _NOTIFICATIONS:
            self.say(f"the client's {message.method} is not let through: it is not known what it does")
            return
        servers = list(self.servers.values())
        if message.method == _CANCELLED:
            servers = self._cancelled(message.params.get("requestId"))
        for server in servers:
            with contextlib.suppress(ServerGoneError):
                await server.tell(message.raw)

    def _cancelled(self, id: Any) -> list[Upstream]:
        """Give a request up, and return who else has to know."""
        if not isinstance(id, str | int):
            return []
        known = [self._forwarded[id]] if id in self._forwarded else []
        if id in self._answering:
            self._answering[id].cancel()
        return known

    # --- from a server -----------------------------------------------------------------------------------------

    def from_server(self, server: Upstream, message: Message) -> None:
        """Take a request or a notification of a server."""
        if message.id is not None:
            self._work(self._serve(server, message))
        elif message.method.startswith("notifications/"):
            if message.method == "notifications/tools/list_changed":
                self.definitions[server.name].known = False
            if message.method == COMPLETED and not self.addresses.done(server.name, message.params):
                self.say(f"the server {server.name} says that something is done which it did not ask for")
                return
            self.send(message.raw, message.during)
        else:
            self.say(f"the server {server.name} said {message.method!r}, which is no notification")

    async def _serve(self, server: Upstream, message: Message) -> None:
        """Let the client answer a request of a server, if the agent may have the server ask it."""
        try:
            raw = await self._served(server, message)
        except (AisecopsClientError, TypeError, ValueError) as error:
            raw = telling.refusal(message, error)
        except ServerGoneError as error:
            raw = jsonrpc.failure(message.id, jsonrpc.SERVER_FAILED, str(error))
        with contextlib.suppress(ServerGoneError):
            await server.tell(raw)

    async def _served(self, server: Upstream, message: Message) -> bytes:
        if message.method == "ping":
            return (await self._ask_client(server, message)).raw
        if message.method not in REQUESTS:
            why = f"{message.method} is not let through: it is not known what it does"
            return jsonrpc.failure(message.id, jsonrpc.METHOD_NOT_FOUND, why)

        async def forward(_call: GrantedCall) -> Message:
            return await self._ask_client(server, message)

        arguments = {name: value for name, value in message.params.items() if name != "_meta"}
        asked = Asked(self.session, f"{server.name}/{message.method.replace('/', '.')}", arguments, forward)
        return await self.consent.patiently(lambda: self.governor.call(asked), message.during)

    async def _ask_client(self, server: Upstream, message: Message) -> Message:
        shown = message.params
        if message.method == ASKING:
            self.addresses.shown(server.name, message.params)
            shown = of_server(server.name, message.params)
        # Servers choose ids without knowing of each other.
        own = f"{_OWN_ID}{server.name}-{json.dumps(message.id)}"
        waiting = self._asking[own] = asyncio.get_running_loop().create_future()
        changed = {"params": telling.without_own(shown)} if "params" in message.fields else {}
        try:
            self.send(jsonrpc.renamed(message, id=own, **changed), message.during)
            async with asyncio.timeout(self.call_seconds):
                answer = await waiting
        except TimeoutError as error:
            raise ServerGoneError("the client gave no answer") from error
        finally:
            del self._asking[own]
        return jsonrpc.read(jsonrpc.renamed(answer, id=message.id))

    def _answered(self, message: Message) -> None:
        if self.consent.answered(message):
            return
        waiting = self._asking.get(message.id) if message.id is not None else None
        if waiting is not None and not waiting.done():
            waiting.set_result(message)
        else:
            self.say(f"the client answered {message.id!r}, which nobody asks")

    def _work(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)


def _with_params(message: Message, changed: Mapping[str, Any]) -> bytes:
    """Return a request with some parameters changed and without what is for the proxy only."""
    params = telling.without_own({**message.params, **changed})
    given = params.get("inputResponses")
    if isinstance(given, Mapping) and KEY in given:
        params["inputResponses"] = {name: value for name, value in given.items() if name != KEY}
    return jsonrpc.renamed(message, params=params)
