"""Several servers as one: their lists joined, their names told apart, each request sent to the one that it is for."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from aisecops_mcp import jsonrpc
from aisecops_mcp.definitions import Definitions
from aisecops_mcp.jsonrpc import Message
from aisecops_mcp.listing import LISTS, Access, take_in
from aisecops_mcp.naming import Naming
from aisecops_mcp.talk import Say
from aisecops_mcp.upstream import ServerGoneError, Upstream

Ask = Callable[[Upstream, Message, bytes], Awaitable[Message]]
ERA = "io.modelcontextprotocol/"
_PAGES = 100
_START_SECONDS = 60.0


@dataclass(slots=True)
class Joint:
    """Answers for several servers what only one could answer by itself. With one, it only finds that one."""

    servers: Mapping[str, Upstream]
    naming: Naming
    say: Say
    definitions: Mapping[str, Definitions]
    _uris: dict[str, str] = field(default_factory=dict, init=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count, init=False)

    def route(self, message: Message) -> tuple[Upstream, Mapping[str, Any]]:
        """Return which server a request is for, and the parameters that it has another name for.

        Raises:
            LookupError: none is.
        """
        if not self.naming.is_joint:
            [server] = self.servers.values()
            return server, {}
        reference = message.params.get("ref")
        named = reference if isinstance(reference, Mapping) else message.params
        if isinstance(named.get("name"), str):
            name, bare = self.naming.split(named["name"])
            return self.servers[name], {"ref": {**named, "name": bare}} if named is reference else {"name": bare}
        uri = str(named.get("uri", ""))
        if uri not in self._uris:
            raise LookupError(f"no server has listed {uri!r}")
        return self.servers[self._uris[uri]], {}

    async def reply(self, message: Message, ask: Ask) -> bytes:
        """Answer what manages the connection.

        Raises:
            ServerGoneError: no server answers.
            LookupError: no server is meant.
        """
        match message.method:
            case "initialize":
                return await self._initialized(message)
            case "ping":
                return jsonrpc.answer(message.id, {})
            case "resources/unsubscribe":
                server, _ = self.route(message)
                return (await ask(server, message, message.raw)).raw
            case "logging/setLevel":
                await self._from_all(message.method, message.params)
                return jsonrpc.answer(message.id, {})
        # Servers of both eras are behind one connection, so it is of the older one.
        return jsonrpc.failure(message.id, jsonrpc.METHOD_NOT_FOUND, f"{message.method} is not offered here")

    async def listed(self, message: Message, access: Mapping[str, Access], _ask: Ask) -> bytes:
        """Return the lists of all servers as one page."""
        member, _ = LISTS[message.method]
        pages = await asyncio.gather(*(self.entries(server, message.method) for server in self.servers.values()))
        found: list[dict[str, Any]] = []
        for name, entries in zip(self.servers, pages, strict=True):
            if message.method == "tools/list":
                take_in(name, self.definitions[name], entries, self.say)
            for entry in access[name].kept(message.method, entries):
                if isinstance(entry.get("uri"), str):
                    found.append(dict(entry))
                    self._claim(entry["uri"], name)
                else:
                    found.append({**entry, "name": self.naming.shown(name, str(entry.get("name", "")))})
        kept = [entry for entry in found if self._uris.get(entry.get("uri", ""), "-")]
        return jsonrpc.answer(message.id, {member: kept})

    async def look(self, server: Upstream, message: Message) -> None:
        """Read the definitions of a server's tools, on behalf of a request of the client."""
        meta = message.params.get("_meta")
        # Of the era of the request; progress of it is nobody's business.
        era = {name: value for name, value in meta.items() if name.startswith(ERA)} if isinstance(meta, Mapping) else {}
        entries = await self.entries(server, "tools/list", {"_meta": era} if era else {})
        take_in(server.name, self.definitions[server.name], entries, self.say)

    def _claim(self, uri: str, server: str) -> None:
        if self._uris.setdefault(uri, server) != server:
            self.say(f"two servers have {uri!r}, so neither is asked for it")
            self._uris[uri] = ""

    async def entries(self, server: Upstream, method: str, params: Mapping[str, Any] | None = None) -> list[Any]:
        """Return all pages of a list; what cannot be read is left out and told of."""
        member, _ = LISTS[method]
        found: list[Any] = []
        cursor: Any = None
        for _ in range(_PAGES):
            try:
                answer = await self._own(server, method, {**(params or {}), **({"cursor": cursor} if cursor else {})})
            except ServerGoneError as error:
                self.say(str(error))
                return found
            entries = answer.result.get(member)
            found += entries if isinstance(entries, list) else []
            cursor = answer.result.get("nextCursor")
            if not cursor:
                return found
        self.say(f"the server {server.name} has more than {_PAGES} pages of {member}; the rest is left out")
        return found

    async def _initialized(self, message: Message) -> bytes:
        answers = await self._from_all(message.method, message.params)
        sound = {name: answer.result for name, answer in answers.items() if answer.error is None}
        if not sound:
            raise ServerGoneError("none of the servers answers")
        capabilities: dict[str, Any] = {}
        for result in sound.values():
            for name, value in dict(result.get("capabilities", {})).items():
                capabilities[name] = {**capabilities.get(name, {}), **(value if isinstance(value, Mapping) else {})}
        told = [f"{name}: {result['instructions']}" for name, result in sound.items() if result.get("instructions")]
        return jsonrpc.answer(
            message.id,
            {
                "protocolVersion": min(str(result.get("protocolVersion", "")) for result in sound.values()),
                "capabilities": capabilities,
                "serverInfo": {"name": "aisecops", "version": metadata.version("aisecops")},
                **({"instructions": "\n".join(told)} if told else {}),
            },
        )

    async def _from_all(self, method: str, params: Mapping[str, Any]) -> dict[str, Message]:
        async def one(server: Upstream) -> Message | None:
            try:
                return await self._own(server, method, params)
            except ServerGoneError as error:
                self.say(str(error))
                return None

        answers = await asyncio.gather(*(one(server) for server in self.servers.values()))
        return {name: answer for name, answer in zip(self.servers, answers, strict=True) if answer is not None}

    async def _own(self, server: Upstream, method: str, params: Mapping[str, Any]) -> Message:
        own = f"aisecops-{next(self._numbers)}"
        try:
            async with asyncio.timeout(_START_SECONDS):
                return await server.ask(own, jsonrpc.request(own, method, params))
        except TimeoutError as error:
            raise ServerGoneError(f"the server {server.name} gave no answer to {method}") from error
