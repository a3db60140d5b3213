"""Personal data of forms that can be checked: a number counts only if its checksum or range says that it may exist.

A pattern only says where to look. A number may have others beside it, so what stands there is tried from every
beginning of a group of digits to every end of one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator

import re2

from aisecops_server.domain.grounding.normal_form import continues_word
from aisecops_server.domain.screening.pattern_union import PatternUnion

# Lengths by country, from the IBAN registry.
_IBAN_LENGTHS = {
    country: length
    for length, countries in (
        (15, "NO"),
        (16, "BE BI"),
        (18, "DK FI FK FO GL NL SD"),
        (19, "MK SI"),
        (20, "AT BA EE KZ LT LU MN XK"),
        (21, "CH HR LI LV"),
        (22, "BG BH CR DE GB GE IE ME RS VA"),
        (23, "AE IL IQ OM SO TL"),
        (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
        (25, "LY PT ST"),
        (26, "IS TR"),
        (27, "DJ FR GR IT MC MR SM"),
        (28, "AL AZ BY CY DO GT HU LB NI PL SV"),
        (29, "BR EG PS QA UA"),
        (30, "JO KW MU YE"),
        (31, "MT SC"),
        (32, "LC"),
        (33, "RU"),
    )
    for country in countries.split()
}
# What the numbers of card networks begin with (first and last six digits of a range), and how many digits they have.
_NETWORKS = (
    (400000, 499999, (13, 16, 19)),
    (510000, 559999, (16,)),
    (222100, 272099, (16,)),
    (340000, 349999, (15,)),
    (370000, 379999, (15,)),
    (300000, 305999, (14, 16)),
    (360000, 369999, (14, 16)),
    (380000, 389999, (14, 16)),
    (601100, 601199, (16, 17, 18, 19)),
    (620000, 629999, (16, 17, 18, 19)),
    (644000, 659999, (16, 17, 18, 19)),
    (352800, 358999, (16,)),
)
_SHORTEST_CARD, _LONGEST_CARD = 13, 19
_PREFIX = 6
_JOINING = ("-", ".", ":")
_DOUBLED = {str(digit): sum(divmod(2 * digit, 10)) for digit in range(10)}
_FEWEST_PHONE_DIGITS, _MOST_PHONE_DIGITS = 8, 15
_FIRST_UNISSUED_AREA, _DEAD_AREA = 900, 666

# Four numbers with dots between are as often a version, or a section of a standard.
_VERSION = re2.compile(r"(?i)(?:\bv|version|release|section|chapter|§|[~=<>!]=)[\s:=\"']{0,3}$")
_VERSION_REACH = 16

Places = Iterator[tuple[int, int]]


def is_iban(plain: str) -> bool:
    """Return whether an IBAN without blanks has its country's length and the right checksum (ISO 13616, mod 97)."""
    if _IBAN_LENGTHS.get(plain[:2]) != len(plain):
        return False
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def is_payment_card(digits: str) -> bool:
    """Return whether digits are the number of a card network and have the right check digit (Luhn)."""
    begin = int(digits[:_PREFIX])
    if not any(first <= begin <= last and len(digits) in lengths for first, last, lengths in _NETWORKS):
        return False
    total = sum(map(int, digits[-1::-2])) + sum(map(_DOUBLED.__getitem__, digits[-2::-2]))
    return len(set(digits)) > 1 and total % 10 == 0


def is_us_ssn(area: int, group: int, serial: int) -> bool:
    """Return whether the parts of a social security number are of those that are issued."""
    return area not in (0, _DEAD_AREA) and area < _FIRST_UNISSUED_AREA and group > 0 and serial > 0


def _email(text: str, start: int, end: int) -> Places:
    if text[end : end + 1] == "_" or not _continues(text, end):
        yield start, end


