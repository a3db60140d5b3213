"""All rows of a list on one strip: where something was not allowed, by severity, and which rows are on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from aisecops_server.domain.display.words import ALLOWED, BLOCKED, DRY_RUN, ERROR, ESCALATED, Sign
from aisecops_server.entrypoints.web.markup import drawing
from aisecops_server.entrypoints.web.rendering import tone
from aisecops_server.entrypoints.web.strips import StepRow

WIDTH = 1000
_LANE = 9
_LANES: Sequence[tuple[Sign, ...]] = ((BLOCKED, ERROR), (ESCALATED,), (DRY_RUN,), (ALLOWED,))


def minimap(rows: Sequence[StepRow], *, first: int, count: int) -> Markup:
    """Return the strip as a drawing: one lane a severity, one path a lane, and a window over the rows shown."""
    total = max(1, len(rows))
    cell = max(1, WIDTH // total)
    height = _LANE * len(_LANES)
    box = f'viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none"'
    parts = [f'<svg class="minimap" {box} role="img" aria-label="{_said(rows)}">']
    for lane, signs in enumerate(_LANES):
        places = sorted({place * WIDTH // total for place, row in enumerate(rows) if row.sign in signs})
        top = lane * _LANE + 1
        path = "".join(f"M{x} {top}h{cell}v{_LANE - 2}h-{cell}z" for x in places)
        if path:
            parts.append(f'<path class="{tone(signs[0])}" d="{path}"/>')
    left, wide = first * WIDTH // total, max(2, min(count, total) * WIDTH // total)
    parts.append(f'<rect id="lens" class="lens" x="{left}" y="0" width="{wide}" height="{height}"/></svg>')
    return drawing(parts)


def _said(rows: Sequence[StepRow]) -> str:
    counts = {sign.word: sum(1 for row in rows if row.sign == sign) for signs in _LANES for sign in signs}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)
