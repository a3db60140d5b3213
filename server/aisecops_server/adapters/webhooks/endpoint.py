"""Where messages go: a name, an address, a secret, and which addresses that may be.

A message leaves for https, or for this machine itself. Whatever a name resolves to is checked at the moment of the
connection, so that an address cannot be changed in between; private networks have to be asked for, and what no
receiver has (link-local addresses, where clouds keep credentials) is never reached.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.identifiers import is_identifier

_SECRET_PREFIX = "whsec_"  # noqa: S105 - how a secret begins, and not one
_SECRET_BYTES = range(24, 65)
_MOST_FILE_BYTES = 4096
_OWNER_ONLY = 0o077
_PRIVATE = "private"
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_WORDS = (3, 4)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One receiver. ``secrets`` sign each message, the newest first; ``is_private`` lets it be on a private network."""

    name: str
    url: str
    host: str
    is_near: bool
    is_private: bool
    secrets: tuple[bytes, ...] = field(repr=False)

    def may_reach(self, address: str) -> bool:
        """Return whether a connection to ``address`` is one to the receiver and to nobody else."""
        found = _embedded(ipaddress.ip_address(address.partition("%")[0]))
        if self.is_near:
            return found.is_loopback
        if found.is_global and not found.is_multicast:
            return True
        odd = (
            found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified or found.is_reserved
        )
        return self.is_private and found.is_private and not odd


def read_endpoint(text: str) -> Endpoint:
    """Return the endpoint that ``text`` (``NAME URL SECRET_FILE``, ``private`` behind it or not) describes.

    Raises:
        InvalidRequestError: it describes none that may be used.
    """
    words = text.split()
    if len(words) not in _WORDS or words[3:] not in ([], [_PRIVATE]) or not is_identifier(words[0]):
        raise _unusable(text, "it is not NAME URL SECRET_FILE, with 'private' behind it or not")
    name, url, file = words[:3]
    parts = urlsplit(url)
    host = parts.hostname or ""
    near = host == "localhost" or _is_loopback(host)
    if not host or parts.username is not None or not (parts.scheme == "https" or (parts.scheme == "http" and near)):
        raise _unusable(text, "its URL is neither https nor http to this machine")
    made = Endpoint(name, url, host, near, words[3:] == [_PRIVATE], _secrets(Path(file)))
    if _literal(host) is not None and not made.may_reach(host):
        raise _unusable(
            text, f"{host} is no address that a receiver may have; write 'private' behind it if it is yours"
        )
    return made


def _secrets(file: Path) -> tuple[bytes, ...]:
    try:
        with file.open("rb") as stream:
            status = os.fstat(stream.fileno())
            content = stream.read(_MOST_FILE_BYTES)
    except OSError as error:
        raise _unusable(str(file), "the file with its secret cannot be read") from error
    if status.st_mode & _OWNER_ONLY or not stat.S_ISREG(status.st_mode):
        raise _unusable(str(file), "the file with its secret can be read by others than its owner")
    found = tuple(_secret(line, file) for line in content.decode("ascii", "replace").split())
    if not found:
        raise _unusable(str(file), "there is no secret in it")
    return found


def _secret(line: str, file: Path) -> bytes:
    try:
        secret = base64.b64decode(line.removeprefix(_SECRET_PREFIX), validate=True)
    except binascii.Error:
        secret = b""
    if not line.startswith(_SECRET_PREFIX) or len(secret) not in _SECRET_BYTES:
        raise _unusable(str(file), f"a secret is {_SECRET_PREFIX} and 24 to 64 bytes in base64, one on a line")
    return secret


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    found = _literal(host)
    return found is not None and found.is_loopback


def _embedded(address: Address) -> Address:
    """Return the address that is reached: several forms of the sixth version carry one of the fourth."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _unusable(text: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"the webhook {text[:80]!r} cannot be used: {why}",
        hint="Write NAME URL SECRET_FILE; the how-to about webhooks says what each may be",
        field="webhooks",
    )
