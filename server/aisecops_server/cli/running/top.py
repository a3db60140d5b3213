"""``aisecops top``: how it goes just now, live on a terminal or once for a program."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command, current
from aisecops_server.cli.output import console, show, show_lines, when

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from aisecops_server.cli.running.top_reading import Looking

_SERVING = "SERVING"
_AWAY = "AWAY"
_WINDOW = 60.0


@command(
    "top",
    examples="""
    aisecops top
    aisecops top --every 5 --window 300
    aisecops top --once -o json | jq .decisions
    aisecops top -o ndjson                      a line at each look, for a program
    """,
)
@click.option("--once", is_flag=True, help="Look once and end; so does a pipe, and -o json.")
@click.option(
    "--every", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, help="Seconds between two looks."
)
@click.option(
    "--window",
    type=click.FloatRange(1, 3600),
    default=_WINDOW,
    show_default=True,
    help="Seconds that figures are over.",
)
@click.option(
    "--metrics", default="", metavar="ADDRESS", help="Its metrics_address. Default: that of the settings here."
)
@click.option("--looks", type=click.IntRange(1), help="End after so many looks.")
def top(*, once: bool, every: float, window: float, metrics: str, looks: int | None) -> ExitCode:
    """Show how it goes just now: decisions, outcomes, queue, log, budgets, approvals, incidents.

    A control plane that goes away is asked again until it is back. With --once, the exit code is 0 when it would
    decide now, 1 when it answers and could not, 8 when nobody answers.
    """
    looking = _looking(window, metrics)
    output = current().output
    if once or output == "json" or (output == "table" and not sys.stdout.isatty() and looks is None):
        found = looking.look()
        show(found, lambda target: target.print(_screen(target, found)))
        return ExitCode.OK if found["state"] == _SERVING else ExitCode.FAILURE
    if output == "ndjson":
        show_lines(_looks(looking, every, looks))
    else:
        _live(looking, every, looks)
    return ExitCode.OK


def _looking(window: float, metrics: str) -> Looking:
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415
    from aisecops_server.cli.configuration import settings  # noqa: PLC0415
    from aisecops_server.cli.running.top_reading import Looking  # noqa: PLC0415
    from aisecops_server.domain.figures.live_figures import LiveWindow  # noqa: PLC0415

    # Metrics of this machine tell nothing of a control plane elsewhere.
    address = metrics or ("" if current().server else settings().metrics_address)
    return Looking(SystemClock(), LiveWindow(window), address)


def _looks(looking: Looking, every: float, looks: int | None) -> Iterator[dict[str, Any]]:
    """Yield what each look finds; where nobody answers, that."""
    from aisecops_client.errors import AisecopsClientError  # noqa: PLC0415

    from aisecops_server.cli.connection import server_address  # noqa: PLC0415
    from aisecops_server.cli.failure import ServerUnreachableError  # noqa: PLC0415
    from aisecops_server.cli.failures import failure_of  # noqa: PLC0415

    count = 0
    while looks is None or count < looks:
        if count:
            time.sleep(every)
        count += 1
        try:
            yield looking.look()
        except (AisecopsClientError, ServerUnreachableError) as error:
            failure = failure_of(error)
            if failure.exit_code is not ExitCode.UNREACHABLE:
                raise
            looking.forget()
            yield {"server": server_address(), "state": _AWAY, "problems": [failure.message]}


def _live(looking: Looking, every: float, looks: int | None) -> None:
    from rich.console import Group  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    from aisecops_server.terminal.top import away_line  # noqa: PLC0415

    target = console()
    last: RenderableType = ""
    with Live("", console=target, screen=looks is None, auto_refresh=False) as live:
        for found in _looks(looking, every, looks):
            if found["state"] == _AWAY:
                shown: RenderableType = Group(away_line(target, found["problems"][0]), last)
            else:
                shown = last = _screen(target, found)
            live.update(shown, refresh=True)


def _screen(target: Console, found: dict[str, Any]) -> RenderableType:
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415
    from aisecops_server.terminal.top import top_screen  # noqa: PLC0415

    draw: Callable[..., RenderableType] = top_screen
    return draw(target, found, SystemClock().now_ns() // 1_000_000_000, when)
