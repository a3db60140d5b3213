"""Everything that the detectors see in one text.

The text is read in several ways: as it shows, word by word, squeezed, and as what is encoded in it. Each reading is
searched, and whatever is found is told in characters of the text as it was given.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice, takewhile

from aisecops_server.domain.screening.credentials import CredentialScan
from aisecops_server.domain.screening.detection import PRIVATE_KINDS, Detection, Disguise
from aisecops_server.domain.screening.encodings import decoded, holds_encoded_text
from aisecops_server.domain.screening.hidden_characters import hidden_characters
from aisecops_server.domain.screening.letters import SQUEEZED, VISIBLE, WORDS, is_invisible
from aisecops_server.domain.screening.personal_data import PersonalDataScan
from aisecops_server.domain.screening.phrases import MARKUP, SPOKEN, PhraseScan
from aisecops_server.domain.screening.quotation import Surroundings
from aisecops_server.domain.screening.reading import Backwards, Given, Reading, Rotated, Spelled, in_codes
from aisecops_server.domain.screening.redaction import Redaction, combined, mask, redacted
from aisecops_server.domain.screening.themes import THEMES, ThemeScan, is_disguised

# More than this cannot be told; the inspection says so, and policy must not take the rest for harmless.
MOST_DETECTIONS = 1_000
EXCERPT_CHARACTERS = 80
# The same place is often seen more than once, in several readings.
_MOST_RAW = 4 * MOST_DETECTIONS

_SPOKEN, _MARKUP = PhraseScan(SPOKEN), PhraseScan(MARKUP)
_THEMES = ThemeScan(THEMES)
_CREDENTIALS, _PERSONAL = CredentialScan(), PersonalDataScan()
_DECODED = (Disguise.BASE64, Disguise.HEX, Disguise.INVISIBLE)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was seen in a text, by place. ``complete``: there was not more than could be told."""

    detections: tuple[Detection, ...]
    complete: bool


def inspect(text: str) -> Inspection:
    """Return what the detectors see in ``text``. The time is linear in its length."""
    found = list(islice(_all(text), _MOST_RAW + 1))
    joined = _joined(found)
    told = joined[:MOST_DETECTIONS]
    if len(found) > _MOST_RAW or len(told) < len(joined):
        # Something private may be among what is not told, so nothing is quoted.
        return Inspection(tuple(replace(one, excerpt="") for one in told), complete=False)
    return Inspection(_described(text, told), complete=True)


def _all(text: str) -> Iterator[Detection]:
    shown = _shown(Given(text, in_codes(text)))
    yield from (Detection(start, end, detector) for detector, start, end in hidden_characters(text))
    yield from _in_reading(text, shown)
    for hidden in decoded(shown, text):
        reading = _shown(hidden)
        yield from _in_reading(text, reading)
        if reading.disguise in _DECODED:
            for place in holds_encoded_text(reading.text):
                yield Detection(*reading.origin(*place), "hidden.nested_encoding", reading.disguise)


def _shown(reading: Reading) -> Reading:
    return reading if reading.text.isascii() else Spelled(reading, VISIBLE)


def _in_reading(text: str, reading: Reading) -> Iterator[Detection]:
    words = Spelled(reading, WORDS)
    turned = (Backwards(words), Rotated(words)) if reading.disguise is Disguise.NONE else ()
    for way in (words, *turned):
        for detector, start, end in _SPOKEN.find(way.text):
            yield _seen(text, way, detector, (start, end))
    for scan in (_MARKUP, _CREDENTIALS, _PERSONAL):
        for detector, start, end in scan.find(reading.text):
            yield _seen(text, reading, detector, (start, end))
    yield from _in_squeezed(Spelled(reading, SQUEEZED))


def _in_squeezed(squeezed: Spelled) -> Iterator[Detection]:
    for found in _THEMES.find(squeezed.text):
        disguise = squeezed.disguise
        if found.theme.disguised_only:
            if not is_disguised(found, squeezed):
                continue
            disguise = disguise or Disguise.LETTERS
        yield Detection(*squeezed.origin(*found.span), found.theme.detector, disguise)


def _seen(text: str, reading: Reading, detector: str, span: tuple[int, int]) -> Detection:
    start, end = reading.origin(*span)
    excerpt = reading.text[slice(*span)] if reading.disguise in _DECODED else ""
    disguise = reading.disguise or (Disguise.LETTERS if _imitates(text[start:end]) else Disguise.NONE)
    return Detection(start, end, detector, disguise, excerpt=excerpt[:EXCERPT_CHARACTERS])


def _imitates(place: str) -> bool:
    """Return whether letters of other scripts, or invisible ones, stand where plain ones were read."""
    return not place.isascii() and any(
        character.isalnum() or is_invisible(character) for character in place if not character.isascii()
    )


def _joined(found: list[Detection]) -> list[Detection]:
    """Join what the same detector saw in overlapping places; if it was seen without a disguise, it had none."""
    joined: dict[str, list[Detection]] = {}
    for detection in sorted(found, key=lambda one: (one.start, -one.end, one.disguise)):
        own = joined.setdefault(detection.detector, [])
        if own and detection.start < own[-1].end:
            disguise = own[-1].disguise if detection.disguise else Disguise.NONE
            own[-1] = replace(own[-1], end=max(own[-1].end, detection.end), disguise=disguise)
        else:
            own.append(detection)
    return sorted(detection for own in joined.values() for detection in own)


def _described(text: str, detections: list[Detection]) -> tuple[Detection, ...]:
    """Add what stands around and at each place, without anything private."""
    private = combined(
        Redaction(one.start, one.end, mask(one.detector)) for one in detections if one.kind in PRIVATE_KINDS
    )
    surroundings = Surroundings(text)
    return tuple(
        replace(one, excerpt="") if one.kind in PRIVATE_KINDS else _with_context(text, one, surroundings, private)
        for one in detections
    )


def _with_context(text: str, detection: Detection, surroundings: Surroundings, private: list[Redaction]) -> Detection:
    start, end = detection.start, detection.end
    within = _overlapping(private, start, end)
    if detection.excerpt:
        excerpt = "" if within else detection.excerpt
    else:
        moved = [Redaction(max(0, one.start - start), min(end, one.end) - start, one.replacement) for one in within]
        excerpt = redacted(text[start:end], moved)
    return replace(
        detection,
        quoted=surroundings.quote(start, end),
        discussed=surroundings.discuss(start, end),
        excerpt=excerpt[:EXCERPT_CHARACTERS],
    )


def _overlapping(private: list[Redaction], start: int, end: int) -> list[Redaction]:
    first = bisect_right(private, start, key=lambda one: one.end)
    return list(takewhile(lambda one: one.start < end, private[first:]))
