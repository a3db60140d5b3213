"""One form for text that is compared: what a person would read as the same is the same.

Compatibility composition (NFKC), case folding, no invisible characters, white space folded to one blank. It does
not equate look-alikes of different scripts (a Cyrillic letter stays Cyrillic): such a value is simply found nowhere.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote

import re2

# Scripts written without blanks between words: a neighbour of these scripts does not continue a word.
_UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x2E80, 0xABFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
_ASCII_WORDS = {code: " " for code in range(128) if not chr(code).isalnum()} | {ord("'"): None}
_PIECE_CHARACTERS = 16 * 1024
_INVISIBLE_CATEGORIES = frozenset({"Cf", "Co", "Cn"})
_VARIATION_SELECTORS = frozenset([*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), 0x034F, 0x115F, 0x1160, 0x3164])
_ESCAPE = re2.compile(r"%[0-9A-Fa-f][0-9A-Fa-f]")
_GLUED = re2.compile(r"([a-z0-9][.!?])([A-Z][a-z])")


def normal_form(text: str) -> str:
    """Return ``text`` in the form in which values and sources are compared."""
    if text.isascii():
        return " ".join(text.lower().split())
    return " ".join("".join(map(_folded, _pieces(text))).split())


def reread(text: str, form: str) -> str:
    """Return the normal form of ``text`` read another way, or an empty string if there is no other way.

    Percent-encoding is undone once, and sentences glued together ("see example.com.Then") are parted.
    """
    decoded = unquote(text) if _ESCAPE.search(text) else text
    parted = _GLUED.sub(r"\1 \2", decoded)
    other = form if parted == text else normal_form(parted)
    return other if other != form else ""


def continues_word(character: str) -> bool:
    """Return whether a neighbouring character makes a longer word of what it touches."""
    if character.isascii():
        return character.isalnum() or character == "_"
    return character.isalnum() and not any(first <= ord(character) <= last for first, last in _UNSPACED)


def words(text: str) -> list[str]:
    """Return the words of a normal form, in order: runs of letters and digits, apostrophes dropped."""
    if text.isascii():
        return text.translate(_ASCII_WORDS).split()
    kept = "".join(character if character.isalnum() else " " for character in text.replace("'", ""))
    return kept.split()


def _pieces(text: str) -> Iterator[str]:
    """Cut a long text, at blanks if it has any: other threads get a turn after each piece, which may unfold much."""
    start = 0
    while len(text) - start > _PIECE_CHARACTERS:
        at_least = start + _PIECE_CHARACTERS
        blank = text.find(" ", at_least, at_least + _PIECE_CHARACTERS)
        end = blank if blank > 0 else at_least
        yield text[start:end]
        start = end
    yield text[start:]


def _folded(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return folded if folded.isascii() else unicodedata.normalize("NFKC", _without_invisible(folded))


def _without_invisible(text: str) -> str:
    # Judged once for each character that occurs, not for each occurrence: compatibility forms may unfold to millions.
    hidden = [ord(character) for character in set(text) if not character.isascii() and _is_invisible(character)]
    return text.translate(dict.fromkeys(hidden)) if hidden else text


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE_CATEGORIES or ord(character) in _VARIATION_SELECTORS
