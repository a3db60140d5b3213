"""Text inside a text: escapes, base64, hexadecimal digits, and characters that nobody sees but that spell something.

One level is undone. What comes out is never larger than what went in, so the work stays linear. That something was
encoded twice is noted, not undone.
"""

from __future__ import annotations

import binascii
import html
from collections.abc import Iterator

import re2

from aisecops_server.domain.screening.detection import Disguise
from aisecops_server.domain.screening.pattern_union import PatternUnion
from aisecops_server.domain.screening.reading import Decoded, Piece, Reading

_ESCAPE = re2.compile(
    r"(?:%[0-9A-Fa-f]{2})+|(?:\\x[0-9A-Fa-f]{2})+|\\u[0-9A-Fa-f]{4}|\\u\{[0-9A-Fa-f]{1,6}\}|\\[nrt]"
    r"|&#[0-9]{1,7};?|&#[xX][0-9A-Fa-f]{1,6};?|&(?:lt|gt|amp|quot|apos|nbsp|colon|lpar|rpar|num|excl);"
)
_BASE64 = r"[A-Za-z0-9+/_-]{20,}(?:\r?\n[A-Za-z0-9+/_-]{4,})*={0,2}"
_HEX = r"(?:[0-9A-Fa-f]{2}){10,}|(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[ ,:;-]{1,2}){9,}(?:0x|\\x)?[0-9A-Fa-f]{2}"
_DIGITS = PatternUnion([_BASE64, _HEX])
_BASED = re2.compile(_BASE64)
_HEX_DIGITS = re2.compile(r"(?:0x|\\x|[^0-9A-Fa-f])+")
SPELLING = r"[\x{E0020}-\x{E007E}]+|[\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}]{4,}"
_SPELLED = re2.compile(SPELLING)
_FLAG = re2.compile(r"\x{1F3F4}[\x{E0020}-\x{E007E}]+\x{E007F}")
_PRINTED = re2.compile(r"[\t\n\r -~]{12,}")
_URL_SAFE = str.maketrans("-_", "+/", "\r\n")
_UNPRINTED = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127])
_GAP = "\n\n"
_FIRST_TAG, _FIRST_SUPPLEMENT = 0xE0000, 0xE0100
_FIRST_SELECTOR = 0xFE00


def decoded(seen: Reading, given: str) -> Iterator[Reading]:
    """Yield what stands encoded in a text: ``seen`` as it shows, ``given`` with what does not show."""
    text = seen.text
    if "%" in text or "\\" in text or "&" in text:
        yield from _reading(_unescaped(text, seen), Disguise.ESCAPES)
    pieces: tuple[list[Piece], ...] = ([], [])
    for form, start, end in _DIGITS.find(text):
        if found := _UNDONE[form](text[start:end]):
            place = seen.origin(start, end)
            # A gap, so that what were no neighbours is not read as such.
            pieces[form].extend((Piece(found, *place), Piece(_GAP, *place)))
    yield from _reading(pieces[0], Disguise.BASE64)
    yield from _reading(pieces[1], Disguise.HEX)
    if not given.isascii():
        yield from _reading(list(_spelled(given)), Disguise.INVISIBLE)


def holds_encoded_text(text: str) -> Iterator[tuple[int, int]]:
    """Yield where a text that was itself decoded holds text that is encoded."""
    for match in _BASED.finditer(text):
        if _unbased(match.group()):
            yield match.span()


def is_flag(given: str, start: int, end: int) -> bool:
    """Return whether invisible characters name the region of a flag, which is what they are for."""
    return bool(start and _FLAG.fullmatch(given[start - 1 : end + 1]))


def _reading(pieces: list[Piece], disguise: Disguise) -> Iterator[Reading]:
    if pieces:
        yield Decoded(pieces, disguise)


def _unescaped(text: str, seen: Reading) -> list[Piece]:
    pieces: list[Piece] = []
    at = 0
    for match in _ESCAPE.finditer(text):
        start, end = match.span()
        pieces += _literal(text, seen, at, start)
        pieces.append(Piece(_unescape(match.group()), *seen.origin(start, end)))
        at = end
    if pieces:
        pieces += _literal(text, seen, at, len(text))
    return pieces


def _literal(text: str, seen: Reading, start: int, end: int) -> Iterator[Piece]:
    if start == end:
        return
    first, last = seen.origin(start, end)
    if last - first == end - start:
        yield Piece(text[start:end], first, last, literal=True)
        return
    for at in range(start, end):
        yield Piece(text[at], *seen.origin(at, at + 1))


def _unescape(escape: str) -> str:
    if escape.startswith("%"):
        return bytes.fromhex(escape.replace("%", "")).decode("utf-8", "replace")
    if escape.startswith("\\x"):
        return bytes.fromhex(escape.replace("\\x", "")).decode("utf-8", "replace")
    if escape.startswith("\\u"):
        return _character(int(escape[2:].strip("{}"), 16))
    if escape.startswith("\\"):
        return " "
    return html.unescape(escape if escape.endswith(";") else f"{escape};")


def _character(code: int) -> str:
    is_one = code < 0xD800 or 0xDFFF < code <= 0x10FFFF  # noqa: PLR2004 - the surrogates and the end of Unicode
    return chr(code) if is_one else " "


def _unbased(digits: str) -> str:
    plain = digits.translate(_URL_SAFE).rstrip("=")
    if len(plain) % 4 == 1:
        plain = plain[:-1]
    try:
        return _printed(binascii.a2b_base64(plain + "=" * (-len(plain) % 4)))
    except binascii.Error:
        return ""


def _unhexed(digits: str) -> str:
    plain = _HEX_DIGITS.sub("", digits)
    return _printed(bytes.fromhex(plain[: len(plain) // 2 * 2]))


def _spelled(given: str) -> Iterator[Piece]:
    for start, end in (match.span() for match in _SPELLED.finditer(given)):
        codes = [ord(character) for character in given[start:end]]
        if codes[0] >= _FIRST_SUPPLEMENT or codes[0] < _FIRST_TAG:
            values = [code - _FIRST_SUPPLEMENT + 16 if code >= _FIRST_SUPPLEMENT else code & 15 for code in codes]
            found = _printed(bytes(values))
        else:
            found = "".join(chr(code - _FIRST_TAG) for code in codes)
        if found:
            yield from (Piece(found, start, end), Piece(_GAP, start, end))


def _printed(data: bytes) -> str:
    """Return the text in ``data``: all of it if it is text, else what can be printed of it."""
    if data[1::2].count(0) * 4 > len(data):
        return _decoded(data[: len(data) // 2 * 2], "utf-16-le")
    return _decoded(data, "utf-8") or _GAP.join(_PRINTED.findall(data.decode("latin-1")))


def _decoded(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return ""
    return text if len(text.translate(_UNPRINTED)) == len(text) else ""


_UNDONE = (_unbased, _unhexed)
