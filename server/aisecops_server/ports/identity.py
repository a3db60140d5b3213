"""Who calls, and the keys a connection is opened with."""

from __future__ import annotations

from typing import Protocol

from aisecops_server.domain.identity import Presented, Principal
from aisecops_server.domain.tls_material import TlsMaterial


class Authenticator(Protocol):
    """Tells who a caller is from what it presents."""

    def authenticate(self, presented: Presented) -> Principal:
        """Return the principal that ``presented`` proves.

        Raises:
            UnauthenticatedError: it proves nobody.
        """
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
