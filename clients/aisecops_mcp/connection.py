"""What one client has of the proxy over HTTP: a proxy with its servers, and the streams that it is answered on.

With a handshake (2025-11-25) that is a session of the client's. Without (2026-07-28) it is all that one caller asks:
what a tool returned to it is a source of its next call, whichever of its programs makes it. These choose their ids
without knowing of each other, so an id that is in use is another one here, and the client's own again in what it is
sent.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aisecops_mcp import eras, jsonrpc, mirrored
from aisecops_mcp.callers import Caller, Door
from aisecops_mcp.governor import Governor
from aisecops_mcp.jsonrpc import Message, MessageId
from aisecops_mcp.opening import Reached, servers_at, start
from aisecops_mcp.proxy import Proxy
from aisecops_mcp.stdio import Bounds
from aisecops_mcp.streams import Stream, Streams
from aisecops_mcp.talk import Say
from aisecops_mcp.upstream import Upstream

_PROGRESS, _CANCELLED = "notifications/progress", "notifications/cancelled"
_TOKEN = "progressToken"  # noqa: S105 - of progress
_CREDENTIALS = 4
# No client's: what begins so is given another name.
OWN_ID = "aisecops"
_ALIAS = f"{OWN_ID}/again-"


class InUseError(Exception):
    """A request has an id that another one has which is under way."""


@dataclass(frozen=True, slots=True)
class Alias:
    """What a request is called by its client: its id, and its token for progress where it has one."""

    id: MessageId
    token: Any


@dataclass(slots=True, eq=False)
class Connection:
    """One of a caller's connections. ``id`` is empty where there is no handshake; ``protocol`` is what it agreed on."""

    id: str
    caller: Caller
    door: Door
    say: Say
    protocol: str = ""
    streams: Streams = field(default_factory=Streams)
    using: int = 0
    used_at: float = 0.0
    _proxy: Proxy | None = field(default=None, init=False)
    _governors: dict[str, Governor] = field(default_factory=dict, init=False)
    _hello: MessageId | None = field(default=None, init=False)
    _tokens: dict[Any, MessageId] = field(default_factory=dict, init=False)
    _aliases: dict[MessageId, Alias] = field(default_factory=dict, init=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count, init=False)
    _reviving: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def open(self, places: Mapping[str, Reached], bounds: Bounds) -> None:
        """Start its servers.

        Raises:
            ValueError: a server cannot be called so.
        """

        def heard(server: Upstream, message: Message) -> None:
            self.proxy.from_server(server, message)

        servers = servers_at(places, heard, self.say, limit=bounds.message_bytes)
        governor = self._governors[self.caller.credential] = self.door.governor(self.caller)
        self._proxy = Proxy(
            servers, governor, self._send, self.say, bounds.call_seconds, bounds.pins, self._done, asking=bounds.asking
        )
        await start(servers, self.say)

    @property
    def proxy(self) -> Proxy:
        """Return the proxy of an open connection."""
        assert self._proxy is not None  # noqa: S101 - open made it
        return self._proxy

    @property
    def is_idle(self) -> bool:
        """Return whether nobody uses it just now."""
        return not self.using and not self.streams.under_way

    async def entered(self, caller: Caller) -> None:
        """Ask the control plane with what the caller shows now; a call that is being made goes on with what it had."""
        if caller.credential not in self._governors:
            while len(self._governors) >= _CREDENTIALS:
                await self._let_go(next(iter(self._governors)))
            self._governors[caller.credential] = self.door.governor(caller)
        self.proxy.governor = self._governors[caller.credential]

    async def revive(self) -> None:
        """Start servers again that have ended: without a handshake nobody else would."""
        async with self._reviving:
            ended = {name: server for name, server in self.proxy.servers.items() if server.has_ended}
            for name in ended:
                # It may say something else of its tools than it did.
                self.proxy.definitions[name].known = False
            await start(ended, self.say)

    async def differing(self, message: Message, headers: eras.Headers) -> str:
        """Return which header of a call says something else than its arguments; empty if none does."""
        if message.method != "tools/call":
            return ""
        try:
            wanted = await self.proxy.mirrored(message)
        except LookupError:
            # No server is meant, which its answer will say.
            return ""
        return mirrored.differing(wanted, message.params.get("arguments"), headers)

    def ask(self, message: Message) -> Stream:
        """Take a request and return the stream that it is answered on.

        Raises:
            InUseError: its id is in use, in a session.
        """
        assert message.id is not None  # noqa: S101 - requests only
        token = _progress_token(message)
        taken = self.streams.has(message.id) or str(message.id).startswith(OWN_ID)
        if taken or (token is not None and token in self._tokens):
            if self.id:
                raise InUseError("the id or the token for progress is in use; give each request its own")
            message, token = self._renamed(message, Alias(message.id, token))
        assert message.id is not None  # noqa: S101 - it has one still
        stream = self.streams.begin(message.id)
        if token is not None:
            self._tokens[token] = message.id
        if message.method == "initialize":
            self._hello, self.protocol = message.id, str(message.params.get("protocolVersion", ""))
        self.proxy.take(message)
        return stream

    def tell(self, message: Message) -> None:
        """Take a notification, or an answer of the client."""
        self.proxy.take(message)

    def give_up(self, stream: Stream) -> None:
        """Cancel the request of a stream, because whoever asked has hung up."""
        if stream.about is not None and self.streams.has(stream.about):
            told = {"requestId": stream.about, "reason": "the client hung up"}
            self.proxy.take(jsonrpc.read(jsonrpc.notification(_CANCELLED, told)))

    async def close(self) -> None:
        """Give up what is under way, end its servers, and have told what came of every call."""
        if self._proxy is not None:
            await self._proxy.close()
        self.streams.close()
        for credential in list(self._governors):
            await self._let_go(credential)

    async def _let_go(self, credential: str) -> None:
        governor = self._governors.pop(credential)
        governor.leave()
        await governor.client.close()

    # --- from the proxy ----------------------------------------------------------------------------------------

    def _send(self, raw: bytes, about: MessageId | None = None) -> None:
        if about is None:
            about = self._whose(jsonrpc.read(raw))
        if about is not None and about in self._aliases:
            raw = _named_back(jsonrpc.read(raw), self._aliases[about])
        if about is not None and about == self._hello:
            self._greeted(jsonrpc.read(raw))
        self.streams.put(raw, about)

    def _whose(self, message: Message) -> MessageId | None:
        """Return the request that a message belongs to, of which the transport of its server does not tell."""
        token = message.params.get(_TOKEN) if message.method == _PROGRESS else None
        return self._tokens.get(token) if isinstance(token, str | int) else None

    def _greeted(self, message: Message) -> None:
        if message.is_answer:
            self._hello = None
            self.protocol = str(message.result.get("protocolVersion", "")) if message.error is None else ""

    def _done(self, id: MessageId) -> None:
        self.streams.end(id)
        self._aliases.pop(id, None)
        for token in [token for token, whose in self._tokens.items() if whose == id]:
            del self._tokens[token]

    def _renamed(self, message: Message, alias: Alias) -> tuple[Message, Any]:
        own = f"{_ALIAS}{next(self._numbers)}"
        self._aliases[own] = alias
        changed: dict[str, Any] = {"id": own}
        if alias.token is not None:
            meta = {**message.params["_meta"], _TOKEN: own}
            changed["params"] = {**message.params, "_meta": meta}
        return jsonrpc.read(jsonrpc.renamed(message, **changed)), own if alias.token is not None else None


def _progress_token(message: Message) -> str | int | None:
    meta = message.params.get("_meta")
    token = meta.get(_TOKEN) if isinstance(meta, Mapping) else None
    return token if isinstance(token, str) or type(token) is int else None


def _named_back(message: Message, alias: Alias) -> bytes:
    """Return a message to a client with what the client calls its request."""
    if message.is_answer:
        return jsonrpc.renamed(message, id=alias.id)
    if message.method == _PROGRESS:
        return jsonrpc.renamed(message, params={**message.params, _TOKEN: alias.token})
    return message.raw
