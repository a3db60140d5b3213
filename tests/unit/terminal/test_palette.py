from __future__ import annotations

import pytest
from aisecops_server.domain.display.words import ALLOWED, BLOCKED, DRY_RUN, ERROR, ESCALATED, NOT_REACHED, Sign

SIGNS = [ALLOWED, BLOCKED, ESCALATED, DRY_RUN, ERROR, NOT_REACHED]
WHITE, NEARLY_BLACK = "#ffffff", "#15181c"
# WCAG 2.2, contrast of text, level AA.
AA = 4.5


def luminance(color: str) -> float:
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: sign.word)
def test_every_colour_can_be_read_on_light_and_on_dark(sign: Sign) -> None:
    assert contrast(sign.light, WHITE) >= AA
    assert contrast(sign.dark, NEARLY_BLACK) >= AA


def test_no_meaning_hangs_on_colour_alone() -> None:
    assert len({sign.word for sign in SIGNS}) == len(SIGNS)
    assert len({sign.glyph for sign in SIGNS}) == len(SIGNS)
    assert len({sign.plain for sign in SIGNS}) == len(SIGNS)
    assert all(sign.plain.isascii() for sign in SIGNS)
