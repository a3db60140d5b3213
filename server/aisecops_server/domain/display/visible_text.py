"""Text that others wrote, made safe to show: what would steer a terminal or hide from the eye becomes visible.

A tool result, a plan or a ticket can hold escape sequences that move the cursor, and characters that reorder or
hide text. Nothing of that kind reaches a terminal or a person who is asked for consent; each such character is
written as its escape instead.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from itertools import chain

_KEPT = {0x09, 0x0A}
_STEERING = chain(range(0x20), range(0x7F, 0xA0))
_HIDING = chain(
    (0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFEFF, 0xFFA0),
    range(0x180B, 0x1810),
    range(0x200B, 0x2010),
    range(0x2028, 0x202F),
    range(0x2060, 0x2070),
    range(0xFE00, 0xFE10),
    range(0xFFF0, 0xFFFC),
    range(0x1BCA0, 0x1BCA4),
    range(0x1D173, 0x1D17B),
    range(0xE0000, 0xE1000),
)
_CODES = sorted({*_STEERING, *_HIDING} - _KEPT)


def _escape(code: int) -> str:
    if code <= 0xFF:  # noqa: PLR2004 - two digits hold it
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - four digits hold it


_HIDDEN = frozenset(_CODES)
# No script stacks more marks on a letter; beyond that they are painted over the lines around it.
_MOST_MARKS = 4
_FIRST_MARK = 0x300
_VISIBLE = {code: _escape(code) for code in _CODES}
# JSON has its own escape for each of them; in a document they can only stand inside strings.
_IN_JSON = {code: json.dumps(chr(code))[1:-1] for code in _CODES if code > 0x1F}  # noqa: PLR2004 - written already


def visible(text: str) -> str:
    """Return ``text`` with every steering or hiding character as its escape; line ends and tabs stay."""
    return text if text.isascii() and text.isprintable() else text.translate(_VISIBLE)


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """Yield ``text`` in pieces: (plain text, "") and, for every steering or hiding character, ("", its code point).

    So is every mark that stands on a letter which carries enough of them already.
    """
    begun = marks = 0
    for at, character in enumerate(text):
        code = ord(character)
        marks = marks + 1 if code >= _FIRST_MARK and unicodedata.category(character) in ("Mn", "Me") else 0
        if code in _HIDDEN or marks > _MOST_MARKS:
            if at > begun:
                yield text[begun:at], ""
            yield "", f"U+{code:04X}"
            begun = at + 1
    if begun < len(text):
        yield text[begun:], ""


def json_text(document: object, *, indent: int | None = None) -> str:
    """Return a document as JSON that is safe to show on a terminal and says the same."""
    return visible_json(json.dumps(document, indent=indent, ensure_ascii=False))


def visible_json(text: str) -> str:
    """Return JSON that says the same with every steering or hiding character as JSON's own escape."""
    return text if text.isascii() and "\x7f" not in text else text.translate(_IN_JSON)
