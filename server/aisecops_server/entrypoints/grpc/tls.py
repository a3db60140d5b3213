"""TLS for listeners: certificates that are renewed without a restart, and what a connection proved of its caller.

gRPC accepts TLS 1.2 and 1.3 only. Whether callers must have a certificate is a matter of the listener, because
gRPC either demands one from everybody or asks nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import grpc

from aisecops_server.domain.callers.identity import Presented
from aisecops_server.domain.callers.tls_material import TlsMaterial
from aisecops_server.domain.errors import InvalidRequestError, UnauthenticatedError
from aisecops_server.domain.tenants.tenant import HEADER
from aisecops_server.ports import TlsSource

_SCHEME = "bearer"

_logger = logging.getLogger(__name__)


def server_credentials(source: TlsSource) -> grpc.ServerCredentials:
    """Return credentials that follow ``source``; each new connection gets what it holds then.

    Raises:
        InvalidRequestError: what it holds cannot be used.
    """
    material = source.material()

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        fresh = source.renewed()
        # Whether callers must have a certificate was settled when the listener began.
        if fresh is None or bool(fresh.client_authorities) != bool(material.client_authorities):
            return None
        _logger.info("the listener's certificate was renewed")
        return _configuration(fresh)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(material),
        renewed,  # type: ignore[arg-type]  # the stubs forget that it may return nothing
        require_client_authentication=bool(material.client_authorities),
    )


def presented_by(context: grpc.aio.ServicerContext[Any, Any]) -> Presented:
    """Return what a call presents to prove who makes it.

    Raises:
        UnauthenticatedError: it carries several tokens, or something else than a token.
    """
    facts: Mapping[str, Iterable[bytes]] = context.auth_context()
    # Read once: the library makes it anew each time.
    metadata = tuple(context.invocation_metadata() or ())
    return Presented(
        token=_token(metadata),
        certificate=b"".join(facts.get("x509_pem_cert", ())),
        intermediates=b"".join(facts.get("x509_pem_cert_chain", ())),
        tenant=named_tenant(_values(metadata, HEADER)),
    )


def peer_of(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Return the address that calls, without its port, which is another one each time."""
    kind, _, rest = context.peer().partition(":")
    return unquote(rest.rpartition(":")[0]).strip("[]") if kind in ("ipv4", "ipv6") else kind


def _token(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    # Several values would let two readers pick different ones.
    return bearer_token(_values(metadata, "authorization"))


def _values(metadata: Iterable[tuple[str, str | bytes]], name: str) -> list[str]:
    return [str(value) for key, value in metadata if key == name]


def named_tenant(values: Sequence[str]) -> str:
    """Return the tenant that a call names; empty where it names none.

    Raises:
        InvalidRequestError: it names several.
    """
    if len(values) > 1:
        raise InvalidRequestError("the call names several tenants", hint=f"Send '{HEADER}' once", field=HEADER)
    return values[0] if values else ""


def bearer_token(values: Sequence[str]) -> str:
    """Return the token of what a call says under ``authorization``; empty where it says nothing.

    Raises:
        UnauthenticatedError: it says several things, or something else than a token.
    """
    if not values:
        return ""
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != _SCHEME or not token:
        raise UnauthenticatedError(
            "the call's credential is not one token",
            hint="Send the metadata 'authorization: Bearer <token>', once",
            why="malformed",
        )
    return token


def _configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.private_key, material.certificates)], root_certificates=material.client_authorities or None
    )
