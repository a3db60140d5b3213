"""The figures of governance on a screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from aisecops_server.terminal.decisions import FAINT


def figure_table(figures: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Return each figure with its number, its change, what it means, and its parts."""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for one in figures:
        table.add_row(Text(one["number"], style="bold"), Text(one["name"], style="bold"))
        if "week" in one:
            table.add_row("", Text(f"{one['week']} in the latest 7 days, {one['weekBefore']} in the 7 before"))
        table.add_row("", Text(one["means"], style=FAINT))
        for name, count in one["parts"].items():
            table.add_row(Text(f"{count:,}"), Text(name))
    return table
