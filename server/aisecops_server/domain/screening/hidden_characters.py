"""Characters that people do not see, that reorder what they see, or that pass for others."""

# ruff: noqa: RUF001 - letters that look like others are what this is about
from __future__ import annotations

from collections.abc import Iterator

from aisecops_server.domain.screening.encodings import SPELLING, is_flag
from aisecops_server.domain.screening.pattern_union import PatternUnion

_CONTROL = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F\x{80}-\x{9F}]+"

# Cyrillic and Greek letters that look Latin, between Latin ones or before several of them.
_IMITATION = "аеорсухіјѕһԁԛԝАВЕКМНОРСТХІЈЅοΟΑΒΕΖΗΙΚΜΝΡΤΥΧν"
_MIXED = f"[A-Za-z{_IMITATION}]*"
# Joiners only beside ASCII, because scripts and emoji need them elsewhere.
_FORMS = (
    (
        "hidden.zero_width",
        (
            r"[\x{200B}\x{2060}-\x{2064}\x{FEFF}\x{180E}\x{00AD}\x{034F}\x{115F}\x{1160}\x{3164}\x{FFA0}]+"
            r"|[!-~][\x{200C}\x{200D}]+|[\x{200C}\x{200D}]+[!-~]"
        ),
    ),
    ("hidden.bidi", r"[\x{061C}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2066}-\x{2069}]+"),
    ("hidden.tags", SPELLING),
    ("hidden.homoglyph", rf"[A-Za-z]+[{_IMITATION}]+[A-Za-z]{_MIXED}|\b[{_IMITATION}]+[A-Za-z]{{2}}{_MIXED}"),
    ("hidden.control", _CONTROL),
)
_UNION = PatternUnion([pattern for _, pattern in _FORMS])
_PLAIN_UNION = PatternUnion([_CONTROL])
_JOINERS = {"\u200c", "\u200d"}
_SHORTEST_PAIR = 2
_BYTE_ORDER_MARK = "\ufeff"


def hidden_characters(given: str) -> Iterator[tuple[str, int, int]]:
    """Yield (detector, start, end) of every run of hidden characters."""
    if given.isascii():
        yield from (("hidden.control", start, end) for _, start, end in _PLAIN_UNION.find(given))
        return
    for number, *match in _UNION.find(given):
        detector = _FORMS[number][0]
        start, end = _run(given, *match)
        if not _is_meant(given, detector, start, end):
            yield detector, start, end


def _run(given: str, start: int, end: int) -> tuple[int, int]:
    """Leave out the visible neighbour that a joiner was found by."""
    if end - start < _SHORTEST_PAIR or not {given[start], given[end - 1]} & _JOINERS:
        return start, end
    if given[start].isascii():
        return start + 1, end
    return start, end - 1 if given[end - 1].isascii() else end


def _is_meant(given: str, detector: str, start: int, end: int) -> bool:
    """Return whether characters are there for what they are for: a byte order mark, or the region of a flag."""
    if detector == "hidden.zero_width":
        return start == 0 and given[start:end] == _BYTE_ORDER_MARK
    return detector == "hidden.tags" and is_flag(given, start, end)
