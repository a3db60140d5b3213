"""Whether words are said or talked about: quotation marks, quotations, code, and the words around them.

This never makes a detection go away. It tells policy that a person may have to look.
"""

# ruff: noqa: RUF001 - letters that look like others are what this is about
from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import re2

_REACH = 400
_BEFORE, _AFTER, _NEGATION = 160, 60, 16
_PAIRS = {
    "“": "”",
    "„": "“”",
    "«": "»",
    "»": "«",
    "‹": "›",
    "「": "」",
    "『": "』",
    "《": "》",
    "‘": "’",
    "‚": "‘’",
}
_FENCE = "```"
_TALK = re2.compile(
    r"(?i)\b(?:explain(?:s|ed|ing)?|what (?:does|do|is|are|would)|mean(?:s|ing)?\b|phrases?|sentences?|wording"
    r"|strings? like|quot(?:e|es|ed|ing|ation)|(?:for )?examples?|e\.g\.|such as|so-called|known as|called"
    r"|lectur(?:e|es|er)|course|classroom|students?|homework|paper|article|blog|tutorial|study|research(?:er|ers)?"
    r"|prompt[ -]injections?|jailbreak(?:s|ing)?|attack(?:s|er|ers)?|adversar(?:y|ial)|red[ -]team(?:s|ing)?|owasp"
    r"|detect(?:s|ed|ion|or|ors|ing)?|classif(?:y|ier|iers)|filters?|regex|guardrails?|vulnerabilit(?:y|ies)"
    r"|block(?:s|ed|ing)? (?:prompts|messages|texts?|inputs?)|test cases?|unit tests?|payloads?"
    r"|translate (?:the|this) (?:phrase|sentence|following)|erkläre?n?|bedeutet|beispiel(?:e|sweise)?|vorlesung"
    r"|angriffe?|satz|expli(?:que[rz]?|ca|car)|exemple|ejemplo|significa|frase|phrase|esempio|пример|означает"
    r"|объясни|例如|解释|意思|意味|説明|例えば|예를)"
)
# "Do not forget the earlier instructions" says the contrary of what a pattern for its end is after.
_NEGATED = re2.compile(
    r"(?i)(?:\b(?:not|never|cannot|nor|jamais|nunca|non|nie)|не|n['’]t|n['’ ])\s{0,3}(?:ever |simply |just )?$"
)
_CONTRARY = re2.compile(
    r"(?i)\b(?:vergiss|vergesst|vergessen sie|ignoriere|negeer|vergeet|glem|glöm) (?:nicht|niet|ikke|inte)\b"
    r"|oubli(?:e|ez|er) (?:pas|jamais)|\bno (?:se |te )?(?:olvid|ignor)|não (?:esqueça|ignor)|unutma\b|yoksayma\b"
    r"|\bnie zapom|\bnezapom|не (?:забу|забы|игнор|ігнор)"
    r"|(?:不要|别|別|勿)(?:忘|忽)|忘れ(?:ない|ず)|無視しない|잊지|무시하지"
    r"|لا ت(?:نس|تجاهل)|\bjangan (?:lupa|abai)|đừng (?:quên|bỏ)"
)


class Surroundings:
    """A text, asked for what stands around a place of it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._fences = list(_places(text, _FENCE))

    def quote(self, start: int, end: int) -> bool:
        """Return whether ``[start, end)`` stands in quotation marks, in a quoted line, or in code."""
        before, after = self._text[max(0, start - _REACH) : start], self._text[end : end + _REACH]
        return self._fenced(start) or _in_marks(before, after) or _in_quoted_line(before)

    def discuss(self, start: int, end: int) -> bool:
        """Return whether the words around ``[start, end)`` talk about it, or say the contrary."""
        before, after = self._text[max(0, start - _BEFORE) : start], self._text[end : end + _AFTER]
        talk = _TALK.search(before) or _TALK.search(after)
        return bool(
            talk
            or _NEGATED.search(before[-_NEGATION:])
            or _CONTRARY.search(before[-_NEGATION:] + self._text[start:end])
        )

    def _fenced(self, start: int) -> bool:
        before = bisect_right(self._fences, start)
        return before % 2 == 1 and before < len(self._fences)


def _places(text: str, part: str) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + len(part))


def _in_marks(before: str, after: str) -> bool:
    paragraph, rest = before.rpartition("\n\n")[2], after.partition("\n\n")[0]
    if any(paragraph.count(mark) % 2 and mark in rest for mark in ('"', "`")):
        return True
    if any(_is_open(paragraph, mark) and any(closing in rest for closing in _PAIRS[mark]) for mark in _PAIRS):
        return True
    return _opens_single(paragraph) and _closes_single(rest)


def _is_open(paragraph: str, mark: str) -> bool:
    opened = paragraph.rfind(mark)
    return opened >= 0 and not any(closing in paragraph[opened + 1 :] for closing in _PAIRS[mark])


def _opens_single(paragraph: str) -> bool:
    """Return whether a single mark was opened and not closed; one between letters is an apostrophe."""
    opened = closed = -1
    for at in _places(paragraph, "'"):
        word_before, word_after = paragraph[max(0, at - 1) : at].isalnum(), paragraph[at + 1 : at + 2].isalnum()
        if not word_before and (word_after or at + 1 == len(paragraph)):
            opened = at
        elif word_before and not word_after:
            closed = at
    return opened > closed


def _closes_single(rest: str) -> bool:
    return any(not rest[at + 1 : at + 2].isalnum() for at in _places(rest, "'"))


def _in_quoted_line(before: str) -> bool:
    return before.rpartition("\n")[2].lstrip().startswith(">")
