"""Asks an identity provider at an address that the operator configured, or that the provider itself announced.

TLS beyond this machine, no redirects, no proxies, no compression, a bound on size and on the whole time.
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

ASK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ProviderAsked:
    """One question: a form makes it a POST. ``ca`` replaces the system's roots; ``authorization`` is its header."""

    url: str
    ca: Path | None = None
    form: bytes | None = None
    authorization: str = ""


def allowed_parts(url: str) -> SplitResult | None:
    """Return the parts of an https URL, or of an http one of a loopback address; ``None`` for any other."""
    try:
        parts = urlsplit(url)
        good = parts.port != 0 and bool(parts.hostname) and not parts.username and not parts.fragment
    except ValueError:
        return None
    near = parts.scheme == "http" and _is_loopback(parts.hostname or "")
    return parts if good and url.isprintable() and (parts.scheme == "https" or near) else None


def ask(question: ProviderAsked, *, most_bytes: int, seconds: float = ASK_SECONDS) -> tuple[int, bytes]:
    """Return the status and the body of the answer.

    Raises:
        OSError: nobody answers, or not in time, or not with a certificate that counts.
        ValueError: the address may not be asked, or the answer is not one, or has no end.
    """
    parts = allowed_parts(question.url)
    if parts is None:
        raise ValueError("the address is neither https nor of this machine")
    connection = _connection(parts, question.ca, seconds)
    # A timeout of the socket is one of silence; somebody who drips a byte now and then would hold us for ever.
    late = threading.Event()
    watch = threading.Timer(seconds, _cut, [connection, late])
    watch.daemon = True
    watch.start()
    try:
        found = _answer(connection, parts, question, most_bytes)
        # What was cut off may look like an answer that is short.
        if late.is_set():
            raise TimeoutError("the whole answer did not come in time")
        return found  # noqa: TRY300 - one path through, as it is read
    except http.client.HTTPException as error:
        raise ValueError("the answer is not HTTP") from error
    finally:
        watch.cancel()
        connection.close()


def _answer(
    connection: http.client.HTTPConnection, parts: SplitResult, question: ProviderAsked, most_bytes: int
) -> tuple[int, bytes]:
    path = parts.path or "/"
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    if question.form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    if question.authorization:
        headers["Authorization"] = question.authorization
    method = "GET" if question.form is None else "POST"
    connection.request(method, f"{path}?{parts.query}" if parts.query else path, question.form, headers)
    response = connection.getresponse()
    content = response.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"the answer is larger than {most_bytes} bytes")
    return response.status, content


def _connection(parts: SplitResult, ca: Path | None, seconds: float) -> http.client.HTTPConnection:
    if parts.scheme == "http":
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    context = ssl.create_default_context(cafile=str(ca) if ca else None)
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
