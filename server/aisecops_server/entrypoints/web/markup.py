"""The only place where text becomes markup. Everything else is escaped by the template engine.

What others wrote (prompts, names, tool results) is shown as text: characters that steer or hide are drawn as chips,
long values are folded with their size and digest, and nothing in them is ever a link, an image or an instruction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from aisecops_server.domain.canonical import digest
from aisecops_server.domain.visible_text import pieces

FOLDED_CHARACTERS = 4096


def shown(text: object) -> Markup:
    """Return foreign text for a page; beyond ``FOLDED_CHARACTERS`` it says how much is left out, and its digest."""
    whole = str(text)
    part = _chipped(whole[:FOLDED_CHARACTERS])
    if len(whole) <= FOLDED_CHARACTERS:
        return part
    left = len(whole) - FOLDED_CHARACTERS
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
        done += _chipped(text[at:begin])
        done += Markup('<mark class="g-{}">{}</mark>').format(label, _chipped(text[begin:end]))
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


def _chipped(text: str) -> Markup:
    if text.isascii() and text.isprintable():
        return escape(text)
    chip = Markup('<span class="chip" title="hidden character">{}</span>')
    return Markup("").join(chip.format(code) if code else escape(plain) for plain, code in pieces(text))
