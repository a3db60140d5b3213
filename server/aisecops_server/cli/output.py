"""Data on standard output, talk on standard error.

Owns the three forms of data: a drawing for people, one JSON document, or one JSON document a line. The JSON is
the API's own message in proto3 JSON; a list is the API's list message, also when it is empty.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.invocation import Invocation, current
from aisecops_server.domain.display.visible_text import json_text, visible

if TYPE_CHECKING:
    from rich.console import Console


def show(document: Mapping[str, Any], draw: Callable[[Console], None]) -> None:
    """Print one document, or draw it."""
    invocation = current()
    match invocation.output:
        case "json":
            click.echo(json_text(document, indent=2))
        case "ndjson":
            click.echo(json_text(document))
        case _:
            draw(console())


def show_list(document: Mapping[str, Any], *, items: str, draw: Callable[[Console], None], empty: str) -> None:
    """Print a list message whose elements are under ``items``; ``empty`` says why there may be none."""
    invocation = current()
    rows = list(document.get(items, []))
    if invocation.output == "ndjson":
        show_lines(rows)
    elif invocation.output == "json":
        click.echo(json_text(document, indent=2))
    elif rows:
        draw(console())
    else:
        say(empty)


def show_lines(documents: Iterable[Mapping[str, Any]]) -> None:
    """Print one JSON document a line, each as soon as it is there."""
    for document in documents:
        click.echo(json_text(document))


def say(text: str) -> None:
    """Tell a person something that is not data."""
    if not current().quiet:
        click.echo(visible(text), err=True)


def console() -> Console:
    """Return the console for data."""
    from aisecops_server.terminal.consoles import make_console  # noqa: PLC0415

    return make_console(color=current().color)


def talk_console() -> Console:
    """Return the console for talk, such as progress; it is silent under ``--quiet``."""
    from aisecops_server.terminal.consoles import make_console  # noqa: PLC0415

    made = make_console(sys.stderr, color=current().color)
    made.quiet = current().quiet
    return made


def when(timestamp: str, invocation: Invocation | None = None) -> str:
    """Return an RFC 3339 timestamp as people read it, in the zone that was asked for."""
    if not timestamp:
        return "never"
    # Python reads at most microseconds.
    head, _, fraction = timestamp.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(f"{head}.{(fraction or '0')[:6]:0<6}").replace(tzinfo=UTC)
    if (invocation or current()).time == "local":
        return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")
