"""Who is asking: always what a credential proved, never what a message says."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

PrincipalId = NewType("PrincipalId", str)

BY_CERTIFICATE = "certificate"
# Where a control plane has no tenants, everybody is of this one.
DEFAULT_TENANT = "default"


class Role(StrEnum):
    """What a credential lets its holder do."""

    AGENT = "agent"
    SECURITY = "security"
    PLATFORM = "platform"
    SECOPS = "secops"
    APP = "app"
    AUDITOR = "auditor"
    TOOL = "tool"
    EDGE = "edge"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Presented:
    """What a caller presents to prove who it is: a token, the certificate of its connection, or both.

    ``certificate`` is PEM, as the transport verified it; ``intermediates`` are the authorities that came with it.
    ``tenant`` proves nothing: it is which one is meant by somebody whose credential is of several. ``nonce`` is that
    of the sign-in which the token came from, an ID token then, that counts with it alone; nothing that comes over a
    wire has one.
    """

    token: str = field(default="", repr=False)
    certificate: bytes = b""
    intermediates: bytes = b""
    tenant: str = ""
    nonce: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated identity.

    ``thumbprint`` is the SHA-256 of what proved it, the certificate or the token, in hexadecimal; it is no fact that
    policy judges by. ``tenants`` are those that the credential says it is of.
    """

    id: PrincipalId
    authenticated_by: str
    roles: frozenset[Role]
    thumbprint: str = ""
    tenants: frozenset[str] = frozenset({DEFAULT_TENANT})

    @property
    def bound_to(self) -> str:
        """Return the thumbprint of what only its holder can show: a certificate, by its key. Empty for a token.

        A token is renewed every few minutes, and whoever has seen it can show it: that it is the same one proves no
        more than the identity that each of them proves.
        """
        return self.thumbprint if self.authenticated_by == BY_CERTIFICATE else ""
