"""The UI as one application: routes, who may come in, and how an error looks.

Ordering rules: the host is checked first, then who asks, then the form's origin and key; only then a page is made.
Every page answers at its address and, with ``.json`` behind it, with the same data for programs.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, quote

import grpc
from aisecops.v1.audit_service_pb2 import StreamEventsRequest
from jinja2 import Environment
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from aisecops_server.domain.callers.identity import Presented
from aisecops_server.domain.callers.sign_in import SignIn
from aisecops_server.domain.errors import (
    AisecopsError,
    InvalidRequestError,
    NotFoundError,
    NotPermittedError,
    UnauthenticatedError,
)
from aisecops_server.domain.tenants.tenant import HEADER
from aisecops_server.entrypoints.grpc import status
from aisecops_server.entrypoints.grpc.local_calls import LocalCalls
from aisecops_server.entrypoints.grpc.tls import named_tenant
from aisecops_server.entrypoints.web import gateway
from aisecops_server.entrypoints.web.event_stream import resumed
from aisecops_server.entrypoints.web.headers import Guarded, require_own_origin
from aisecops_server.entrypoints.web.live import Live
from aisecops_server.entrypoints.web.redirects import BACK, SECONDS, ProviderDoor, for_people, one
from aisecops_server.entrypoints.web.rendering import Assets, command_line, environment, twin
from aisecops_server.entrypoints.web.sessions import Session, Sessions
from aisecops_server.entrypoints.web.visitor import Away, Page, Visitor

Show = Callable[[Visitor], Awaitable[Page]]
Give = Callable[[Visitor], Awaitable[Response]]
Do = Callable[[Visitor], Awaitable[Away | Page | Response]]
FORM_BYTES = 64 * 1024
_FORM_FIELDS = 64
_COMPRESSED_FROM = 1024
# More makes pages little smaller and much later.
_COMPRESSION = 5
_FOR_EVER = "public, max-age=31536000, immutable"
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
# How a reader likes pages to look, remembered in a cookie of each name; anything else is as the system has it.
_LOOKS: Mapping[str, tuple[str, ...]] = {"theme": ("light", "dark"), "density": ("compact", "comfortable")}
_STATUS: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
}
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Screens:
    """What the application shows and does, by address."""

    pages: Mapping[str, Show]
    files: Mapping[str, Give]
    actions: Mapping[str, Do]


@dataclass(frozen=True)
class Ui:
    """What every request needs. ``take_link`` gives the token of a one-time link; ``bar`` what the top bar says.

    ``door`` is the way in by an identity provider, where there is one.
    """

    calls: LocalCalls
    sessions: Sessions
    take_link: Callable[[str], str]
    bar: Callable[[Visitor], Awaitable[Mapping[str, Any]]]
    screens: Screens
    hosts: Collection[str] = ()
    secure: bool = False
    door: ProviderDoor | None = None
    assets: Assets = field(default_factory=Assets)

    @property
    def cookie(self) -> str:
        """Return the name of the session's cookie; over TLS one that only this host can have set."""
        return "__Host-aisecops" if self.secure else "aisecops"

    @property
    def sign_in_cookie(self) -> str:
        """Return the name of the cookie of a sign-in that is under way."""
        return f"{self.cookie}-sign-in"


def application(ui: Ui) -> ASGIApp:
    """Return the application."""
    pages = environment(ui.assets)
    doors = _Doors(ui, pages, Live(ui.calls, ui.sessions))
    routes: list[BaseRoute] = [
        *gateway.routes(ui.calls),
        Route("/assets/{build}/{name}", doors.asset),
        Route("/waiting", doors.waiting, methods=["GET"]),
        Route("/traces/{trace}/live", doors.trace_events, methods=["GET"]),
        Route("/sign-in", doors.sign_in_page, methods=["GET"]),
        Route("/sign-in", doors.sign_in, methods=["POST"]),
        Route("/sign-in/provider", doors.to_provider, methods=["POST"]),
        Route(BACK, doors.from_provider, methods=["GET"]),
        Route("/sign-out", doors.sign_out, methods=["POST"]),
        Route("/preferences", doors.preferences, methods=["POST"]),
    ]
    for path, do in ui.screens.actions.items():
        routes.append(Route(path, doors.action(do), methods=["POST"]))
    for path, give in ui.screens.files.items():
        routes.append(Route(path, doors.file(give)))
    for path, show in ui.screens.pages.items():
        routes.append(Route("/index.json" if path == "/" else f"{path}.json", doors.page(show, as_json=True)))
        routes.append(Route(path, doors.page(show, as_json=False)))
    app = Starlette(routes=routes, exception_handlers={404: doors.nothing})
    return Guarded(GZipMiddleware(app, minimum_size=_COMPRESSED_FROM, compresslevel=_COMPRESSION), hosts=ui.hosts)


