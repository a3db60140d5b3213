"""A text read in some way, and the way back: which characters of the given text a place of the reading came from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aisecops_server.domain.screening.detection import Disguise
from aisecops_server.domain.screening.letter_codes import LetterCodes, letter_codes
from aisecops_server.domain.screening.letters import Alphabet

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ROTATED = str.maketrans(_LETTERS, _LETTERS[13:] + _LETTERS[:13])


class Reading(Protocol):
    """What is searched."""

    @property
    def text(self) -> str:
        """Return the text of the reading."""
        ...

    @property
    def disguise(self) -> Disguise:
        """Return what had to be undone for it."""
        ...

    @property
    def codes(self) -> LetterCodes | None:
        """Return the text in codes, unless it is plain or has too many different characters for them."""
        ...

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Return the characters of the given text that ``[start, end)`` of the reading, not empty, came from."""
        ...


@dataclass(frozen=True, slots=True)
class Given:
    """The text as it was given."""

    text: str
    codes: LetterCodes | None
    disguise: Disguise = Disguise.NONE

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Return the same place."""
        return start, end


@dataclass(slots=True)
class Spelled:
    """Another reading in an alphabet. The way back is worked out when it is first asked for, which is rare."""

    of: Reading
    alphabet: Alphabet
    text: str = field(init=False)
    codes: LetterCodes | None = field(init=False, default=None)
    _reads: Sequence[str] = field(init=False, default=())
    _origins: Sequence[int] = field(init=False, default=())

    def __post_init__(self) -> None:
        """Read."""
        if self.of.codes:
            self._reads = self.alphabet.reads(self.of.codes.letters)
            self.codes = self.of.codes.read(self._reads)
        self.text = self.codes.text if self.codes else self.alphabet.read(self.of.text)

    @property
    def disguise(self) -> Disguise:
        """Return what had to be undone for the reading below."""
        return self.of.disguise

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Return where the letters stand in the given text."""
        return self.of.origin(*self.below(start, end))

    def below(self, start: int, end: int) -> tuple[int, int]:
        """Return where the letters stand in the reading below."""
        if not self._origins:
            codes = self.of.codes
            self._origins = codes.origins(self._reads) if codes else self.alphabet.origins(self.of.text, self.text)
        return self._origins[start], self._origins[end - 1] + 1


@dataclass(frozen=True, slots=True)
class Backwards:
    """Another reading from its end to its beginning."""

    of: Reading
    disguise: Disguise = Disguise.LETTERS
    codes: None = None

    @property
    def text(self) -> str:
        """Return the text of the reading."""
        return self.of.text[::-1]

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Return where the letters stand in the given text."""
        length = len(self.of.text)
        return self.of.origin(length - end, length - start)


@dataclass(frozen=True, slots=True)
class Rotated:
    """Another reading with each Latin letter replaced by the thirteenth after it (ROT13)."""

    of: Reading
    disguise: Disguise = Disguise.LETTERS
    codes: None = None

    @property
    def text(self) -> str:
        """Return the text of the reading."""
        return self.of.codes.turned(_ROTATED).text if self.of.codes else self.of.text.translate(_ROTATED)

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Return the same place."""
        return self.of.origin(start, end)


def in_codes(text: str) -> LetterCodes | None:
    """Return a text in codes, where these are faster than the text itself."""
    return None if text.isascii() else letter_codes(text)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a decoded text, and what it came from. ``literal``: it stood there letter by letter."""

    text: str
    start: int
    end: int
    literal: bool = False


class Decoded:
    """Pieces that were taken out of a text and undone, one behind the other."""

    def __init__(self, pieces: Sequence[Piece], disguise: Disguise) -> None:
        self.text = "".join(piece.text for piece in pieces)
        self.disguise = disguise
        self.codes = in_codes(self.text)
        self._pieces = pieces
        self._starts: list[int] = []
        at = 0
        for piece in pieces:
            self._starts.append(at)
            at += len(piece.text)

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Return the first to the last character that the place was decoded from."""
        return self._at(start)[0], self._at(end - 1)[1]

    def _at(self, position: int) -> tuple[int, int]:
        index = bisect_right(self._starts, position) - 1
        piece = self._pieces[index]
        if not piece.literal:
            return piece.start, piece.end
        place = piece.start + position - self._starts[index]
        return place, place + 1
