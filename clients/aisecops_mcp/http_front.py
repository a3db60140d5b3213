"""The proxy for clients that speak Streamable HTTP: one endpoint, and what it says of itself to those without a token.

In this order a request is looked at: to which host it is, of which page (so that a browser's page of somebody else
reaches nothing), for what, by whom, how large, and only then what it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Collection
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from aisecops_mcp import eras, jsonrpc
from aisecops_mcp.callers import Caller, Door, NotLetInError, Resource
from aisecops_mcp.connection import Connection, InUseError
from aisecops_mcp.connections import Connections, NoSuchSessionError, TooManyError
from aisecops_mcp.http_listener import certificate_of
from aisecops_mcp.jsonrpc import MalformedError, Message, MessageId
from aisecops_mcp.streams import NotKeptError, Stream

SESSION, _LAST = "Mcp-Session-Id", "Last-Event-ID"
_JSON, _EVENTS = "application/json", "text/event-stream"
_BODY_SECONDS = 60.0
# Answers that come soon are JSON where there is nothing to go on with behind a lost connection.
_SOON_SECONDS, _AT_ONCE_SECONDS = 10.0, 0.05
_PING_SECONDS, _WRITE_SECONDS = 15.0, 60.0
_RETRY_MILLISECONDS = 1000
# What every answer says, and nobody else's name.
_HEADERS = {"Server": "aisecops", "Cache-Control": "no-store, no-transform", "X-Content-Type-Options": "nosniff"}
_LINE_END = re.compile(rb"\r\n|\r|\n")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_MOST_UNDER_WAY = 128


class RefusedError(Exception):
    """A request is not taken: the status, and what its sender is told in the words of the protocol."""

    def __init__(
        self,
        status: int,
        why: str,
        *,
        code: int = jsonrpc.INVALID_REQUEST,
        id: MessageId | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(why)
        self.answer = web.Response(
            status=status,
            body=jsonrpc.failure(id, code, why),
            content_type=_JSON,
            headers={**_HEADERS, **(headers or {})},
        )


@dataclass(frozen=True, slots=True)
class Front:
    """Answers requests. ``hosts`` are the names that it is reached by, and ``limit`` the longest body, in bytes."""

    connections: Connections
    door: Door
    resource: Resource
    hosts: Collection[str]
    limit: int

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        try:
            return await self._answered(request)
        except RefusedError as refused:
            return refused.answer
        except NoSuchSessionError:
            why = "there is no such session: begin one with 'initialize'"
            return RefusedError(404, why).answer
        except TooManyError:
            why = "too many sessions are in use; end one that is not needed, or come back later"
            return RefusedError(503, why, headers={"Retry-After": "30"}).answer

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        self._require_ours(request)
        if request.path in self.resource.metadata_paths and request.method == "GET":
            return web.json_response(self.resource.metadata, headers=_HEADERS)
        if request.path != self.resource.path:
            raise RefusedError(404, f"there is nothing here; the endpoint is {self.resource.path}")
        caller = self._caller(request)
        match request.method:
            case "POST":
                return await self._posted(request, caller)
            case "GET" if not eras.is_modern(request.headers.get(eras.VERSION, "")):
                return await self._listened(request, caller)
            case "DELETE" if request.headers.get(SESSION):
                connection = self._session(request, caller)
                self.connections.end(connection)
                return web.Response(status=204, headers=_HEADERS)
        raise RefusedError(405, f"{request.method} is not offered here", headers={"Allow": "POST, GET, DELETE"})

    def _require_ours(self, request: web.BaseRequest) -> None:
        """Refuse what a browser's page of somebody else sent, whatever name it has for this machine."""
        given = request.headers.getall("Host", [])
        host = _host_of(given[0]) if len(given) == 1 else ""
        if host not in self.hosts:
            raise RefusedError(421, "the header Host names somebody else; name this host with --host if it is its own")
        for origin in request.headers.getall("Origin", []):
            if not self._is_own(origin, given[0]):
                raise RefusedError(403, "pages of others may not ask here")

    def _is_own(self, origin: str, host: str) -> bool:
        try:
            parts, own = urlsplit(origin), urlsplit(self.resource.url)
            ports = {_port_of(own.scheme, own.netloc), _port_of(own.scheme, host)}
            fits = _port_of(parts.scheme, parts.netloc) in ports
        except ValueError:
            return False
        return fits and parts.scheme == own.scheme and (parts.hostname or "") in self.hosts

    def _caller(self, request: web.BaseRequest) -> Caller:
        try:
            return self.door.enter(request.headers.getall("Authorization", []), certificate_of(request.transport))
        except NotLetInError as error:
            headers = {"WWW-Authenticate": self.resource.challenge(error)}
            raise RefusedError(403 if error.forbidden else 401, str(error), headers=headers) from error

    # --- POST --------------------------------------------------------------------------------------------------

    async def _posted(self, request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        if request.content_type != _JSON or request.headers.get("Content-Encoding", "identity") != "identity":
            raise RefusedError(415, "a message is plain application/json")
        if not (_accepts(request, _JSON) and _accepts(request, _EVENTS)):
            raise RefusedError(406, f"an answer may be {_JSON} or {_EVENTS}, so accept both")
        message = await self._message(request)
        version = request.headers.get(eras.VERSION, "")
        if not request.headers.get(SESSION) and (eras.is_modern(version) or eras.has_envelope(message)):
            return await self._asked_without_session(request, caller, message)
        if message.method == "initialize" and not request.headers.get(SESSION):
            return await self._greeted(request, caller, message)
        connection = self._session(request, caller)
        with self.connections.used(connection):
            await connection.entered(caller)
            if not message.is_request:
                connection.tell(message)
                return web.Response(status=202, headers=_HEADERS)
            if message.method == "initialize":
                raise RefusedError(400, "the session has begun already; begin another without its id", id=message.id)
            return await self._replied(request, connection, self._ask(connection, message))

    async def _message(self, request: web.BaseRequest) -> Message:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                return jsonrpc.read(await self._body(request))
        except TimeoutError as error:
            raise RefusedError(408, f"the message did not come in {_BODY_SECONDS:g} s") from error
        except MalformedError as error:
            raise RefusedError(400, str(error), code=error.code, id=error.id) from error

    async def _body(self, request: web.BaseRequest) -> bytes:
        body = bytearray()
        if (request.content_length or 0) <= self.limit:
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > self.limit:
                    break
            else:
                return bytes(body)
        raise RefusedError(413, f"a message may be {self.limit} bytes long", headers={"Connection": "close"})

    async def _greeted(self, request: web.BaseRequest, caller: Caller, message: Message) -> web.StreamResponse:
        connection = await self.connections.begin(caller)
        with self.connections.used(connection):
            try:
                return await self._replied(request, connection, self._ask(connection, message))
            except BaseException:
                connection.protocol = ""
                raise
            finally:
                if not connection.protocol:
                    # Nothing was agreed on, or nobody heard it, so there is nothing to go on with.
                    self.connections.end(connection)

    async def _asked_without_session(
        self, request: web.BaseRequest, caller: Caller, message: Message
    ) -> web.StreamResponse:
        if message.is_answer:
            raise RefusedError(400, "without a session there is nobody who asked")
        if not message.is_request:
            # There is no notification to act on here: whoever hangs up has cancelled.
            return web.Response(status=202, headers=_HEADERS)
        headers = {name.lower(): request.headers.getall(name) for name in request.headers}
        try:
            eras.require_fitting(message, headers)
        except eras.HeadersDifferError as error:
            raise RefusedError(400, str(error), code=error.code, id=message.id) from error
        connection = await self.connections.sessionless(caller)
        with self.connections.used(connection):
            await connection.entered(caller)
            if differing := await connection.differing(message, headers):
                why = f"the header {differing} is not what the arguments say"
                raise RefusedError(400, why, code=eras.MISMATCH, id=message.id)
            stream = self._ask(connection, message)
            try:
                return await self._replied(request, connection, stream)
            finally:
                connection.give_up(stream)

    def _ask(self, connection: Connection, message: Message) -> Stream:
        if connection.streams.under_way >= _MOST_UNDER_WAY:
            raise RefusedError(503, "too many requests are under way", id=message.id, headers={"Retry-After": "1"})
        try:
            return connection.ask(message)
        except InUseError as error:
            raise RefusedError(400, str(error), id=message.id) from error

    async def _replied(self, request: web.BaseRequest, connection: Connection, stream: Stream) -> web.StreamResponse:
        resumed = _is_resumed(connection)
        await stream.begun(_AT_ONCE_SECONDS if resumed else _SOON_SECONDS)
        if stream.ended and len(stream.events) <= 1 and not (resumed and stream.events):
            return _as_json(connection, stream)
        return await self._streamed(request, connection, stream, 0)

    # --- GET ---------------------------------------------------------------------------------------------------

    async def _listened(self, request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        if not _accepts(request, _EVENTS):
            raise RefusedError(406, f"what is heard here is {_EVENTS}, so accept that")
        connection = self._session(request, caller)
        with self.connections.used(connection):
            await connection.entered(caller)
            stream = connection.streams.own
            number = stream.sent_to
            if last := request.headers.get(_LAST):
                try:
                    stream, number = connection.streams.behind(last)
                except NotKeptError as error:
                    raise RefusedError(400, str(error)) from error
            return await self._streamed(request, connection, stream, number)

    async def _streamed(
        self, request: web.BaseRequest, connection: Connection, stream: Stream, number: int
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={**_HEADERS, "X-Accel-Buffering": "no"})
        response.content_type = _EVENTS
        if connection.id:
            response.headers[SESSION] = connection.id
        await response.prepare(request)
        if _is_resumed(connection):
            await response.write(f"id: {stream.name_at(number)}\nretry: {_RETRY_MILLISECONDS}\ndata: \n\n".encode())
        async with aclosing(stream.read(number, pause=_PING_SECONDS)) as events:
            async for event in events:
                name = f"id: {event.name}\n".encode() if event is not None and connection.id else b""
                try:
                    async with asyncio.timeout(_WRITE_SECONDS):
                        await response.write(name + _event(event.raw) if event is not None else b": ping\n\n")
                except TimeoutError:
                    # Whoever reads nothing may come back for it.
                    response.force_close()
                    return response
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response

    def _session(self, request: web.BaseRequest, caller: Caller) -> Connection:
        ids = request.headers.getall(SESSION, [])
        if len(ids) != 1:
            raise RefusedError(400, f"name the session with {SESSION}, once; 'initialize' begins one")
        connection = self.connections.session(ids[0], caller)
        version = request.headers.get(eras.VERSION, "")
        if version and connection.protocol and version != connection.protocol:
            raise RefusedError(400, f"the session speaks {connection.protocol}, and {eras.VERSION} says otherwise")
        return connection


def hosts_of(address: str, resource: str, more: Collection[str]) -> frozenset[str]:
    """Return the names by which a listener is reached, without ports."""
    named = {_host_of(address), urlsplit(resource).hostname or "", *(name.lower() for name in more)} - {""}
    return frozenset(named | _LOOPBACK if named & _LOOPBACK else named)


def _is_resumed(connection: Connection) -> bool:
    """Return whether a client can go on with a stream that broke."""
    return bool(connection.id) and connection.protocol >= eras.RESUMED_FROM


def _as_json(connection: Connection, stream: Stream) -> web.Response:
    if not stream.events:
        return RefusedError(200, "the request was cancelled", code=-32800, id=stream.about).answer
    [event] = stream.events
    event.sent = True
    headers = {**_HEADERS, **({SESSION: connection.id} if connection.id and connection.protocol else {})}
    status = 200
    if not connection.id and b'"error"' in event.raw:
        error = jsonrpc.read(event.raw).error
        status = eras.STATUS.get(error.get("code", 0), 200) if error is not None else 200
    return web.Response(status=status, body=event.raw, content_type=_JSON, headers=headers)


def _event(raw: bytes) -> bytes:
    return b"event: message\n" + b"".join(b"data: " + line + b"\n" for line in _LINE_END.split(raw)) + b"\n"


def _accepts(request: web.BaseRequest, wanted: str) -> bool:
    given = ",".join(request.headers.getall("Accept", []))
    types = {part.partition(";")[0].strip().lower() for part in given.split(",")}
    return bool(types & {wanted, f"{wanted.partition('/')[0]}/*", "*/*"})


def _host_of(host: str) -> str:
    """Return the name in ``name:port``; empty for what is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _port_of(scheme: str, host: str) -> int:
    return urlsplit(f"//{host}").port or (443 if scheme == "https" else 80)
