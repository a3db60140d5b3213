"""Places in files, kept readable where a line is too short for them.

A path is broken after a slash, never within a name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions
from rich.style import Style
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Place:
    """``file:line`` after some words; what does not fit goes on under the beginning of the path."""

    path: str
    words: str = ""
    style: Style = field(default_factory=Style)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Yield one line, or as many as the width asks for."""
        room = max(options.max_width - len(self.words), 1)
        for number, piece in enumerate(pieces(self.path, room)):
            yield Text(f"{'' if number else self.words:<{len(self.words)}}{piece}", style=self.style)


def pieces(path: str, room: int) -> Iterator[str]:
    """Yield ``path`` in pieces of at most ``room`` characters where its slashes allow that."""
    while len(path) > room and (end := path.rfind("/", 0, room) + 1):
        yield path[:end]
        path = path[end:]
    yield path
