"""Who calls the proxy over HTTP: whoever the caller's own token proves, or one agent that the command line names.

A token is for the proxy: its audience is the proxy's URL. The control plane is asked with another one, which names it:
made here for the agent that was proved, where this machine may make tokens, and else the caller's, which then has to
name both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aisecops_client import AsyncClient
from aisecops_client.completions import CompletionsByAgent
from aisecops_mcp.callers import Caller, NotLetInError
from aisecops_mcp.governor import Governor

from aisecops_server.cli.configuration import settings, tenant_settings
from aisecops_server.cli.connection import connect_async, connect_with
from aisecops_server.cli.credentials import LOCAL_SECONDS, credential, local_token
from aisecops_server.domain.callers.identity import Presented, Principal, Role
from aisecops_server.domain.errors import UnauthenticatedError
from aisecops_server.ports import Authenticator


@dataclass(frozen=True, slots=True)
class OneAgent:
    """Whoever reaches the proxy is this agent; empty for whom the credentials of the command line prove."""

    agent: str
    environment: str
    completions: CompletionsByAgent

    def enter(self, authorization: Sequence[str], certificate: str = "") -> Caller:
        """Return the agent."""
        del authorization, certificate
        return Caller(self.agent)

    def governor(self, caller: Caller) -> Governor:
        """Return what governs the calls of one connection."""
        del caller
        return Governor(
            connect_async(agent=self.agent),
            environment=self.environment,
            renew=lambda: credential(self.agent),
            completions=self.completions.of(self.agent),
        )


@dataclass(frozen=True, slots=True)
class ByToken:
    """Each caller is who its token proves. ``onward`` tells whether the control plane would take that token itself.

    Where there are tenants, ``tenant`` is the one whose agents come here.
    """

    environment: str
    own: Authenticator
    onward: Authenticator | None
    completions: CompletionsByAgent
    tenant: str = ""

    def enter(self, authorization: Sequence[str], certificate: str = "") -> Caller:
        """Return who calls; where a certificate proves it, a token is needed only to ask the control plane with.

        Raises:
            NotLetInError: the headers and the certificate prove nobody who may, or two.
        """
        token = "" if certificate and not authorization and self.onward is None else _bearer(authorization)
        principal = _proved(self.own, token, certificate)
        if Role.AGENT not in principal.roles:
            why = "the token is nobody's who asks for decisions: it lacks the role agent"
            raise NotLetInError(why, error="insufficient_scope", forbidden=True)
        if self.tenant and self.tenant not in principal.tenants:
            raise NotLetInError("the token is of another tenant", error="insufficient_scope", forbidden=True)
        if self.onward is None:
            return Caller(principal.id)
        if _proved(self.onward, token).id != principal.id:
            raise NotLetInError("the token is two people's", error="invalid_token")
        return Caller(principal.id, token)

    def governor(self, caller: Caller) -> Governor:
        """Return what governs the calls of one connection."""
        renew: Callable[[], str] = (lambda: caller.credential) if self.onward else (lambda: _made_for(caller.agent))
        client: AsyncClient = connect_with(renew())
        return Governor(
            client, environment=self.environment, renew=renew, completions=self.completions.of(caller.agent)
        )


@contextlib.contextmanager
def by_token(
    environment: str, url: str, completions: CompletionsByAgent, *, authorities: Path | None = None
) -> Iterator[ByToken]:
    """Give what tells callers by tokens for ``url``, following the keys of their issuer while the block runs.

    With ``authorities`` they show certificates of these.

    Raises:
        InvalidRequestError: a setting does not fit.
    """
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415
    from aisecops_server.bootstrap.authentication import authenticating  # noqa: PLC0415

    found, clock = settings(), SystemClock()
    with contextlib.ExitStack() as stack:
        tenant = tenant_settings().tenant if found.tenants_file else ""
        callers: dict[str, str] | None = {} if tenant else None
        own_settings = found.model_copy(update={"token_audience": url, "tls_client_ca": authorities})
        own = stack.enter_context(authenticating(own_settings, clock, callers))
        # Where there is no identity provider, tokens are made on this machine, and so is the one for the control plane.
        onward = stack.enter_context(authenticating(found, clock)) if found.token_keys else None
        yield ByToken(environment, own, onward, completions, tenant)


def _made_for(agent: str) -> str:
    return local_token(agent, (Role.AGENT,), LOCAL_SECONDS)


def _bearer(authorization: Sequence[str]) -> str:
    if not authorization:
        raise NotLetInError("show who you are: Authorization: Bearer, with a token for this URL")
    kind, _, token = authorization[0].partition(" ")
    if len(authorization) != 1 or kind.lower() != "bearer" or not token.strip():
        raise NotLetInError("one header Authorization: Bearer, with a token", error="invalid_request")
    return token.strip()


def _proved(by: Authenticator, token: str, certificate: str = "") -> Principal:
    leaf, ends, between = certificate.partition("-----END CERTIFICATE-----\n")
    shown, above = (leaf + ends).encode("ascii"), between.encode("ascii")
    try:
        return by.authenticate(Presented(token=token, certificate=shown, intermediates=above))
    except UnauthenticatedError as error:
        raise NotLetInError(error.message, error="invalid_token") from error
