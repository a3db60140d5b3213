"""The key that signs bundles or evidence packages, as the log names it."""

from __future__ import annotations

from aisecops_server.domain.errors import SigningKeyMissingError
from aisecops_server.domain.log.key_rotation import KeyChain, KeyUse
from aisecops_server.ports import Signer


class OneSigningKey:
    """Implements ``SigningRing``; what earlier ones signed is judged by ``chain``."""

    def __init__(self, use: KeyUse) -> None:
        self._use = use
        self._signer: Signer | None = None
        self._problem = "no key was taken up"
        self.chain = KeyChain()

    @property
    def signer(self) -> Signer:
        """Return the key that signs.

        Raises:
            SigningKeyMissingError: it is not here.
        """
        if self._signer is None:
            raise SigningKeyMissingError(
                f"no {self._use.signs} can be signed here: {self._problem}",
                hint="Copy the key's file here from where it was rotated; it is taken up within seconds. Until then,"
                " ask another control plane",
            )
        return self._signer

    @property
    def problem(self) -> str:
        """Return why nothing is signed here, or an empty string."""
        return self._problem

    @property
    def public(self) -> bytes:
        """Return the public half of the key that signs, also when its private half is not here."""
        return self.chain.current or self.signer.public_raw

    def turn(self, signer: Signer, chain: KeyChain, *, now_ns: int) -> None:  # noqa: ARG002 - nothing ends with time
        """Sign with ``signer`` from here on."""
        self._signer, self._problem, self.chain = signer, "", chain

    def miss(self, chain: KeyChain, *, problem: str, now_ns: int) -> None:  # noqa: ARG002 - nothing ends with time
        """Sign nothing, because the current key of ``chain`` is not here."""
        self._signer, self._problem, self.chain = None, problem, chain
