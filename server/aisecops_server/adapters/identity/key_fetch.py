"""Fetches published keys from the one address that the operator configured; no token ever names another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult

from aisecops_server.adapters.identity.key_set import MOST_BYTES
from aisecops_server.adapters.identity.provider_http import ASK_SECONDS, ProviderAsked, allowed_parts, ask
from aisecops_server.domain.errors import InvalidRequestError

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
        parts = allowed_parts(self.url)
        if parts is None:
            raise InvalidRequestError(
                f"keys may not come from {self.url}",
                hint="token_keys is a JWKS file, an https URL, or an http URL of a loopback address",
                field="token_keys",
            )
        return parts


def fetch_keys(address: KeyAddress, *, seconds: float = ASK_SECONDS) -> bytes:
    """Return what is published at ``address``.

    Raises:
        OSError: nobody answers, or not in time, or not with a certificate that counts.
        ValueError: the answer is not one, or has no end.
    """
    status, content = ask(ProviderAsked(address.url, address.ca), most_bytes=MOST_BYTES, seconds=seconds)
    if status != _OK:
        raise ValueError(f"the answer has status {status}")
    return content
