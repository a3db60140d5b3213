"""The only place where text becomes markup. Everything else is escaped by the template engine.

What others wrote (prompts, names, tool results) is shown as text: characters that steer or hide are drawn as chips,
long values are folded with their size and digest, and nothing in them is ever a link, an image or an instruction.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from aisecops_server.domain.display.visible_text import pieces
from aisecops_server.domain.formats.canonical import digest

FOLDED_CHARACTERS = 4096
# Where a heading or a row of a list has to leave room for others.
BRIEF_CHARACTERS = 240
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_FIRST_RIGHT_TO_LEFT = "\u0590"


def shown(text: object) -> Markup:
    """Return foreign text for a page; beyond ``FOLDED_CHARACTERS`` it says how much is left out, and its digest."""
    return _folded(str(text), FOLDED_CHARACTERS)


def brief(text: object) -> Markup:
    """Return foreign text for a heading or a row, folded beyond ``BRIEF_CHARACTERS``."""
    return _folded(str(text), BRIEF_CHARACTERS)


def _folded(whole: str, most: int) -> Markup:
    part = _apart(whole[:most])
    if len(whole) <= most:
        return part
    left = len(whole) - most
    folded = f"… {left:,} more characters, SHA-256 {digest(whole.encode('utf-8', 'surrogatepass'))[:16]}…"
    return part + Markup('<span class="fold">{}</span>').format(folded)


def hidden_count(text: object) -> int:
    """Return how many steering or hiding characters ``text`` has."""
    return sum(1 for _, code in pieces(str(text)) if code)


def marked(text: str, ranges: Iterable[tuple[int, int, str]]) -> Markup:
    """Return foreign text with (begin, end, label) ranges marked; they do not overlap and stand in order."""
    done = Markup("")
    at = 0
    for begin, end, label in ranges:
        done += _apart(text[at:begin])
        done += Markup('<mark class="g-{}">{}</mark>').format(label, _apart(text[begin:end]))
        at = end
    return done + shown(text[at:])


def json_lines(document: object) -> Markup:
    """Return a JSON document for reading, indented, every hidden character as its escape."""
    text = json.dumps(document, indent=2, ensure_ascii=False, sort_keys=False)
    return _chipped(text)


def drawing(parts: Sequence[str]) -> Markup:
    """Return a drawing that this package made itself, whose texts were escaped as they were put in."""
    return Markup("".join(parts))  # noqa: S704 - made of numbers, own words and escaped texts only


def xml_text(text: object) -> str:
    """Return foreign text for a drawing: escaped, on one line, with hidden characters as their code points."""
    if isinstance(text, str) and text.isascii() and text.isprintable() and len(text) <= FOLDED_CHARACTERS:
        return str(escape(" ".join(text.split())))
    line = "".join(plain or f"[{code}]" for plain, code in pieces(str(text)[:FOLDED_CHARACTERS]))
    return str(escape(" ".join(line.split())))


def _apart(text: str) -> Markup:
    """Return foreign text for a page; what runs from right to left keeps the words and numbers beside it in place."""
    made = _chipped(text)
    reorders = not text.isascii() and any(
        character >= _FIRST_RIGHT_TO_LEFT and unicodedata.bidirectional(character) in _RIGHT_TO_LEFT
        for character in text
    )
    return Markup("<bdi>{}</bdi>").format(made) if reorders else made


def _chipped(text: str) -> Markup:
    if text.isascii() and text.isprintable():
        return escape(text)
    chip = Markup('<span class="chip" title="hidden character">{}</span>')
    return Markup("").join(chip.format(code) if code else escape(plain) for plain, code in pieces(text))
