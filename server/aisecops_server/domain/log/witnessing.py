"""What a witness may answer instead of signing: each of them asks for something else from who runs the log."""

from __future__ import annotations

from dataclasses import dataclass

from aisecops_server.domain.formats.signed_note import NoteSignature


@dataclass(frozen=True, slots=True)
class Behind:
    """It signed this size last; the proof has to begin there."""

    size: int


@dataclass(frozen=True, slots=True)
class Refused:
    """It does not accept this history of the log."""

    why: str


@dataclass(frozen=True, slots=True)
class Silent:
    """It gave no answer that counts."""

    why: str


WitnessAnswer = NoteSignature | Behind | Refused | Silent
