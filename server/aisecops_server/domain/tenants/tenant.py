"""Whose a call is, where several share a control plane: what the caller's credential proves, never what a plan says.

A control plane without tenants has one, which everybody is of. Its name cannot be given to another, so a credential
that says nothing of tenants is of none of several.
"""

from __future__ import annotations

import string

from aisecops_server.domain.callers.identity import DEFAULT_TENANT, Principal, Role
from aisecops_server.domain.errors import InvalidRequestError, NotFoundError, NotPermittedError

# The metadata or header in which somebody with a credential of several tenants says which of them is meant.
HEADER = "aisecops-tenant"
# Each tenant is at least one engine process, a log and its keys.
MOST_TENANTS = 32
_CHARACTERS = frozenset(string.ascii_lowercase + string.digits + "-")
_MOST_CHARACTERS = 40


def is_tenant_name(text: str) -> bool:
    """Return whether ``text`` can name a tenant; it also names a directory."""
    return (
        0 < len(text) <= _MOST_CHARACTERS
        and _CHARACTERS.issuperset(text)
        and not text.startswith("-")
        and text != DEFAULT_TENANT
    )


def tenant_for(principal: Principal, asked: str) -> str:
    """Return whose a call of ``principal`` is; ``asked`` is the tenant that it names, or empty.

    Raises:
        NotPermittedError: the credential is of no tenant, or an agent's is of several.
        InvalidRequestError: it is of several, and none of them was named.
        NotFoundError: another one was named, whether or not there is such a tenant.
    """
    if not principal.tenants:
        raise NotPermittedError(
            "the credential is of no tenant",
            hint="Ask who runs the control plane how credentials name their tenant",
            why="tenant",
            principal=principal.id,
        )
    several = len(principal.tenants) > 1
    if several and Role.AGENT in principal.roles:
        # It could have what one tenant forbids allowed by another.
        raise NotPermittedError(
            "the credential of an agent is of several tenants",
            hint="Issue one that names a single tenant",
            why="tenant",
            principal=principal.id,
        )
    if several and not asked:
        raise InvalidRequestError(
            "the credential is of several tenants",
            hint=f"Name one with --tenant, or with the metadata '{HEADER}'",
            field=HEADER,
        )
    if asked and asked not in principal.tenants:
        raise no_such_tenant(principal)
    return asked or next(iter(principal.tenants))


def no_such_tenant(principal: Principal) -> NotFoundError:
    """Return the refusal of a tenant that is not the caller's or not there, which the caller cannot tell apart."""
    return NotFoundError(
        "this credential is of no such tenant here",
        hint="Ask who runs the control plane which tenant is yours",
        why="tenant",
        principal=principal.id,
    )