@dataclass(frozen=True)
class _Doors:
    ui: Ui
    templates: Environment
    live: Live

    async def waiting(self, request: Request) -> Response:
        """Answer with how many requests wait for people, as it changes; only pages of our own listen."""
        return await self._listening(request, self.live.waiting)

    async def trace_events(self, request: Request) -> Response:
        """Answer with which events come to a trace; only pages of our own listen."""

        async def events(session: Session, *, peer: str) -> Response:
            asked = StreamEventsRequest(trace_id=request.path_params["trace"], follow=True)
            # A browser whose connection broke says itself what it has heard.
            resumed(asked, request.headers.getlist("last-event-id") or request.query_params.getlist("after"))
            return await self.live.events(session, asked, peer=peer)

        return await self._listening(request, events)

    async def _listening(self, request: Request, listen: Callable[..., Awaitable[Response]]) -> Response:
        try:
            require_own_origin(request)
            session = self._listener(request)
            return await listen(session, peer=request.client.host if request.client else "")
        except Exception as error:  # noqa: BLE001 - every error becomes an answer here
            return await self._failed(request, status.as_known(error), as_json=True)

    async def asset(self, request: Request) -> Response:
        """Answer with a file that pages load."""
        name = request.path_params["name"]
        content = self.ui.assets.files.get(name)
        if content is None:
            return PlainTextResponse("no such file\n", 404)
        kept = _FOR_EVER if request.path_params["build"] == self.ui.assets.build else "no-store"
        kind = _TYPES.get(name.rpartition(".")[2], "application/octet-stream")
        return Response(content, headers={"Cache-Control": kept, "Content-Type": kind})

    async def nothing(self, request: Request, _error: Exception) -> Response:
        """Answer where no page is."""
        missing = NotFoundError("there is no such page", hint="Begin at the list of traces")
        return await self._failed(request, missing, as_json=request.url.path.endswith(".json"))

    def page(self, show: Show, *, as_json: bool) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers with a page or its data."""

        async def answer(request: Request) -> Response:
            try:
                visitor = replace(self._visitor(request), wants_data=as_json)
                page = await show(visitor)
                if as_json:
                    return Response(twin(page.data), page.status, media_type="application/json")
                return await self._rendered(visitor, page)
            except Exception as error:  # noqa: BLE001 - every error becomes a page here
                return await self._failed(request, status.as_known(error), as_json=as_json)

        return answer

    def file(self, give: Give) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers with something to keep."""

        async def answer(request: Request) -> Response:
            try:
                return await give(self._visitor(request))
            except Exception as error:  # noqa: BLE001 - every error becomes a page here
                return await self._failed(request, status.as_known(error), as_json=False)

        return answer

    def action(self, do: Do) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers a form: it is done, and the browser is sent to where its effect is seen, or shown it."""

        async def answer(request: Request) -> Response:
            try:
                visitor = self._visitor(request, await self._form(request))
                self._require_own_form(visitor)
                done = await do(visitor)
                if isinstance(done, Page):
                    return await self._rendered(visitor, done)
            except Exception as error:  # noqa: BLE001 - every error becomes a page here
                return await self._failed(request, status.as_known(error), as_json=False)
            return RedirectResponse(_local(done.to), 303) if isinstance(done, Away) else done

        return answer

    async def sign_in_page(self, request: Request) -> Response:
        """Show how to sign in; a link's code is used up only by the button, which no preview presses."""
        door = self.ui.door
        leaving = await door.leaving() if door and request.query_params.get("left") else ""
        view = {"code": request.query_params.get("code", ""), "next": _local(request.query_params.get("next", "/"))}
        return self._sign_in_page(request, view | {"leaving": leaving})

    async def sign_in(self, request: Request) -> Response:
        """Begin a session for whoever brings a link's code or a token."""
        try:
            require_own_origin(request)
            form = await self._form(request)
            with self.ui.calls.noted("/sign-in", _peer(request)):
                token = self.ui.take_link(form["code"]) if form.get("code") else form.get("token", "").strip()
                if not token:
                    raise UnauthenticatedError(
                        "this link was used already, or its time is over",
                        hint="Make another: aisecops ui link",
                        why="link",
                    )
                presented = Presented(token=token, tenant=form.get("tenant", "").strip())
                self.ui.calls.whoever(presented)
        except AisecopsError as error:
            return self._not_signed_in(request, error)
        return self._signed_in(RedirectResponse(_local(form.get("next", "/")), 303), presented)

    async def to_provider(self, request: Request) -> Response:
        """Send somebody to the identity provider.

        By a page and not at once, because the answer to a form may lead to nobody else (``form-action``).
        """
        try:
            require_own_origin(request)
            form = await self._form(request)
            door, to, tenant = self._door, _local(form.get("next", "/")), form.get("tenant", "").strip()
            with self.ui.calls.noted(request.url.path, _peer(request)):
                address, cookie = await door.begin(request, to=to, tenant=tenant)
        except Exception as error:  # noqa: BLE001 - every error becomes a page here
            return self._not_signed_in(request, status.as_known(error))
        answer = self._bare(request, "sign_in_hop.html", {"to": address, "name": door.provider.name})
        # Sent along by the page of the provider that leads back here, which SameSite=Strict would not be.
        answer.set_cookie(
            self.ui.sign_in_cookie, cookie, max_age=SECONDS, httponly=True, samesite="lax", secure=self.ui.secure
        )
        return answer

    async def from_provider(self, request: Request) -> Response:
        """Begin a session for whoever comes back from the identity provider.

        What is answered is a page of ours that leads on: a redirect would still be the provider's, and without the
        session's cookie (``SameSite=Strict``).
        """
        begun: SignIn | None = None
        try:
            with self.ui.calls.noted(request.url.path, _peer(request)):
                door, cookie = self._door, request.cookies.get(self.ui.sign_in_cookie, "")
                begun = door.sign_ins.take(cookie, one(request, "state"))
                presented = await door.end(begun, request)
                try:
                    self.ui.calls.whoever(presented)
                except (UnauthenticatedError, InvalidRequestError) as error:
                    raise for_people(error) from error
        except Exception as error:  # noqa: BLE001 - every error becomes a page here
            refused = self._not_signed_in(request, status.as_known(error), begun.next if begun else "/")
            # That of another sign-in stays: an answer that somebody made up must not end it.
            return self._without_sign_in(refused) if begun else refused
        hop = self._bare(request, "sign_in_hop.html", {"to": _local(begun.next), "name": ""})
        return self._signed_in(self._without_sign_in(hop), presented)

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        try:
            self._require_own_form(visitor := self._visitor(request, await self._form(request)))
        except AisecopsError as error:
            return await self._failed(request, error, as_json=False)
        self.ui.sessions.end(request.cookies.get(self.ui.cookie, ""))
        answer = RedirectResponse("/sign-in?left=1" if visitor.presented.nonce else "/sign-in", 303)
        answer.delete_cookie(self.ui.cookie, httponly=True, samesite="strict", secure=self.ui.secure)
        return answer

    @property
    def _door(self) -> ProviderDoor:
        if self.ui.door is None:
            raise NotFoundError("nobody signs in by an identity provider here", hint="Set oidc_client_id")
        return self.ui.door

    def _sign_in_page(self, request: Request, view: Mapping[str, object], code: int = 200) -> Response:
        told = {
            "code": "",
            "next": "/",
            "problem": "",
            "leaving": "",
            "provider": self.ui.door.provider.name if self.ui.door else "",
            "tenants": len(self.ui.calls.doors.gates) > 1,
        }
        return self._bare(request, "sign_in.html", told | dict(view), code)

    def _not_signed_in(self, request: Request, error: AisecopsError, to: str = "/") -> Response:
        code = _STATUS.get(status.code_of(error), 500)
        if error.metadata().get("why") == "provider_away":
            code = _STATUS[grpc.StatusCode.UNAVAILABLE]
        return self._sign_in_page(request, {"problem": error.diagnostics(), "next": _local(to)}, code)

    def _signed_in(self, answer: Response, presented: Presented) -> Response:
        session = self.ui.sessions.begin(presented)
        answer.set_cookie(self.ui.cookie, session.id, httponly=True, samesite="strict", secure=self.ui.secure)
        return answer

    def _without_sign_in(self, answer: Response) -> Response:
        answer.delete_cookie(self.ui.sign_in_cookie, httponly=True, samesite="lax", secure=self.ui.secure)
        return answer

    async def preferences(self, request: Request) -> Response:
        """Remember how the reader likes pages to look."""
        try:
            require_own_origin(request)
            form = await self._form(request)
        except AisecopsError as error:
            return await self._failed(request, error, as_json=False)
        answer = RedirectResponse(_local(form.get("next", "/")), 303)
        for name, values in _LOOKS.items():
            if name not in form:
                continue
            if form[name] in values:
                answer.set_cookie(name, form[name], max_age=31_536_000, samesite="strict", secure=self.ui.secure)
            else:
                answer.delete_cookie(name, samesite="strict", secure=self.ui.secure)
        return answer

    async def _form(self, request: Request) -> Mapping[str, str]:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > FORM_BYTES:
                raise InvalidRequestError(f"the form has more than {FORM_BYTES} bytes", field="form")
        try:
            return dict(
                parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=False, max_num_fields=_FORM_FIELDS)
            )
        except ValueError as error:
            raise InvalidRequestError("the form cannot be read", field="form") from error

    def _visitor(self, request: Request, form: Mapping[str, str] | None = None) -> Visitor:
        session = self._session(request)
        presented = session.presented if session else _borne(request)
        if presented is None:
            raise UnauthenticatedError("nobody is signed in", hint="Sign in by a link: aisecops ui link")
        principal = self.ui.calls.whoever(presented)
        key = self.ui.sessions.form_key(session.id if session else principal.thumbprint)
        return Visitor(request, self.ui.calls, presented, principal, key, form or {})

    def _session(self, request: Request) -> Session | None:
        return self.ui.sessions.find(request.cookies.get(self.ui.cookie, ""))

    def _listener(self, request: Request) -> Session:
        session = self._session(request)
        if session is None or request.method != "GET":
            raise UnauthenticatedError("only a session listens", hint="Sign in, or call WatchWaiting of the API")
        return session

    def _require_own_form(self, visitor: Visitor) -> None:
        require_own_origin(visitor.request)
        session = self._session(visitor.request)
        of = session.id if session else visitor.principal.thumbprint
        if not self.ui.sessions.is_form_key(visitor.form.get("key", ""), of):
            raise NotPermittedError("the form is not of this session", hint="Load the page again and repeat it")

    async def _rendered(self, visitor: Visitor, page: Page) -> Response:
        context = {
            **page.view,
            **_looks(visitor.request, page.at),
            "title": page.title,
            "section": page.section,
            "who": visitor.principal,
            "form_key": visitor.form_key,
            "may": visitor.may,
            "bar": await self.ui.bar(visitor),
            "command": command_line(page.command),
        }
        return _html(self.templates.get_template(page.template).render(context), page.status)

    def _bare(self, request: Request, template: str, view: Mapping[str, object], code: int = 200) -> Response:
        context = {**view, **_looks(request), "section": ""}
        return _html(self.templates.get_template(template).render(context), code)

    async def _failed(self, request: Request, error: AisecopsError, *, as_json: bool) -> Response:
        code = _STATUS.get(status.code_of(error), 500)
        if as_json:
            told = {"reason": error.reason, "message": error.message, "hint": error.hint, "metadata": error.metadata()}
            return Response(twin({"error": told}), code, media_type="application/json")
        if isinstance(error, UnauthenticatedError) and request.method == "GET":
            here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/sign-in?next={quote(here, safe='/')}", 303)
        return self._bare(request, "error.html", {"error": error, "code": code, "title": "Not shown"}, code)


