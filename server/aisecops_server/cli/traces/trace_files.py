"""``aisecops trace import|evaluate``: recorded traces, in this process, on the state directory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.configuration import tenant_settings
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show
from aisecops_server.cli.progress import progress
from aisecops_server.domain.errors import AisecopsError, HeldError, LogUnavailableError, NotFoundError

if TYPE_CHECKING:
    from rich.console import Console

    from aisecops_server.settings import Settings
    from aisecops_server.usecases.recordings.evaluate_traces import Evaluated
    from aisecops_server.usecases.recordings.import_traces import Imported

_TRACE_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@command(
    "import",
    examples="""
    aisecops trace import traces.otlp.jsonl.gz
    aisecops trace import monday.jsonl tuesday.jsonl --tool-server slack
    aisecops trace import langfuse.jsonl langsmith-runs.jsonl --tool-server hotel --agent concierge
    aisecops trace import laptop.jsonl --agent concierge --environment staging
    """,
)
@click.argument("files", nargs=-1, required=True, type=_TRACE_FILE, help="Plain, gzipped or Parquet.")
@click.option("--tool-server", default="", help="The server that tools belong to which the traces name without one.")
@click.option("--agent", default="", help="The agent of traces that name none.")
@click.option("--environment", default="", help="The environment of traces that name none.")
def import_traces(*, files: Sequence[Path], **told: str) -> ExitCode:
    """Read recorded agent traces: OTLP, OpenInference, Langfuse, LangSmith.

    The files hold OTLP/JSON lines (GenAI or OpenInference conventions), observations of Langfuse or runs of LangSmith,
    as JSON lines, one document or CSV, plain or gzipped, or as rows of Parquet; each record says which it is. Nothing
    is guessed: what cannot be read ends the import with its line, and what came before it is kept. Importing a file
    again adds nothing.
    """
    found = [asyncio.run(_import(path, **told)) for path in files]
    document = {
        "traces": sum(item.traces for item in found),
        "new": sum(item.new for item in found),
        "calls": sum(item.calls for item in found),
    }

    def draw(console: Console) -> None:
        console.print(
            f"{document['traces']:,} traces with {document['calls']:,} calls, {document['new']:,} of them new"
        )

    show(document, draw)
    say("next: aisecops trace evaluate")
    return ExitCode.OK


async def _import(path: Path, *, tool_server: str, agent: str, environment: str) -> Imported:
    from aisecops_server.adapters.recordings.tool_servers import ToolServers  # noqa: PLC0415
    from aisecops_server.adapters.recordings.trace_file import RecordingFile  # noqa: PLC0415
    from aisecops_server.adapters.sqlite.recorded_traces import SqliteRecordedTraces  # noqa: PLC0415
    from aisecops_server.usecases.recordings.import_traces import ImportTraces  # noqa: PLC0415

    store = SqliteRecordedTraces(traces_file(tenant_settings()))
    try:
        with progress(f"reading {path.name}", "traces") as advance:
            traces = RecordingFile(path, ToolServers(otherwise=tool_server)).read()
            told = (trace.told(agent_id=agent, environment=environment) for trace in traces)
            return await ImportTraces(store)(told, lambda done: advance(done, None))
    finally:
        await store.close()


@command(
    "evaluate",
    examples="""
    aisecops trace evaluate
    aisecops trace evaluate --repository ./policy -o json | jq '.tallies[] | select(.outcome == "DENY")'
    """,
)
@click.option("--repository", help="The policy repository to decide with.")
@click.option("--branch", help="The branch whose head decides.")
def evaluate_traces(**options: str | None) -> ExitCode:
    """Decide imported tool calls as a dry run.

    Every recorded call is decided in the context that its agent had at that moment, on the live revision, and
    recorded with mode DRY_RUN. Runs in this process, so no control plane may run on the same state directory. What
    was decided on the revision already is skipped: an interrupted run goes on where it stopped. Exit code 3 when any
    call would be blocked or escalated.
    """
    configured = tenant_settings(**options)
    _require_alone(configured)
    evaluated = asyncio.run(_evaluate(configured))
    show(_document(evaluated), lambda console: _draw(console, evaluated))
    if evaluated.failed:
        say(f"{evaluated.failed:,} calls could not be decided and count as blocked; run it again to try them once more")
    stopped = evaluated.failed or any(tally.outcome != "ALLOW" for tally in evaluated.tallies)
    return ExitCode.DENIED if stopped else ExitCode.OK


@command(
    "forget",
    examples="""
    aisecops trace forget 4bf92f3577b34da6a3ce929d0e0e4736
    """,
)
@click.argument("traces", nargs=-1, required=True, metavar="TRACE...")
def forget_traces(*, traces: Sequence[str]) -> ExitCode:
    """Drop imported recordings of traces, and what policy said of their calls.

    For recordings that were never decided: where a decision of the trace is in the log, 'aisecops log erase' erases it
    there and drops the recording as well. What a legal hold in the log names stays.
    """
    from aisecops_server.adapters.sqlite.recorded_traces import RecordedCopies  # noqa: PLC0415

    configured = tenant_settings()
    recordings = RecordedCopies(configured.recordings_path)
    if not recordings.path.exists():
        raise NotFoundError("no recordings were imported here", hint="Name the state directory with --state-dir")
    if configured.database_url or configured.log_path.exists():
        asyncio.run(_require_free(configured, {*traces, *recordings.agents(traces)}))
    gone = recordings.drop(traces)
    missing = [trace for trace in traces if trace not in gone]
    document = {"forgotten": gone, "missing": missing}
    show(document, lambda console: console.print(f"{len(gone):,} recordings are gone"))
    if missing:
        say(f"not imported here: {', '.join(missing)}")
    return ExitCode.NOT_FOUND if missing else ExitCode.OK


async def _require_free(configured: Settings, subjects: set[str]) -> None:
    from aisecops_server.bootstrap.store import open_log_read_only  # noqa: PLC0415

    log = await open_log_read_only(configured)
    try:
        holds = await log.keeping.holds(released=False)
    finally:
        await log.close()
    for hold in holds:
        if subjects.intersection(hold.subjects):
            raise HeldError(
                f"{hold.id} holds what is to be forgotten",
                hint="'aisecops log hold list' says who holds it and why",
                hold=hold.id,
            )


def _require_alone(configured: Settings) -> None:
    from aisecops_server.bootstrap.serving import is_served  # noqa: PLC0415

    if is_served(configured):
        raise LogUnavailableError(
            f"a control plane serves {configured.state_dir}, and only one process may write its log",
            hint=(
                "Stop it with Ctrl-C where 'aisecops serve' runs, evaluate, and start it again. Or leave it running "
                "and work beside it: 'trace import' and 'trace evaluate', both with --state-dir ./trial"
            ),
        )


async def _evaluate(configured: Settings) -> Evaluated:
    from aisecops_server.adapters.sqlite.recorded_traces import SqliteRecordedTraces  # noqa: PLC0415
    from aisecops_server.bootstrap.control_plane import compose  # noqa: PLC0415
    from aisecops_server.usecases.recordings.evaluate_traces import EvaluateTraces  # noqa: PLC0415

    async with compose(configured) as plane:
        try:
            await plane.policy.sync()
        except AisecopsError:
            # The repository may be away; what was live last can still decide, and without it nothing is.
            await plane.resume()
        store = SqliteRecordedTraces(traces_file(configured))
        try:
            with progress("deciding", "calls") as advance:
                return await EvaluateTraces(store, plane.decide, plane.live)(advance)
        finally:
            await store.close()


def traces_file(configured: Settings) -> Path:
    """Return the file of recorded traces, in a state directory that is there."""
    configured.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return configured.recordings_path


def _document(evaluated: Evaluated) -> dict[str, Any]:
    from aisecops_server.domain.recordings.recorded_trace import strangers_among  # noqa: PLC0415

    strangers = strangers_among(evaluated.tallies)
    return {
        "revision": evaluated.revision,
        "decided": evaluated.decided,
        "skipped": evaluated.skipped,
        "failed": evaluated.failed,
        "unknown": {
            "calls": strangers.calls,
            "agents": list(strangers.agents),
            "tools": list(strangers.tools),
        },
        "tallies": [
            {
                "agentId": tally.agent_id,
                "tool": tally.tool,
                "outcome": tally.outcome,
                "rules": list(tally.rules),
                "calls": tally.calls,
            }
            for tally in evaluated.tallies
        ],
    }


def _draw(console: Console, evaluated: Evaluated) -> None:
    from aisecops_server.terminal.evaluations import evaluation_block  # noqa: PLC0415

    console.print(evaluation_block(console, _document(evaluated)))
