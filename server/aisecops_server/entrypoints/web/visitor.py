"""One request of one person: who they are, what they ask, and the calls that they may make."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message
from starlette.requests import Request

from aisecops_server.domain.callers.identity import Presented, Principal
from aisecops_server.domain.errors import AisecopsError, InvalidRequestError
from aisecops_server.entrypoints.grpc.local_calls import LocalCalls

_M = TypeVar("_M", bound=Message)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks and what. ``form`` holds the fields of a form that was sent; ``wants_data`` asks for a page's twin."""

    request: Request
    calls: LocalCalls
    presented: Presented
    principal: Principal
    form_key: str
    form: Mapping[str, str] = field(default_factory=dict)
    wants_data: bool = False

    @property
    def peer(self) -> str:
        """Return the address that asks."""
        return self.request.client.host if self.request.client else ""

    def query(self, name: str) -> str:
        """Return a parameter of the address, or an empty string."""
        return str(self.request.query_params.get(name, ""))

    def several(self, name: str) -> Sequence[str]:
        """Return what a parameter of the address says, each time that it stands there."""
        return [str(value) for value in self.request.query_params.getlist(name)]

    def number(self, name: str, default: int = 0) -> int:
        """Return a parameter of the address that is a count.

        Raises:
            InvalidRequestError: it is none.
        """
        text = self.query(name)
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004 - fits every counter here
            raise InvalidRequestError(f"{name}: not a number from 0", field=name)
        return int(text)

    def path(self, name: str) -> str:
        """Return a part of the address."""
        return str(self.request.path_params.get(name, ""))

    async def ask(self, call: str, request: Message, answer: type[_M]) -> _M:
        """Make a call with one answer, as the visitor.

        Raises:
            AisecopsError: the call was refused or failed.
        """
        return await self.calls.unary(call, request, answer, presented=self.presented, peer=self.peer)

    def stream(self, call: str, request: Message, answer: type[_M]) -> AsyncGenerator[_M]:
        """Make a call with many answers, as the visitor."""
        return self.calls.stream(call, request, answer, presented=self.presented, peer=self.peer)

    async def attempt(self, call: str, request: Message, answer: type[_M]) -> tuple[_M | None, str]:
        """Make a call that a page can do without; return its answer, or ``None`` with why there is none."""
        if not self.may(call):
            return None, "your roles do not include it"
        try:
            return await self.ask(call, request, answer), ""
        except AisecopsError as error:
            return None, error.diagnostics()

    def may(self, call: str) -> bool:
        """Return whether the visitor's roles include a call."""
        return self.calls.may(self.principal, call)


@dataclass(frozen=True, slots=True)
class Page:
    """An answer for people and for programs: a template with its view, and the data of the ``.json`` twin.

    ``command`` are the words that show the same on a command line, behind the program's name. ``at`` is where to look
    again, of a page that is the answer to a form and has no address of its own.
    """

    template: str
    title: str
    view: Mapping[str, Any]
    data: Mapping[str, Any]
    section: str = ""
    status: int = 200
    command: Sequence[str] = ()
    at: str = ""


@dataclass(frozen=True, slots=True)
class Away:
    """After something was done: where to look next."""

    to: str
    cookies: Mapping[str, str] = field(default_factory=dict)
