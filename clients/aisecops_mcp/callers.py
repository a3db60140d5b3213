"""Who calls over HTTP: what the proxy needs of whoever composes it to know that, and to ask on the caller's behalf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from aisecops_mcp.governor import Governor
from aisecops_mcp.http_address import is_loopback

_WELL_KNOWN = "/.well-known/oauth-protected-resource"


class NotLetInError(Exception):
    """A caller is not let in. ``error`` is the word of RFC 6750; empty for one who showed nothing at all."""

    def __init__(self, why: str, *, error: str = "", forbidden: bool = False) -> None:
        super().__init__(why)
        self.error = error
        self.forbidden = forbidden


@dataclass(frozen=True, slots=True)
class Caller:
    """An agent. ``credential`` is what the control plane is asked with; a server never sees it."""

    agent: str
    credential: str = field(default="", repr=False)


class Door(Protocol):
    """Tells who calls."""

    def enter(self, authorization: Sequence[str], certificate: str = "") -> Caller:
        """Return who calls, by the ``Authorization`` headers of a request and the certificate of its connection (PEM).

        Raises:
            NotLetInError: they prove nobody who may.
        """

    def governor(self, caller: Caller) -> Governor:
        """Return what governs the calls of one connection of a caller; its client is closed by whoever asked for it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What the proxy is to those who give out tokens for it (RFC 9728): its URL, and who gives them out."""

    url: str
    issuers: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            ValueError: it is no URL that a token could be for.
        """
        parts = urlsplit(self.url)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{self.url!r} is no https:// URL of an endpoint")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError(f"{parts.hostname} is not this machine, so clients reach it by https:// only")

    @property
    def path(self) -> str:
        """Return where its endpoint is."""
        return urlsplit(self.url).path or "/"

    @property
    def metadata_paths(self) -> frozenset[str]:
        """Return where its metadata is read."""
        return frozenset({_WELL_KNOWN, _WELL_KNOWN + self.path.rstrip("/")})

    @property
    def metadata(self) -> dict[str, Any]:
        """Return what is said of it."""
        about: dict[str, Any] = {"resource": self.url, "bearer_methods_supported": ["header"]}
        return {**about, "authorization_servers": list(self.issuers)} if self.issuers else about

    def challenge(self, error: NotLetInError) -> str:
        """Return what a caller is told to show."""
        parts = urlsplit(self.url)
        where = f"{parts.scheme}://{parts.netloc}{_WELL_KNOWN}{parts.path.rstrip('/')}"
        why = "".join(mark for mark in str(error) if mark.isascii() and mark.isprintable() and mark not in '"\\')
        told = {"resource_metadata": where}
        if error.error:
            told |= {"error": error.error, "error_description": why}
        return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in told.items())
