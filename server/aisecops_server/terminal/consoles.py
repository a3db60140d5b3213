"""Consoles: where rich is set up, with colour only when a terminal and the person want it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.style import Style

from aisecops_server.domain.display.visible_text import visible
from aisecops_server.domain.display.words import Sign

_PIPE_COLUMNS = 100


class SafeConsole(Console):
    """A console that nothing can steer but our own styles: all text passes ``visible`` on its way out."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, with every character of the text visible."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def make_console(stream: IO[str] | None = None, *, color: str = "auto") -> Console:
    """Return a console on ``stream`` (standard output when none).

    ``color`` is ``auto``, ``always`` or ``never``. ``NO_COLOR`` and ``TERM=dumb`` switch colour off unless it
    was asked for. A pipe is given a fixed width, so that text in a log does not depend on who read it first.
    """
    target = stream or sys.stdout
    if isinstance(target, io.TextIOWrapper) and not _is_unicode(target.encoding):
        # Text of agents and tools comes in any script; a terminal that cannot show it must not end the run.
        target.reconfigure(errors="replace")
    terminal = target.isatty()
    plain = color == "never" or (color == "auto" and (not terminal or not _wants_color()))
    return SafeConsole(
        file=target,
        force_terminal=True if color == "always" else terminal,
        no_color=plain,
        color_system=None if plain else "truecolor" if color == "always" else "auto",
        width=None if terminal else _columns(),
        highlight=False,
        emoji=False,
        markup=False,
        soft_wrap=False,
    )


def _wants_color() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _columns() -> int:
    text = os.environ.get("COLUMNS", "")
    return int(text) if text.isdigit() and int(text) > 0 else _PIPE_COLUMNS


def is_light() -> bool:
    """Return whether the terminal says that its background is light; most say nothing and are dark."""
    background = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return background in {"7", "15"}


def style_of(sign: Sign, *, bold: bool = False) -> Style:
    """Return the style of a sign on this terminal's background."""
    return Style(color=sign.light if is_light() else sign.dark, bold=bold)


def speaks_unicode(console: Console) -> bool:
    """Return whether the console can show glyphs beyond ASCII."""
    return _is_unicode(console.encoding)


def _is_unicode(encoding: str | None) -> bool:
    return (encoding or "ascii").lower().replace("-", "").startswith("utf")


def glyph(console: Console, sign: Sign) -> str:
    """Return the glyph of a sign that this console can show."""
    return sign.glyph if speaks_unicode(console) else sign.plain


def indented(body: RenderableType, room: tuple[int, int, int, int] = (0, 0, 0, 2)) -> Padding:
    """Return ``body`` with room around it (top, right, bottom, left), and nothing behind the ends of its lines."""
    return Padding(body, room, expand=False)
