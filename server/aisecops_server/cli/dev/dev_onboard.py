"""``aisecops dev onboard``: recorded traces in, entries of a policy's tables out, for a person to check and commit."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show

if TYPE_CHECKING:
    from rich.console import Console

    from aisecops_server.domain.agents.onboarding import Onboarding
    from aisecops_server.domain.formats.canonical import JsonValue
    from aisecops_server.domain.recordings.recorded_trace import RecordedTrace

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@command(
    "onboard",
    examples="""
    aisecops dev onboard traces.otlp.jsonl.gz --policy ./policy --dry-run
    aisecops dev onboard traces.otlp.jsonl.gz --policy ./policy --tool-server hotel --own-systems
    aisecops dev onboard monday.jsonl --policy ./policy --tools tools.yaml
    """,
)
@click.argument(
    "files", nargs=-1, required=True, type=_FILE, metavar="TRACE_FILE...", help="Plain, gzipped or Parquet."
)
@click.option(
    "--policy",
    required=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The working copy of the policy repository.",
)
@click.option("--tool-server", default="", help="The server that tools belong to which the traces name without one.")
@click.option("--tools", type=_FILE, help="Your own table of tools: any fields of data/tools.yaml; nothing is guessed.")
@click.option("--owner", default="", help="The team that answers for what is added.")
@click.option("--agent", default="", help="The agent of traces that name none.")
@click.option("--environment", default="", help="The environment of traces that name none.")
@click.option("--own-systems", is_flag=True, help="The tools work on systems of the company, whose records are facts.")
@click.option("--dry-run", is_flag=True, help="Say what would be added and write nothing.")
def onboard(*, files: Sequence[Path], policy: Path, **options: Any) -> ExitCode:
    """Add agents and tools that recorded traces show to a policy's tables.

    Appends what data/agents.yaml, capabilities.yaml, tools.yaml and servers.yaml lack, and changes nothing that stands
    there. What a tool does is guessed from its name and marked as such: check it before you commit. The agent is
    granted what its traces call, so leave out traces of a hijacked agent or take the grants away. Nothing is committed.
    """
    from aisecops_server.adapters.bundles.policy_files import PolicyFiles  # noqa: PLC0415
    from aisecops_server.usecases.policy.onboard_agent import UNASSIGNED, Said, onboard_agents  # noqa: PLC0415

    held = PolicyFiles(policy)
    said = Said(
        owner=options["owner"] or UNASSIGNED,
        tools=_described(options["tools"], options["tool_server"]),
        agent=options["agent"],
        environment=options["environment"],
        systems="own" if options["own_systems"] else "unknown",
    )
    found = onboard_agents(_traces(files, options["tool_server"]), held.tables, said)
    tables = list(dict.fromkeys(entry.table for entry in found.entries))
    new = [held.appended(table, found.of(table)) for table in tables]
    written = bool(new) and not options["dry_run"]
    if written:
        held.write(new)
    document = _document(found, written=written)
    show(document, lambda console: _draw(console, document))
    if not options["dry_run"]:
        say("\n".join(_next(files, policy, options, written=written)))
    return ExitCode.OK


def _traces(files: Sequence[Path], server: str) -> Iterator[RecordedTrace]:
    from aisecops_server.adapters.recordings.tool_servers import ToolServers  # noqa: PLC0415
    from aisecops_server.adapters.recordings.trace_file import RecordingFile  # noqa: PLC0415

    for path in files:
        yield from RecordingFile(path, ToolServers(otherwise=server)).read()


def _described(path: Path | None, server: str) -> dict[str, JsonValue]:
    from aisecops_server.adapters.bundles.policy_files import read_tools_table  # noqa: PLC0415

    if path is None:
        return {}
    table = read_tools_table(path)
    bare = sorted(name for name in table if "/" not in name)
    if bare and not server:
        raise click.UsageError(f"{path}: the tool {bare[0]!r} names no server; give --tool-server")
    return {name if "/" in name else f"{server}/{name}": entry for name, entry in table.items()}


def _document(found: Onboarding, *, written: bool) -> dict[str, Any]:
    return {
        "written": written,
        "added": [
            {
                "table": entry.table,
                "key": entry.key,
                "fields": dict(entry.fields),
                "remarks": {name: remark for name, remark in entry.remarks.items() if name and remark},
            }
            for entry in found.entries
        ],
        "byHand": list(found.by_hand),
        "leftOut": list(found.left_out),
    }


def _draw(console: Console, document: dict[str, Any]) -> None:
    from aisecops_server.terminal.onboarding import onboarding_block  # noqa: PLC0415

    console.print(onboarding_block(document))


def _next(files: Sequence[Path], policy: Path, options: dict[str, Any], *, written: bool) -> Iterator[str]:
    told = [
        f"--{name.replace('_', '-')} {shlex.quote(options[name])}"
        for name in ("tool_server", "agent", "environment")
        if options[name]
    ]
    place = shlex.quote(str(policy))
    yield "next:"
    if written:
        yield f"  git -C {place} diff                 check every line that says so"
        yield f"  git -C {place} commit -am 'Onboard an agent'"
        yield "  aisecops bundle sync                only where a control plane serves this repository"
    yield f"  aisecops trace import {' '.join([*(shlex.quote(str(path)) for path in files), *told])}"
    yield f"  aisecops trace evaluate --repository {place}"
