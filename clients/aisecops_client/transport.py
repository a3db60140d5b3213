"""How a client reaches the control plane: in plain text on this machine, over TLS everywhere else."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import grpc

_ANSWER_BYTES = ("grpc.max_receive_message_length", 64 * 1024 * 1024)
# A control plane that comes back is found again in seconds, and not in the minutes that are gRPC's habit.
_RECONNECT = ("grpc.max_reconnect_backoff_ms", 5_000)
# Over a Unix socket there is no host name to send. With TLS the address is the name that the certificate must have.
PLAIN_OPTIONS: tuple[tuple[str, Any], ...] = (_ANSWER_BYTES, _RECONNECT, ("grpc.default_authority", "localhost"))
TLS_OPTIONS: tuple[tuple[str, Any], ...] = (_ANSWER_BYTES, _RECONNECT)
_SCHEMES = ("ipv4:", "ipv6:", "dns:///", "dns:")


def tls(
    *, ca: str | Path | None = None, certificate: str | Path | None = None, key: str | Path | None = None
) -> grpc.ChannelCredentials:
    """Return credentials for ``connect``, read from PEM files.

    ``ca`` names the authorities that the control plane's certificate must come from; without it they are those that
    gRPC trusts. ``certificate`` with its chain and ``key`` say who calls (mutual TLS). They are read once: connect
    again when they were renewed.

    Raises:
        ValueError: a certificate came without its key, or a key without its certificate.
        OSError: a file cannot be read.
    """
    if bool(certificate) != bool(key):
        raise ValueError("a client certificate and its key belong together: give both or neither")
    return grpc.ssl_channel_credentials(
        root_certificates=Path(ca).read_bytes() if ca else None,
        private_key=Path(key).read_bytes() if key else None,
        certificate_chain=Path(certificate).read_bytes() if certificate else None,
    )


def require_plain(address: str) -> None:
    """Let plain text through to this machine only: on a network anybody could read the token and use it.

    Raises:
        ValueError: the address is elsewhere, or a name that could be.
    """
    if not is_local(address):
        raise ValueError(f"{address} is not on this machine: give credentials=tls(ca=...) to reach it over TLS")


def is_local(address: str) -> bool:
    """Return whether an address is a Unix socket or a loopback address of this machine."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    for scheme in _SCHEMES:
        address = address.removeprefix(scheme)
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
