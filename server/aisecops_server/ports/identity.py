"""Who calls, and the keys a connection is opened with."""

from __future__ import annotations

from typing import Protocol

from aisecops_server.domain.callers.identity import Presented, Principal
from aisecops_server.domain.callers.sign_in import SignIn, SignInAnswer
from aisecops_server.domain.callers.tls_material import TlsMaterial


class Authenticator(Protocol):
    """Tells who a caller is from what it presents."""

    def authenticate(self, presented: Presented) -> Principal:
        """Return the principal that ``presented`` proves.

        Raises:
            UnauthenticatedError: it proves nobody.
        """
        ...


class SignInProvider(Protocol):
    """Signs people in elsewhere. Each call may wait for the provider, some seconds at most."""

    @property
    def name(self) -> str:
        """Return what people know it by."""
        ...

    def address(self, begun: SignIn) -> str:
        """Return where to send somebody who signs in.

        Raises:
            UnauthenticatedError: the provider cannot be asked, or is not the one that it should be.
        """
        ...

    def token(self, begun: SignIn, answer: SignInAnswer) -> str:
        """Return the ID token for what came back; it is not verified yet.

        Raises:
            UnauthenticatedError: the provider gives none.
        """
        ...

    def leaving(self) -> str:
        """Return where people sign out of the provider itself; empty if it does not say."""
        ...


class TlsSource(Protocol):
    """What a listener proves itself with, which is renewed while it listens."""

    def material(self) -> TlsMaterial:
        """Return what is to be used now.

        Raises:
            InvalidRequestError: it cannot be used.
        """
        ...

    def renewed(self) -> TlsMaterial | None:
        """Return what is to be used instead of what was returned last, if that changed; it may be asked often."""
        ...
