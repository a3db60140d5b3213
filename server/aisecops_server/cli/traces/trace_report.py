"""``aisecops trace report``: what a policy would have done to what was recorded, in some time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.configuration import tenant_settings
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show
from aisecops_server.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from rich.console import Console

    from aisecops_server.domain.recordings.recorded_report import Window

_SUFFIXES = (".md", ".json")


@command(
    "report",
    examples="""
    aisecops trace report
    aisecops trace report --since 2026-10-01 --until 2026-11-01 --write october.md
    aisecops trace report -o json | jq '.rules[] | select(.DENY > 0)'
    """,
)
@click.option("--since", type=click.DateTime(), help="Calls that began then or later (UTC).")
@click.option("--until", type=click.DateTime(), help="Calls that began before (UTC).")
@click.option("--revision", default="", help="The policy; needed where traces were evaluated on several.")
@click.option("--write", "target", type=click.Path(path_type=Path, dir_okay=False), help="Also write it: .md or .json.")
def report_traces(*, since: datetime | None, until: datetime | None, revision: str, target: Path | None) -> ExitCode:
    """Say what the policy would have blocked of what was recorded.

    Counts the imported calls that 'trace evaluate' decided, by rule, tool and agent, with samples. What is not on
    record, or was not evaluated, is unknown and stands beside the numbers. Decides nothing itself.
    """
    from aisecops_server.domain.recordings.recorded_report import Window, report_markdown  # noqa: PLC0415

    if target is not None and target.suffix not in _SUFFIXES:
        raise InvalidRequestError(f"{target} is of no known form", hint="Call it .md or .json", field="write")
    document = asyncio.run(_report(Window(_nanoseconds(since), _nanoseconds(until)), revision))
    if target is not None:
        target.write_text(_text(document) if target.suffix == ".json" else report_markdown(document), encoding="utf-8")
        say(f"wrote {target}")
    show(document, lambda console: _draw(console, document))
    return ExitCode.OK


async def _report(window: Window, revision: str) -> dict[str, Any]:
    from aisecops_server.adapters.sqlite.recorded_traces import SqliteRecordedTraces  # noqa: PLC0415
    from aisecops_server.cli.traces.trace_files import traces_file  # noqa: PLC0415
    from aisecops_server.domain.recordings.recorded_report import report_json  # noqa: PLC0415
    from aisecops_server.usecases.recordings.report_recordings import ReportRecordings  # noqa: PLC0415

    store = SqliteRecordedTraces(traces_file(tenant_settings()))
    try:
        return report_json(await ReportRecordings(store)(window, revision=revision))
    finally:
        await store.close()


def _text(document: dict[str, Any]) -> str:
    import json  # noqa: PLC0415

    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _nanoseconds(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def _draw(console: Console, document: dict[str, Any]) -> None:
    from aisecops_server.terminal.recorded_reports import recorded_report_block  # noqa: PLC0415

    console.print(recorded_report_block(console, document))
