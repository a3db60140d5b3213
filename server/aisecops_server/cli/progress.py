"""How far something is, on a terminal: a bar on standard error, gone when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aisecops_server.cli.output import talk_console


@contextmanager
def progress(doing: str, unit: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show how far something is on a terminal, with the time that is left when the end is known."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn  # noqa: PLC0415

    talk = talk_console()
    columns = (
        TextColumn(doing),
        BarColumn(),
        TextColumn(f"{{task.completed:,.0f}} {unit}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def waiting(doing: str) -> Iterator[None]:
    """Show on a terminal that something is being done, of which nobody can say how far it is."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    talk = talk_console()
    columns = (TextColumn(doing), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal) as bar:
        bar.add_task(doing, total=None)
        yield
