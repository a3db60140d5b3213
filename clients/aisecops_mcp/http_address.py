"""Where a server is reached over HTTP, and with what token of its own."""

from __future__ import annotations

import base64
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class AddressError(ValueError):
    """A server is not reached so."""


@dataclass(frozen=True, slots=True)
class Address:
    """``token_file`` holds what the proxy itself shows to the server; what its own caller showed never goes there.

    ``authority_file`` holds the certificates that the server's is checked with, instead of those of the system.
    """

    url: str
    token_file: Path | None = None
    authority_file: Path | None = None

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            AddressError: it is no URL, has secrets in it, or goes over a network without TLS.
        """
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError as error:
            raise AddressError(f"no URL: {error}") from error
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise AddressError(f"{self.url!r} is no https:// URL")
        if parts.username is not None or parts.fragment:
            raise AddressError("a URL of a server has no user, password or fragment; give its token as a file")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise AddressError(f"{parts.hostname} is not this machine, so it is reached by https:// only")

    def token(self) -> str:
        """Return the token, read anew; empty if there is none.

        Raises:
            AddressError: it cannot be read, or was made for somebody else.
        """
        if self.token_file is None:
            return ""
        try:
            token = self.token_file.read_text("ascii").strip()
        except (OSError, ValueError) as error:
            raise AddressError(f"the token for {self.url} cannot be read: {error}") from error
        if not token or not token.isprintable() or " " in token:
            raise AddressError(f"{self.token_file} holds no token")
        if (audience := _audience(token)) is not None and not any(_is_for(one, self.url) for one in audience):
            wanted = ", ".join(audience) or "nobody"
            raise AddressError(f"the token in {self.token_file} is for {wanted}, not {self.url}")
        return token


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address is this machine's own."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _audience(token: str) -> list[str] | None:
    """Return whom a token is for by itself; ``None`` if it does not say anything (an opaque one)."""
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - a JWT
        return None
    try:
        claims: Any = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    if not isinstance(claims, dict):
        return None
    found = claims.get("aud", [])
    return [str(one) for one in (found if isinstance(found, list) else [found])]


def _is_for(audience: str, url: str) -> bool:
    """Return whether a resource (RFC 8707) is the server's or what it is under, at the same origin."""
    ours, theirs = urlsplit(url), urlsplit(audience)
    if (ours.scheme, ours.netloc.lower()) != (theirs.scheme, theirs.netloc.lower()) or theirs.query or theirs.fragment:
        return False
    under = theirs.path.rstrip("/")
    return ours.path.rstrip("/") == under or ours.path.startswith(f"{under}/")
