"""The commands of ``aisecops log``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.configuration import tenant_settings
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command, current
from aisecops_server.cli.output import console, say, show, show_lines, talk_console, when

if TYPE_CHECKING:
    from rich.console import Console

    from aisecops_server.domain.log.record import LogHead, LogReport


@command(
    "verify",
    examples="""
    aisecops log verify
    aisecops log verify --against monday.json     and that it still begins as it did on Monday
    aisecops log verify --state-dir /var/lib/aisecops -o json | jq -r .recomputed.root
    """,
)
@click.option(
    "--against",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A head that you kept, from 'log head -o json': the log must still begin with it.",
)
def verify(*, against: Path | None) -> ExitCode:
    """Recompute every leaf and the Merkle root.

    Reads the state directory, needs no control plane, changes nothing, and may run beside one. Who owns the machine
    could rewrite log and root together: a head that was kept elsewhere, given with --against, shows that. Exit code
    9 when anything does not verify.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    from aisecops_server.cli.log.local_log import head_at, kept_head, verified  # noqa: PLC0415

    kept = kept_head(against) if against else None

    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    talk = talk_console()
    with Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal) as progress:
        task = progress.add_task("verify", total=None)
        report = verified(tenant_settings(), lambda done, total: progress.update(task, completed=done, total=total))
    if kept is not None and report.ok and (found := head_at(tenant_settings(), kept.size)) != kept:
        report = replace(report, problem=_rewritten(kept, found))
    show(_report(report, kept), lambda target: _draw(target, report, kept))
    return ExitCode.OK if report.ok else ExitCode.UNVERIFIED


def _rewritten(kept: LogHead, found: LogHead) -> str:
    if found.size < kept.size:
        return f"it holds {found.size:,} leaves, and the head that was kept had {kept.size:,}"
    return f"its first {kept.size:,} leaves are not those of the head that was kept"


@command("head", examples="aisecops log head -o json | jq -r .root")
def head() -> ExitCode:
    """Print the log's size and Merkle root, as stored."""
    from aisecops_server.cli.log.local_log import log_head  # noqa: PLC0415

    found = log_head(tenant_settings())
    show(_head(found), lambda target: target.print(f"{found.size} leaves, root {found.root.hex()}", soft_wrap=True))
    return ExitCode.OK


@command(
    "tail",
    examples="""
    aisecops log tail                                       new events until Ctrl-C
    aisecops log tail --all --once -o ndjson > events.ndjson
    """,
)
@click.option("--all", "everything", is_flag=True, help="Start with the first event rather than with new ones.")
@click.option("--once", is_flag=True, help="Stop at the end of the log instead of waiting for more.")
@click.option("--from", "first", type=click.IntRange(0), help="Start at this log index.")
@click.option("--trace", default="", help="Only this trace.")
def tail(*, everything: bool, once: bool, first: int | None, trace: str) -> ExitCode:
    """Follow events as they are recorded."""
    from aisecops_server.cli.log.events import first_index, stream  # noqa: PLC0415

    start = first_index(everything=everything or once) if first is None else first
    events = stream(start, follow=not once, trace=trace)
    if current().machine:
        show_lines(events)
        return ExitCode.OK
    target = console()
    count = 0
    for count, event in enumerate(events, 1):  # noqa: B007 - counted, not used
        target.print(event_line(event), soft_wrap=True)
    if not count:
        say("no event matches")
    return ExitCode.OK


def event_line(event: dict[str, Any]) -> str:
    """Return one event as one line."""
    stage = str(event["stage"]).removeprefix("STAGE_").lower()
    return f"{event['logIndex']:>8}  {when(event['occurredAt'])}  {stage:<16} {event['type']:<22} {event['traceId']}"


def _report(report: LogReport, kept: LogHead | None) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "stored": _head(report.stored),
        "recomputed": _head(report.recomputed),
        "problem": report.problem,
        "badIndex": report.bad_index,
        "against": _head(kept) if kept else None,
    }


def _head(found: LogHead) -> dict[str, Any]:
    return {"size": found.size, "root": found.root.hex()}


def _draw(target: Console, report: LogReport, kept: LogHead | None) -> None:
    from rich.text import Text  # noqa: PLC0415

    from aisecops_server.domain.display.words import ALLOWED, BLOCKED, counted  # noqa: PLC0415
    from aisecops_server.terminal.consoles import glyph, style_of  # noqa: PLC0415

    sign = ALLOWED if report.ok else BLOCKED
    leaves = counted(report.recomputed.size, "leaf", "leaves")
    text = f"{leaves} verified" if report.ok else f"the log does not verify: {report.problem}"
    target.print(Text(f"{glyph(target, sign)} {text}", style=style_of(sign, bold=True)), soft_wrap=True)
    target.print(f"  root {report.recomputed.root.hex()}", soft_wrap=True)
    if report.ok and kept:
        target.print(f"  begins with the {counted(kept.size, 'leaf', 'leaves')} of the head that was kept")
    if not report.ok and report.stored.root != report.recomputed.root:
        target.print(f"  stored root {report.stored.root.hex()}", soft_wrap=True)