def _looks(request: Request, at: str = "") -> dict[str, Any]:
    looks = {
        name: value if (value := request.cookies.get(name, "")) in values else "" for name, values in _LOOKS.items()
    }
    path, query = (at, "") if at else (request.url.path, f"?{request.url.query}" if request.url.query else "")
    return {**looks, "here": path + query, "twin": f"{'/index' if path == '/' else path}.json{query}"}


def _html(text: str, code: int) -> Response:
    return Response(text, code, media_type="text/html", headers={"Vary": "Cookie"})


def _borne(request: Request) -> Presented | None:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        return None
    return Presented(token=token.strip(), tenant=named_tenant(request.headers.getlist(HEADER)))


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _local(address: str) -> str:
    """Return an address of this site; anything else leads to its first page."""
    is_own = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if is_own else "/"


def sections() -> Sequence[tuple[str, str, str]]:
    """Return the sections of the top bar: name, address and the key that goes there."""
    return (
        ("Traces", "/traces", "t"),
        ("Replays", "/replays", "r"),
        ("Approvals", "/approvals", "a"),
        ("Policy", "/revisions", "b"),
        ("Rollouts", "/rollouts", "l"),
        ("Evidence", "/evidence", "e"),
        ("Agents", "/agents", "g"),
        ("Metrics", "/metrics", "m"),
        ("System", "/system", "s"),
    )
