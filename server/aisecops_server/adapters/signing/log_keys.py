"""The files of a log's keys: ``log.pem`` is the first one, ``log.N.pem`` the one after N rotations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aisecops_server.adapters.signing.keys import SigningKey, open_key
from aisecops_server.domain.errors import IntegrityError

_NAME = "log"


@dataclass(frozen=True, slots=True)
class LogKeyFiles:
    """Implements ``LogKeyStore``."""

    directory: Path

    def current(self, rotations: int, public: bytes | None) -> SigningKey:
        """Return the key after so many rotations, of which ``public`` is known; the first is made when it is missing.

        Raises:
            IntegrityError: it is not there, or is another one.
        """
        if rotations and not self._file(rotations).exists():
            raise IntegrityError(
                f"the log's key {self._file(rotations)} is missing",
                hint="Restore it from a backup; without it nothing can be signed for this log",
            )
        key = open_key(self.directory, self._name(rotations))
        if public is not None and key.public_raw != public:
            raise IntegrityError(
                f"{self._file(rotations)} is not the key that the log was handed over to",
                hint="Restore the key from a backup",
            )
        return key

    def following(self, rotations: int) -> SigningKey:
        """Return the key that is to follow after so many rotations; one that was made and never used is taken."""
        return open_key(self.directory, self._name(rotations + 1))

    def destroy(self, rotations: int) -> None:
        """Delete the key of before so many rotations; what it signed is verified with its public half."""
        self._file(rotations).unlink(missing_ok=True)

    def _file(self, rotations: int) -> Path:
        return self.directory / f"{self._name(rotations)}.pem"

    @staticmethod
    def _name(rotations: int) -> str:
        return f"{_NAME}.{rotations}" if rotations else _NAME
