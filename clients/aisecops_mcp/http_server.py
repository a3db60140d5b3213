"""An MCP server that is reached over Streamable HTTP: each message is posted, and answered as JSON or by events.

Ordering: what the client notifies of is taken by the server before what it asks afterwards is sent. What a server sends
in the course of a request comes before its answer; what it sends on its own stream comes when it comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from aisecops_mcp import jsonrpc
from aisecops_mcp.eras import NAMED
from aisecops_mcp.events import Event, Events, TooLongError
from aisecops_mcp.http_address import Address, AddressError
from aisecops_mcp.jsonrpc import MalformedError, Message, MessageId
from aisecops_mcp.mirrored import Mirrored, encoded, headers_for, mirrored_in
from aisecops_mcp.talk import Say
from aisecops_mcp.telling import MODERN
from aisecops_mcp.upstream import ServerGoneError

_SESSION, _VERSION, _LAST = "Mcp-Session-Id", "MCP-Protocol-Version", "Last-Event-ID"
_TELL_SECONDS = 30.0
_STOP_SECONDS = 5.0
_CONNECT_SECONDS = 30.0
_RESUMES = 5
_PAUSE_SECONDS, _LONGEST_PAUSE = 1.0, 60.0
_OK, _ACCEPTED, _UNAUTHORIZED, _NOT_FOUND, _NOT_ALLOWED = 200, 202, 401, 404, 405


@dataclass(slots=True)
class HttpServer:
    """One server, by the name that policy has for it.

    ``heard`` gets its requests and notifications. ``limit`` is the longest message that is taken from it, in bytes.
    """

    name: str
    address: Address
    heard: Callable[[HttpServer, Message], None]
    say: Say
    limit: int
    _http: aiohttp.ClientSession | None = field(default=None, init=False)
    _token: str = field(default="", init=False, repr=False)
    _session: str = field(default="", init=False, repr=False)
    _protocol: str = field(default="", init=False)
    _telling: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _asking: set[MessageId] = field(default_factory=set, init=False)
    _mirrored: dict[str, tuple[Mirrored, ...]] = field(default_factory=dict, init=False)
    _listening: asyncio.Task[None] | None = field(default=None, init=False)

    @property
    def has_ended(self) -> bool:
        """Return whether it was not made ready to be reached."""
        return self._http is None

    async def start(self) -> None:
        """Make ready to reach it; it hears of that with the first message.

        Raises:
            ServerGoneError: its token or its authority cannot be used.
        """
        try:
            self._token = self.address.token()
            authority = self.address.authority_file
            tls = ssl.create_default_context(cafile=str(authority) if authority else None)
        except (AddressError, OSError) as error:
            raise ServerGoneError(f"the server {self.name} cannot be reached: {error}") from error
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        )

    async def ask(self, id: MessageId, raw: bytes) -> Message:
        """Send a request and return the answer to it.

        Raises:
            ServerGoneError: there is none.
        """
        if id in self._asking:
            raise ServerGoneError(f"a request with the id {id!r} is under way already")
        message = jsonrpc.read(raw)
        async with self._telling:
            pass
        self._asking.add(id)
        try:
            if message.method == "initialize":
                await self._forget()
            with self._troubles():
                found = await self._asked(id, message)
            if message.method == "tools/list":
                self._learn(found)
            return found
        finally:
            self._asking.discard(id)

    def _learn(self, listed: Message) -> None:
        """Note which arguments of its tools are to be repeated as headers."""
        tools = listed.result.get("tools")
        for tool in tools if isinstance(tools, list) else []:
            if isinstance(tool, dict) and isinstance(tool.get("name"), str):
                self._mirrored[tool["name"]] = mirrored_in(tool.get("inputSchema"))

    async def tell(self, raw: bytes) -> None:
        """Send a message that is not answered, or an answer.

        Raises:
            ServerGoneError: it does not take it.
        """
        message = jsonrpc.read(raw)
        if message.method == "notifications/cancelled" and not self._protocol:
            # Without a connection (2026-07-28), who hangs up has cancelled.
            return
        async with self._telling:
            with self._troubles():
                async with asyncio.timeout(_TELL_SECONDS), self._posted(message) as answer:
                    self._require_taken(answer)
        if message.method == "notifications/initialized" and self._listening is None:
            self._listening = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """End the session with it, if there is one."""
        if self._http is None:
            return
        await self._forget()
        await self._http.close()
        self._http = None

    async def _forget(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
            self._listening = None
        if self._session and self._http is not None:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS), self._sent("DELETE"):
                    pass
        self._session = self._protocol = ""

    async def _asked(self, id: MessageId, message: Message) -> Message:
        async with self._posted(message) as answer:
            if answer.content_type == "text/event-stream" and answer.status == _OK:
                found, last = await self._streamed(answer, id)
            else:
                found, last = await self._whole(answer, id), ""
            if message.method == "initialize" and found is not None and found.error is None:
                self._session = answer.headers.get(_SESSION, "")
                self._protocol = str(found.result.get("protocolVersion", ""))
        return found if found is not None else await self._resumed(id, last)

    async def _resumed(self, id: MessageId, last: str) -> Message:
        for attempt in range(_RESUMES if last else 0):
            await asyncio.sleep(_PAUSE_SECONDS * attempt)
            with contextlib.suppress(aiohttp.ClientError):
                async with self._sent("GET", {"Accept": "text/event-stream", _LAST: last}) as answer:
                    if answer.status != _OK or answer.content_type != "text/event-stream":
                        break
                    found, reached = await self._streamed(answer, id)
                    if found is not None:
                        return found
                    last = reached or last
        raise ServerGoneError(f"the server {self.name} hung up before it answered {id!r}")

    async def _listen(self) -> None:
        """Hear what the server sends on its own, for as long as it lets itself be heard."""
        last, pause = "", _PAUSE_SECONDS
        while True:
            with contextlib.suppress(aiohttp.ClientError, ServerGoneError):
                headers = {"Accept": "text/event-stream", **({_LAST: last} if last else {})}
                async with self._sent("GET", headers) as answer:
                    if answer.status in (_NOT_ALLOWED, _NOT_FOUND):
                        return
                    if answer.status == _OK and answer.content_type == "text/event-stream":
                        _, reached = await self._streamed(answer, None)
                        last, pause = reached or last, _PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _streamed(self, answer: aiohttp.ClientResponse, id: MessageId | None) -> tuple[Message | None, str]:
        """Return the answer to ``id``, if it comes before the end; and after what event the stream would be resumed."""
        events, last = Events(self.limit), ""
        try:
            async for chunk in answer.content.iter_any():
                for event in events.take(chunk):
                    last = event.id or last
                    if (found := self._take(event, id)) is not None:
                        return found, last
        except TooLongError as error:
            raise ServerGoneError(f"from the server {self.name}, {error} was withheld") from error
        except aiohttp.ClientError:
            if not last:
                raise
        return None, last

    def _take(self, event: Event, id: MessageId | None) -> Message | None:
        if not event.data:
            return None
        try:
            message = jsonrpc.read(event.data)
        except MalformedError as error:
            why = f"from the server {self.name}, a message was withheld: {error}"
            if id is not None and error.id in (None, id):
                raise ServerGoneError(why) from error
            self.say(why)
            return None
        if not message.is_answer:
            self.heard(self, dataclasses.replace(message, during=id))
        elif id is not None and message.id == id and type(message.id) is type(id):
            return message
        else:
            self.say(f"the server {self.name} answered {message.id!r}, which nobody asks there")
        return None

    async def _whole(self, answer: aiohttp.ClientResponse, id: MessageId) -> Message:
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > self.limit:
                raise ServerGoneError(f"from the server {self.name}, more than {self.limit} bytes were withheld")
        if answer.content_type == "application/json":
            # Errors of the protocol come with a status that is none of success (2026-07-28).
            with contextlib.suppress(MalformedError):
                found = jsonrpc.read(bytes(body))
                if found.is_answer and found.id == id and (answer.status == _OK or found.error is not None):
                    return found
        self._require_taken(answer)
        raise ServerGoneError(f"from the server {self.name}, an answer was withheld: it is none to {id!r}")

    def _require_taken(self, answer: aiohttp.ClientResponse) -> None:
        if answer.status == _NOT_FOUND and self._session:
            raise ServerGoneError(f"the server {self.name} has ended the session; connect anew")
        if 300 <= answer.status < 400:  # noqa: PLR2004 - redirects
            raise ServerGoneError(f"the server {self.name} sends elsewhere, where nobody goes")
        if answer.status not in (_OK, _ACCEPTED, 204):
            raise ServerGoneError(f"the server {self.name} answered with HTTP {answer.status}")

    @asynccontextmanager
    async def _posted(self, message: Message) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        headers |= self._described(message)
        async with self._sent("POST", headers, message.raw) as answer:
            if answer.status != _UNAUTHORIZED or not self._renewed():
                yield answer
                return
        async with self._sent("POST", headers, message.raw) as answer:
            yield answer

    def _described(self, message: Message) -> dict[str, str]:
        """Return the headers that repeat what a message is, in the protocol without connections (2026-07-28)."""
        meta = message.params.get("_meta")
        version = meta.get(MODERN) if isinstance(meta, dict) else None
        if not isinstance(version, str):
            return {}
        found = {_VERSION: version, "Mcp-Method": message.method}
        name = message.params.get(NAMED.get(message.method, ""))
        if isinstance(name, str):
            found["Mcp-Name"] = encoded(name)
            if message.method == "tools/call":
                found |= headers_for(self._mirrored.get(name, ()), message.params.get("arguments"))
        return found

    def _renewed(self) -> bool:
        try:
            before, self._token = self._token, self.address.token()
        except AddressError as error:
            self.say(str(error))
            return False
        return self._token != before

    @asynccontextmanager
    async def _sent(
        self, method: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._http is None:
            raise ServerGoneError(f"the server {self.name} was not reached")
        own = {_SESSION: self._session, _VERSION: self._protocol}
        if self._token:
            own["Authorization"] = f"Bearer {self._token}"
        sent = {**{name: value for name, value in own.items() if value}, **(headers or {})}
        async with self._http.request(
            method, self.address.url, data=body, headers=sent, allow_redirects=False
        ) as answer:
            yield answer

    @contextlib.contextmanager
    def _troubles(self) -> Iterator[None]:
        try:
            yield
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServerGoneError(f"the server {self.name} cannot be reached: {type(error).__name__}") from error
