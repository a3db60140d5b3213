"""Fetches published keys from the one address that the operator configured; no token ever names another.

No redirects, no proxies, no compression, a bound on size and on the whole time that a fetch may take.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from aisecops_server.adapters.identity.key_set import MOST_BYTES
from aisecops_server.domain.errors import InvalidRequestError

FETCH_SECONDS = 10.0
_OK = 200


@dataclass(frozen=True, slots=True)
class KeyAddress:
    """Where keys are published: an https URL, or an http one of this machine. ``ca`` replaces the system's roots."""

    url: str
    ca: Path | None = None

    def parts(self) -> SplitResult:
        """Return the URL's parts.

        Raises:
            InvalidRequestError: keys may not come from there.
        """
        try:
            parts = urlsplit(self.url)
            good = parts.port != 0 and bool(parts.hostname) and not parts.username and not parts.fragment
        except ValueError:
            good = False
        if not good or not (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or ""))):
            raise InvalidRequestError(
                f"keys may not come from {self.url}",
                hint="token_keys is a JWKS file, an https URL, or an http URL of a loopback address",
                field="token_keys",
            )
        return parts


def fetch_keys(address: KeyAddress, *, seconds: float = FETCH_SECONDS) -> bytes:
    """Return what is published at ``address``.

    Raises:
        OSError: nobody answers, or not in time, or not with a certificate that counts.
        ValueError: the answer is not one, or has no end.
    """
    connection = _connection(address, seconds)
    # A timeout of the socket is one of silence; somebody who drips a byte now and then would hold us for ever.
    late = threading.Event()
    watch = threading.Timer(seconds, _cut, [connection, late])
    watch.daemon = True
    watch.start()
    try:
        content = _answer(connection, address.parts())
        # What was cut off may look like an answer that is short.
        if late.is_set():
            raise TimeoutError("the whole answer did not come in time")
        return content  # noqa: TRY300 - one path through, as it is read
    except http.client.HTTPException as error:
        raise ValueError("the answer is not HTTP") from error
    finally:
        watch.cancel()
        connection.close()


def _answer(connection: http.client.HTTPConnection, parts: SplitResult) -> bytes:
    path = parts.path or "/"
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    connection.request("GET", f"{path}?{parts.query}" if parts.query else path, headers=headers)
    response = connection.getresponse()
    if response.status != _OK:
        raise ValueError(f"the answer has status {response.status}")
    content = response.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"the answer is larger than {MOST_BYTES} bytes")
    return content


def _connection(address: KeyAddress, seconds: float) -> http.client.HTTPConnection:
    parts = address.parts()
    if parts.scheme == "http":
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    context = ssl.create_default_context(cafile=str(address.ca) if address.ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=seconds, context=context)


def _cut(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    # Only that ends a read that another thread waits in.
    with suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