def _phone(text: str, start: int, end: int) -> Places:
    digits = _digits(text[start:end])
    fits = _FEWEST_PHONE_DIGITS <= len(digits) <= _MOST_PHONE_DIGITS and len(set(digits)) > 1
    if fits and not _is_amid(text, start, end):
        yield start, end


def _iban(text: str, start: int, end: int) -> Places:
    length = _IBAN_LENGTHS.get(text[start : start + 2].upper(), 0)
    places = [at for at in range(start, end) if text[at] != " "][:length]
    if len(places) == length and length and not _is_amid(text, start, places[-1] + 1):
        last = places[-1] + 1
        if is_iban(text[start:last].replace(" ", "").upper()):
            yield start, last


def _card(text: str, start: int, end: int) -> Places:
    places = [at for at in range(start, end) if text[at].isdigit()]
    digits = "".join(text[at] for at in places)
    ends = {index + 1 for index, at in enumerate(places) if not text[at + 1 : at + 2].isdigit()}
    first = 0
    while first <= len(places) - _SHORTEST_CARD:
        at = places[first]
        # A number begins where a group of digits does.
        lasts = () if text[at - 1 : at].isdigit() else range(first + _LONGEST_CARD, first + _SHORTEST_CARD - 1, -1)
        length = next((last - first for last in lasts if last in ends and is_payment_card(digits[first:last])), 0)
        if length and not _is_amid(text, at, places[first + length - 1] + 1):
            yield at, places[first + length - 1] + 1
        first += length or 1


def _ssn(text: str, start: int, end: int) -> Places:
    parts = [int(part) for part in text[start:end].replace(" ", "-").split("-")]
    if is_us_ssn(*parts) and not _is_amid(text, start, end):
        yield start, end


def _address(text: str, start: int, end: int) -> Places:
    try:
        is_public = ipaddress.ip_address(text[start:end]).is_global
    except ValueError:
        return
    named = _VERSION.search(text[max(0, start - _VERSION_REACH) : start])
    if is_public and not named and not _is_amid(text, start, end):
        yield start, end


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _is_amid(text: str, start: int, end: int) -> bool:
    """Return whether a number is only a part of what stands there, such as of a version or a longer number."""
    before, one_more = text[start - 1 : start], text[max(0, start - 2) : max(0, start - 1)]
    goes_on = before in _JOINING and _joins(one_more)
    return _joins(before) or goes_on or _continues(text, end)


def _continues(text: str, end: int) -> bool:
    after, one_more = text[end : end + 1], text[end + 1 : end + 2]
    goes_on = _joins(one_more) if after == ":" else after in _JOINING and one_more.isdigit()
    return _joins(after) or goes_on


def _joins(neighbour: str) -> bool:
    return bool(neighbour) and continues_word(neighbour)


FORMS: tuple[tuple[str, str, Callable[[str, int, int], Places]], ...] = (
    (
        "personal.email",
        r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}",
        _email,
    ),
    ("personal.phone", r"\+[1-9](?:[ ().\-/]{0,2}[0-9]){7,14}", _phone),
    ("personal.iban", r"(?i)[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?", _iban),
    ("personal.payment_card", r"[0-9](?:[ \-.]?[0-9]){12,63}", _card),
    ("personal.us_ssn", r"[0-9]{3}[\- ][0-9]{2}[\- ][0-9]{4}", _ssn),
    ("personal.ip_address", r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", _address),
    ("personal.ip_address", r"(?:[0-9a-fA-F]{1,4}:{1,2}){2,7}[0-9a-fA-F]{1,4}", _address),
)


class PersonalDataScan:
    """All forms in one pass: only where any is found each is looked for."""

    def __init__(self) -> None:
        self._union = PatternUnion([pattern for _, pattern, _ in FORMS])

    def find(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Yield (detector, start, end) of everything that may exist."""
        for number, start, end in self._union.find(text):
            detector, _, places = FORMS[number]
            yield from ((detector, *place) for place in places(text, start, end))
