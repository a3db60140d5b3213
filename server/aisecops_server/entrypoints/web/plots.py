"""Plots of figures, bars by the day; the numbers of each stand beside it as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from markupsafe import Markup

from aisecops_server.domain.display.words import OUTCOME_ORDER, Sign, outcome_sign
from aisecops_server.entrypoints.web.markup import drawing, xml_text
from aisecops_server.entrypoints.web.metrics import Figure
from aisecops_server.entrypoints.web.rendering import tone

DAYS = 14
_HEIGHT, _BAR, _GAP = 80, 24, 4
_LOW, _LABEL = 40, 12


def chart(days: Mapping[int, Mapping[str, int]]) -> Markup:
    """Return traces a day as stacked bars, the latest day last."""
    stacked = {
        day: [(outcome_sign(outcome), counts.get(outcome, 0)) for outcome in reversed(OUTCOME_ORDER)]
        for day, counts in days.items()
    }
    return _drawn(stacked, "Traces a day", last=max(days, default=0), height=_HEIGHT)


def plot(figure: Figure, last: int) -> tuple[Markup, Sequence[tuple[str, int]]]:
    """Return a figure's plot up to day ``last``, and the numbers of it; without days, what is plotted are its parts."""
    if figure.days is None:
        return drawing(()), ()
    shown = [(day, figure.days.get(day, 0)) for day in range(last - DAYS + 1, last + 1)]
    stacked = {day: [(figure.sign, count)] for day, count in shown}
    return _drawn(stacked, f"{figure.name} a day", last=last, height=_LOW), [(_date(day), n) for day, n in shown if n]


def _drawn(days: Mapping[int, Sequence[tuple[Sign, int]]], name: str, *, last: int, height: int) -> Markup:
    most = max([1, *(sum(count for _, count in stack) for stack in days.values())])
    width = DAYS * (_BAR + _GAP)
    box = f'viewBox="0 0 {width} {height + _LABEL + _GAP}" width="{width}"'
    parts = [f'<svg class="chart" {box} role="img" aria-label="{xml_text(name)}">']
    for at, day in enumerate(range(last - DAYS + 1, last + 1)):
        x, date = at * (_BAR + _GAP), _date(day)
        parts += _bars(x, date, days.get(day, ()), height=height, most=most)
        parts.append(f'<text x="{x}" y="{height + _LABEL}">{date if at % 3 == 1 else ""}</text>')
    return drawing([*parts, "</svg>"])


def _bars(x: int, date: str, stack: Sequence[tuple[Sign, int]], *, height: int, most: int) -> Iterator[str]:
    top = float(height)
    for sign, count in stack:
        if count:
            tall = count * height / most
            top -= tall
            yield f'<rect class="{tone(sign)}" x="{x}" y="{top:.1f}" width="{_BAR}" height="{tall:.1f}">'
            yield f"<title>{date}: {count}{_word(sign, stack)}</title></rect>"


def _word(sign: Sign, stack: Sequence[object]) -> str:
    return f" {sign.word}" if len(stack) > 1 else ""


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, tz=UTC).strftime("%m-%d")
