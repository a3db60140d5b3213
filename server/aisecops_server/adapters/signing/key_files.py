"""The files of a key that the log names: the first one, and one after each rotation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aisecops_server.adapters.signing.keys import SigningKey, make_lasting, names_of, open_key
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.log.key_rotation import KeyUse

NAMES = {KeyUse.GRANT: "grants", KeyUse.EVIDENCE: "evidence", KeyUse.BUNDLE: "bundle"}


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Implements ``KeyStore`` for one use: ``NAME.pem`` is the first key, ``NAME.N.pem`` the one after N rotations."""

    directory: Path
    use: KeyUse

    def first(self) -> SigningKey:
        """Return the first key, made when it is missing.

        Raises:
            IntegrityError: it is readable by others, is no Ed25519 key, or cannot be read or written.
        """
        return open_key(self.directory, self._file(0).stem)

    def current(self, number: int, public: bytes) -> SigningKey:
        """Return the key after so many rotations, whose public half is known.

        Raises:
            IntegrityError: it is not there, cannot be used, or is another one.
        """
        file = self._file(number)
        if not file.exists():
            raise IntegrityError(
                f"the key {file} is missing: the log says that it signs {self.use.signs} since rotation {number}",
                hint="Copy it from the control plane that rotated it, or restore it from a backup. If it is lost,"
                f" {self.use.signs} cannot be signed on this log any more",
                file=str(file),
            )
        key = open_key(self.directory, file.stem)
        if key.public_raw != public:
            raise IntegrityError(
                f"{file} is not the key that the log names after rotation {number}",
                hint="Copy it from the control plane that rotated it, or restore it from a backup",
                file=str(file),
            )
        return key

    def following(self, number: int) -> SigningKey:
        """Return the key that is to follow after so many rotations; one that was made and never used is taken.

        Raises:
            IntegrityError: what is there cannot be used, or nothing can be written.
        """
        return open_key(self.directory, self._file(number + 1).stem)

    def destroy_before(self, number: int) -> None:
        """Delete the keys of before so many rotations; what they signed is verified with their public halves.

        Raises:
            IntegrityError: one cannot be deleted.
        """
        gone = [name for file in map(self._file, range(number)) for name in names_of(file)]
        try:
            for file in gone:
                file.unlink(missing_ok=True)
            if gone:
                make_lasting(gone[0])
        except OSError as error:
            raise IntegrityError(
                f"the key {gone[0]} signs no {self.use.signs} any more and cannot be deleted ({error})",
                hint="Delete it by hand: what whoever has it signs may be believed for a while yet",
                file=str(gone[0]),
            ) from error

    def _file(self, number: int) -> Path:
        name = NAMES[self.use]
        return self.directory / (f"{name}.{number}.pem" if number else f"{name}.pem")
