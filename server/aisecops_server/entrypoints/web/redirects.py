"""What this process remembers of people who are at their identity provider: nothing, their browsers carry it.

A cookie holds one sign-in, sealed with a key of this process; that a page elsewhere sends it along (SameSite=Lax) lets
nobody in, it only says that this browser began that sign-in. The verifier and the nonce are not in it: they are made
again from its state, which goes through many hands, and the key, which goes through none. What is kept here is which
states have come back, because each of them does so once.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request

from aisecops_server.domain.callers.identity import Presented
from aisecops_server.domain.callers.sign_in import SignIn, SignInAnswer
from aisecops_server.domain.errors import AisecopsError, InvalidRequestError, OverloadedError, UnauthenticatedError
from aisecops_server.ports import Clock, Ids, SignInProvider

SECONDS = 600
# Browsers keep 4096 bytes, the name and the attributes included.
MOST_COOKIE = 3000
MOST_USED = 20_000
BACK = "/sign-in/callback"
_FIELDS = 5
_NS = 1_000_000_000
_MOST_AT_ONCE = 16
_PATIENCE_SECONDS = 25.0
_T = TypeVar("_T")
# What a person can do about an ID token that is not accepted.
_HINTS: Mapping[str, str] = {
    "expired": "Compare the clocks of the control plane and of the identity provider",
    "not_yet": "Compare the clocks of the control plane and of the identity provider",
    "key": "The provider may have changed its keys: begin again in half a minute",
    "roles": "Ask who runs the identity provider for a role; token_roles_claim says where it has to stand",
    "tenant": "Ask who runs the identity provider for a tenant; token_tenant_claim says where it has to stand",
    "withdrawn": "Ask who runs the control plane",
}
_ASK = "Ask who runs the control plane; 'authenticate agents and people' says what an ID token must have"


@dataclass(slots=True)
class SignIns:
    """The sign-ins that were begun here. Times are those of a clock that never goes back."""

    ids: Ids
    clock: Clock
    _used: OrderedDict[str, int] = field(default_factory=OrderedDict)
    _secret: bytes = b""

    def __post_init__(self) -> None:
        """Take a secret that no other process has."""
        self._secret = (self.ids.nonce() + self.ids.nonce()).encode()

    def begin(self, back: str, *, to: str, tenant: str) -> tuple[SignIn, str]:
        """Return a sign-in that ends on the page ``to``, and the cookie of the browser that it is begun in."""
        begun = self._made(self.ids.nonce(), back, to, tenant)
        cookie = self._sealed(begun)
        if len(cookie) > MOST_COOKIE:
            # No address of ours is as long, and no tenant.
            begun = self._made(begun.state, back, "/", "")
            cookie = self._sealed(begun)
        return begun, cookie

    def take(self, cookie: str, state: str) -> SignIn:
        """Return the sign-in of a browser that came back with ``state``, once and in time.

        Raises:
            UnauthenticatedError: it began none, another one, one that is over, or came back before.
        """
        found = self._opened(cookie)
        if found is None:
            raise _refused("no sign-in was begun in this browser, or it came back already", why="state")
        begun, until = found
        if not hmac.compare_digest(begun.state.encode(), state.encode("utf-8", "surrogatepass")):
            raise _refused("the answer is to another sign-in than the last one of this browser", why="state")
        self._use(begun.state, until)
        return begun

    def _use(self, state: str, until: int) -> None:
        now = self.clock.monotonic_ns()
        if now >= until:
            raise _refused("the sign-in took too long", why="state_late")
        while self._used and next(iter(self._used.values())) <= now:
            self._used.popitem(last=False)
        if state in self._used:
            raise _refused("this answer came back already", why="state_used")
        # The oldest are forgotten first: their codes are used up at the provider as well, and their cookies are gone.
        while len(self._used) >= MOST_USED:
            self._used.popitem(last=False)
        self._used[state] = now + SECONDS * _NS

    def _made(self, state: str, back: str, to: str, tenant: str) -> SignIn:
        return SignIn(state, self._of("nonce", state), self._of("verifier", state), back, to, tenant)

    def _sealed(self, begun: SignIn) -> str:
        until = self.clock.monotonic_ns() + SECONDS * _NS
        text = urlencode([("s", begun.state), ("u", until), ("b", begun.back), ("n", begun.next), ("t", begun.tenant)])
        return f"{_encoded(text.encode())}.{self._of('cookie', text)}"

    def _opened(self, cookie: str) -> tuple[SignIn, int] | None:
        content, _, seal = cookie.partition(".")
        if len(cookie) > MOST_COOKIE or not cookie.isascii():
            return None
        try:
            text = base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)).decode()
        except (binascii.Error, ValueError):
            return None
        if not hmac.compare_digest(seal, self._of("cookie", text)):
            return None
        # From here on it is our own words.
        said = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=_FIELDS))
        return self._made(said["s"], said["b"], said["n"], said["t"]), int(said["u"])

    def _of(self, kind: str, text: str) -> str:
        return _encoded(hmac.new(self._secret, f"{kind}:{text}".encode(), hashlib.sha256).digest())


@dataclass(slots=True)
class ProviderDoor:
    """The way in by an identity provider. ``origin`` is where people open the UI, and where they come back to.

    The provider is asked by threads of ``workers``, that nothing else waits for, and by so many at once.
    """

    provider: SignInProvider
    sign_ins: SignIns
    origin: Callable[[], str]
    workers: Executor
    _waiting: int = 0

    async def begin(self, request: Request, *, to: str, tenant: str) -> tuple[str, str]:
        """Return where the person signs in, and the cookie of the sign-in.

        Raises:
            InvalidRequestError: the UI was opened by another name than the one that people come back to.
            UnauthenticatedError: the provider cannot be asked.
            OverloadedError: too many ask it.
        """
        origin = self.origin()
        if request.url.hostname != urlsplit(origin).hostname:
            raise InvalidRequestError(
                "the identity provider sends people back to another name of this site",
                hint=f"Open {origin} and sign in there",
                field="host",
            )
        begun, cookie = self.sign_ins.begin(origin + BACK, to=to, tenant=tenant)
        return await self._asked(self.provider.address, begun), cookie

    async def end(self, begun: SignIn, request: Request) -> Presented:
        """Return the credential of somebody who came back.

        Raises:
            UnauthenticatedError: the provider gives none for what was brought.
            OverloadedError: too many ask it.
        """
        answer = SignInAnswer(one(request, "code"), one(request, "iss"), one(request, "error"))
        token = await self._asked(self.provider.token, begun, answer)
        return Presented(token=token, tenant=begun.tenant, nonce=begun.nonce)

    async def leaving(self) -> str:
        """Return where people sign out of the provider itself, or nothing."""
        try:
            return await self._asked(self.provider.leaving)
        except (OverloadedError, UnauthenticatedError):
            return ""

    async def _asked(self, ask: Callable[..., _T], *given: object) -> _T:
        if self._waiting >= _MOST_AT_ONCE:
            raise OverloadedError("too many people sign in at once", hint="Try again in a moment")
        self._waiting += 1
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self.workers, ask, *given)
        except TimeoutError as error:
            raise UnauthenticatedError(
                "the identity provider does not answer in time", hint="Try again in a moment", why="provider_away"
            ) from error
        finally:
            self._waiting -= 1


def one(request: Request, name: str) -> str:
    """Return a parameter of what a browser brings back.

    Raises:
        UnauthenticatedError: it is there more than once.
    """
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise _refused("the answer says something twice", why="answer")
    return str(values[0]) if values else ""


def for_people(error: UnauthenticatedError | InvalidRequestError) -> AisecopsError:
    """Return why an ID token lets nobody in, with what the person who brought it can do."""
    metadata = error.metadata()
    if isinstance(error, InvalidRequestError):
        # It is of several tenants, and none was named.
        return InvalidRequestError(error.message, hint="Name the one that is meant, and begin again", **metadata)
    return UnauthenticatedError(error.message, hint=_HINTS.get(metadata.get("why", ""), _ASK), **metadata)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _refused(message: str, *, why: str) -> UnauthenticatedError:
    return UnauthenticatedError(message, hint="Begin again, and stay in one tab", why=why)
