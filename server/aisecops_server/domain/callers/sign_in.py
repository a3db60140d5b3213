"""A person's way through an identity provider and back: what is remembered of it, and what comes back."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SignIn:
    """One sign-in that was begun in one browser.

    ``state`` goes through the browser and back, ``nonce`` comes back in the token, and ``verifier`` goes to the
    provider with the code, past the browser (RFC 7636). ``back`` is the address that the provider sends the person
    to; ``next`` is the page that was asked for, and ``tenant`` the one that is meant.
    """

    state: str
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    back: str
    next: str = "/"
    tenant: str = ""

    @property
    def challenge(self) -> str:
        """Return what of the verifier may be seen, by the method S256."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode("ascii")).digest()).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class SignInAnswer:
    """What a browser brings back from the provider, unproved; empty is what it does not bring."""

    code: str = field(default="", repr=False)
    issuer: str = ""
    error: str = ""
