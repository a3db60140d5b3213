"""How letters read: one plain lower-case letter for all that a reader, or a model, takes for it.

Three alphabets. *Visible* only drops what nobody sees and folds compatible forms. *Words* keeps words apart: letters
and digits in their plain form, everything else a blank. *Squeezed* keeps nothing apart: blanks and marks are gone, and
digits and signs that stand in for letters are those letters, so that ``1 g-n0re`` reads as ``ignore`` does. What is
looked for is put through the same alphabets as the text, so both sides lose the same distinctions.

Characters are folded one by one, so that every character of a reading has one origin. The table is bounded.
"""

# ruff: noqa: RUF001 - letters that look like others are what this is about
from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from aisecops_server.domain.screening.letter_codes import origins

# Letters that are drawn like, or nearly like, the Latin letter before them. What Unicode itself calls compatible
# (full width, mathematical, circled) is folded before, and accents are dropped, so only real look-alikes stand here.
_LOOK_ALIKES = {
    "a": "аɑαᴀᎪɐ🄰🅐🅰🇦",
    "b": "вьʙᏼßƅ🅑🅱🇧",
    "c": "сϲᴄᏟɔ🅒🅲🇨",
    "d": "ԁᴅđɗᎠ🅓🅳🇩",
    "e": "еҽεᴇɛ℮ǝᎬ🅔🅴🇪",
    "f": "ƒꜰғϝ🅕🅵🇫",
    "g": "ɡɢցԍᏀ🅖🅶🇬",
    "h": "нһʜհђᎻ🅗🅷🇭",
    "i": "іιıɩɪᎥ🅘🅸🇮",
    "j": "јϳᴊյᎫ🅙🅹🇯",
    "k": "кκᴋᏦ🅚🅺🇰",
    "l": "ӏłʟɭᏞǀ🅛🅻🇱",
    "m": "мᴍᎷ🅜🅼🇲",
    "n": "пηɴռո🅝🅽🇳",
    "o": "оοσօᴏøɵө🅞🅾🇴",
    "p": "рρᴘᏢþ🅟🅿🇵",
    "q": "ԛզ🅠🆀🇶",
    "r": "гʀᴦɾᎡ🅡🆁🇷",
    "s": "ѕꜱʂᏚ🅢🆂🇸",
    "t": "тτᴛᎢŧ🅣🆃🇹",
    "u": "υսᴜʊц🅤🆄🇺",
    "v": "ѵνᴠᏙ🅥🆅🇻",
    "w": "ԝωᴡɯᎳ🅦🆆🇼",
    "x": "хχ🅧🆇🇽",
    "y": "уүγʏყ🅨🆈🇾",
    "z": "ᴢʐᏃ🅩🆉🇿",
}
_PLAIN = {ord(other): letter for letter, others in _LOOK_ALIKES.items() for other in others}
# What stands in for a letter where letters are avoided. ``l`` and ``i`` have the same stand-ins, so they are one.
_STAND_INS = str.maketrans(
    {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "@": "a", "$": "s", "|": "i", "l": "i"}
)
_INVISIBLE = frozenset({"Cf", "Cn", "Co", "Cs", "Mn", "Me"})
# The combining grapheme joiner and the fillers of Hangul have a width of nothing and the category of letters.
_FILLERS = frozenset({0x034F, 0x115F, 0x1160, 0x3164, 0xFFA0})
_MOST_REMEMBERED = 16_384
# One character may unfold to whole words; a reader takes no more of them in than this.
_MOST_LETTERS = 4
_LAST_PLAIN = "\x7f"
_ASCII = "".join(map(chr, range(128)))
_FEW = 24


class Alphabet(dict[int, str | None]):
    """A table for ``str.translate`` that is filled as characters occur, and never grows beyond a bound."""

    def __init__(self, read_one: Callable[[str], str], *, keeps_plain: bool = False) -> None:
        self._read_one = read_one
        self._keeps_plain = keeps_plain
        self._lengths = _Lengths(self)
        super().__init__(self._ascii())
        self._plain_reads = [read or "" for read in self._ascii().values()]

    def __missing__(self, code: int) -> str:
        """Return how a character reads that was not met before."""
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
            self.update(self._ascii())
        self[code] = read = self._read_one(chr(code))
        return read

    def reads(self, letters: str) -> list[str]:
        """Return how each of some letters reads."""
        known = self._plain_reads if letters.startswith(_ASCII) else []
        return [*known, *[read or "" for read in map(self.__getitem__, map(ord, letters[len(known) :]))]]

    def read(self, text: str) -> str:
        """Return how ``text`` reads.

        A table is fast on plain characters only, so where a text has few different others they are replaced first.
        What a character reads as reads as itself, so the order does not matter.
        """
        if not text.isascii():
            others = [character for character in set(text) if character > _LAST_PLAIN]
            changed = [character for character in others if self[ord(character)] != character]
            if len(changed) > _FEW:
                return text.translate(self)
            for character in changed:
                text = text.replace(character, self[ord(character)] or "")
        return text if self._keeps_plain else text.translate(self)

    def origins(self, text: str, read: str) -> Sequence[int]:
        """Return for each letter of ``read``, which ``text`` reads as, the place of the character it came from."""
        if len(read) == len(text) and text.isascii():
            # A plain character reads as one or as none.
            return range(len(text))
        return origins(text.translate(self._lengths).encode("latin-1"))

    def _ascii(self) -> dict[int, str | None]:
        # Of two ways to say that nothing is left of a character, this one has a fast road in ``translate``.
        return {code: self._read_one(chr(code)) or None for code in range(128)}


class _Lengths(dict[int, str]):
    """For each character the length of what it reads as, as one character: a table as fast as the alphabet's own."""

    def __init__(self, alphabet: Alphabet) -> None:
        super().__init__()
        self._alphabet = alphabet

    def __missing__(self, code: int) -> str:
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        self[code] = length = chr(len(self._alphabet[code] or ""))
        return length


def is_invisible(character: str) -> bool:
    """Return whether a character shows nothing of its own."""
    return ord(character) in _FILLERS or unicodedata.category(character) in _INVISIBLE


def _visible(character: str) -> str:
    if character.isascii():
        return character
    if is_invisible(character):
        return ""
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    shown = "".join(letter for letter in unicodedata.normalize("NFKC", character) if not is_invisible(letter))
    return shown[:_MOST_LETTERS] or " "


def _word(character: str) -> str:
    return "".join(letter if letter.isalnum() else " " for letter in _plain(character))


def _squeezed(character: str) -> str:
    letters = [letter for letter in _plain(character) if letter.isalnum() or ord(letter) in _STAND_INS]
    return "".join(letters).translate(_STAND_INS)


def _plain(character: str) -> str:
    if character.isascii():
        return character.lower()
    if ord(character) in _PLAIN:
        return _PLAIN[ord(character)]
    if is_invisible(character):
        return ""
    if character.isdigit():
        return str(unicodedata.digit(character))
    apart = _shown(unicodedata.normalize("NFKD", character))
    if not apart.isascii():
        # Taken apart, letters of some scripts are no letters any more; put together they are.
        apart = _shown(unicodedata.normalize("NFKC", character))
    return apart[:_MOST_LETTERS] or " "


def _shown(text: str) -> str:
    return "".join(letter for letter in text if not is_invisible(letter)).casefold().translate(_PLAIN)


VISIBLE = Alphabet(_visible, keeps_plain=True)
WORDS = Alphabet(_word)
SQUEEZED = Alphabet(_squeezed)
