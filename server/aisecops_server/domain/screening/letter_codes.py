"""A text in one byte a character, which is what the fast ways of Python to read and translate are made for.

Few texts have more than 128 different characters beyond ASCII; each of them gets a code of its own. A reading is then
another meaning of the codes: the bytes change only where a character reads as none or as several.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

_ASCII = "".join(map(chr, range(128)))
_MOST = 256
# Stands where a code has no letter.
_NONE = "\0"
# What a map of characters takes for no character.
_UNDEFINED = "\ufffe"
_LAST_OF_PLANE = "\uffff"
# Numbers that are there need not be made for every text.
_PLACES = list(range(8192))
# More private characters than a text that gets codes has others.
_FIRST_PRIVATE, _MOST_PRIVATE = 0xE000, 0xE000 + 2 * _MOST


@dataclass(frozen=True, slots=True)
class LetterCodes:
    """Codes, a byte a character, and the letter that each of them is, by code."""

    codes: bytes
    letters: str

    @property
    def text(self) -> str:
        """Return the text."""
        return codecs.charmap_decode(self.codes, "strict", self.letters)[0]

    def turned(self, table: Mapping[int, int]) -> LetterCodes:
        """Return the text with other letters, by a table that has one letter for each that it has."""
        return LetterCodes(self.codes, self.letters.translate(table))

    def read(self, reads: Sequence[str]) -> LetterCodes | None:
        """Return the text with what each letter reads as, by code, or None if that has too many different letters."""
        lengths = bytes(map(len, reads))
        if lengths.count(1) == len(lengths):
            return LetterCodes(self.codes, "".join(reads))
        gone = bytes(code for code, length in enumerate(lengths) if not length)
        long = [(code, reads[code]) for code, length in enumerate(lengths) if length > 1]
        letters = [read if len(read) == 1 else _NONE for read in reads]
        codes = self.codes
        for code, read in long:
            parts = [_code(letter, letters) for letter in read]
            if max(parts) >= _MOST:
                return None
            codes = codes.replace(bytes((code,)), bytes(parts))
        return LetterCodes(codes.translate(None, gone), "".join(letters))

    def origins(self, reads: Sequence[str]) -> Sequence[int]:
        """Return for each letter of the reading the place of the character that it came from."""
        lengths = bytes(map(len, reads))
        if lengths.count(1) == len(lengths):
            return range(len(self.codes))
        return origins(self.codes.translate(lengths.ljust(_MOST, b"\0")))


def origins(lengths: bytes) -> Sequence[int]:
    """Return for each letter of a reading where it came from; ``lengths``: how many each character reads as."""
    places = _PLACES if len(lengths) <= len(_PLACES) else range(len(lengths))
    if max(lengths, default=0) <= 1:
        return list(compress(places, lengths))
    return [at for at, length in zip(places, lengths, strict=False) for _ in range(length)]


def letter_codes(text: str) -> LetterCodes | None:
    """Return ``text`` in codes, or None if it has too many different characters."""
    # Most characters of most texts are plain, and bytes are faster without them than a set is with them.
    others = list(
        set(text.encode("utf-8", "surrogatepass").translate(None, _ASCII.encode()).decode("utf-8", "surrogatepass"))
    )
    if len(others) > _MOST - len(_ASCII) or _UNDEFINED in others:
        return None
    text, standing = _in_one_plane(text, others)
    # With as many letters as there are codes, and none beyond the first plane, this makes a map of C's own.
    made = codecs.charmap_build((_ASCII + standing).ljust(_MOST, _UNDEFINED))
    return LetterCodes(codecs.charmap_encode(text, "strict", made)[0], _ASCII + "".join(others))


def _in_one_plane(text: str, others: Sequence[str]) -> tuple[str, str]:
    """Return text and characters with others, which occur nowhere, for those beyond the first plane."""
    standing = list(others)
    unused = (character for character in map(chr, range(_FIRST_PRIVATE, _MOST_PRIVATE)) if character not in others)
    for at, character in enumerate(others):
        if character > _LAST_OF_PLANE:
            standing[at] = next(unused)
            text = text.replace(character, standing[at])
    return text, "".join(standing)


def _code(letter: str, letters: list[str]) -> int:
    """Return the code of a letter, which gets a new one if it has none."""
    if letter not in letters:
        letters.append(letter)
    return letters.index(letter)
