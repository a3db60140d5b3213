"""``aisecops trace export`` and ``aisecops log export``: the record in the formats of other systems."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.exports.record import ExportFormat

if TYPE_CHECKING:
    from aisecops.v1.export_service_pb2 import ExportEventsRequest, ExportEventsResponse

_ALL = [form.value for form in ExportFormat]
_OF_EVENTS = [form.value for form in ExportFormat if form.is_of_events]
_with_payload = click.option(
    "--with-payload",
    is_flag=True,
    help="Also texts of agents and people; needs the role auditor, security or secops.",
)
_file = click.option(
    "-f", "--file", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it. Default: standard output."
)


@command(
    "export",
    examples="""
    aisecops trace export 4bf92f3577b34da6a3ce929d0e0e4736 --format sarif -f findings.sarif
    aisecops trace export 4bf92f3577b34da6a3ce929d0e0e4736 --format otlp >> spans.otlp.jsonl
    """,
)
@click.argument("traces", nargs=-1, required=True, help="Traces' whole ids.")
@click.option("--format", "form", type=click.Choice(_ALL), required=True, help="What the reader reads.")
@_file
@_with_payload
def export_traces(*, traces: Sequence[str], form: str, file: Path | None, with_payload: bool) -> ExitCode:
    """Write whole TRACES in the format of another system.

    otlp: spans for a tracing system; ocsf: activities and findings for a SIEM; cloudevents: events for a bus; sarif:
    findings for whoever shows those of scanners; ndjson: the log's own events. What can be erased (texts of agents and
    people) is left out unless you ask for it and may see it.
    """
    from aisecops_client.exports import Exports  # noqa: PLC0415

    from aisecops_server.cli.connection import connect  # noqa: PLC0415

    with connect() as client, _target(file) as target:
        for part in Exports(client).traces(traces, format=form, with_payload=with_payload):
            target.write(part)
    return ExitCode.OK


@command(
    "export",
    examples="""
    aisecops log export --format ocsf --since 2026-11-01 > november.ocsf.jsonl
    aisecops log export --format cloudevents --follow --cursor siem.cursor | forwarder
    """,
)
@click.option("--format", "form", type=click.Choice(_OF_EVENTS), required=True, help="What the reader reads.")
@click.option("--since", type=click.DateTime(), help="Not before (UTC).")
@click.option("--from", "first", type=click.IntRange(0), default=0, help="Start at this log index.")
@click.option("--follow", is_flag=True, help="Go on with what comes.")
@click.option(
    "--cursor",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file that remembers where it was; the next run goes on there.",
)
@_file
@_with_payload
def export_log(**asked: Any) -> ExitCode:
    """Write events of the log in the format of another system, one JSON document a line.

    With --cursor, an export that was interrupted goes on where it was: every event comes at least once, and its id says
    which it is. A cursor of another log is refused.
    """
    from aisecops_server.cli.log.events import exported_events  # noqa: PLC0415

    cursor: Path | None = asked["cursor"]
    request = _request(asked, _read(cursor) if cursor else {})
    count = 0
    with _target(asked["file"], append=cursor is not None) as target:
        for count, event in enumerate(exported_events(request), 1):  # noqa: B007 - counted, not used
            target.write(event.content)
            if cursor:
                # What is not flushed may be lost with this process, and must not count as handed on.
                target.flush()
                _keep(cursor, request.format, event)
            elif request.follow:
                target.flush()
    say(f"{count:,} events")
    return ExitCode.OK


def _request(asked: dict[str, Any], kept: dict[str, Any]) -> ExportEventsRequest:
    from aisecops.v1.export_service_pb2 import ExportEventsRequest  # noqa: PLC0415

    if kept and kept["format"] != asked["form"]:
        raise InvalidRequestError(
            f"the cursor is of an export as {kept['format']}", hint="Use one cursor for each export", field="cursor"
        )
    request = ExportEventsRequest(
        format=asked["form"],
        from_index=kept.get("nextIndex", asked["first"]),
        follow=asked["follow"],
        with_payload=asked["with_payload"],
        after_leaf_hash=kept.get("leafHash", ""),
    )
    if asked["since"] is not None and not kept:
        request.since.FromDatetime(asked["since"])
    return request


def _read(cursor: Path) -> dict[str, Any]:
    try:
        kept = json.loads(cursor.read_bytes())
        known = {"format": str(kept["format"]), "nextIndex": int(kept["nextIndex"]), "leafHash": str(kept["leafHash"])}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidRequestError(
            f"{cursor} is no cursor", hint="Name a file that 'aisecops log export' made, or one that is not there yet"
        ) from error
    return known


def _keep(cursor: Path, form: str, event: ExportEventsResponse) -> None:
    kept = {"format": form, "nextIndex": event.log_index + 1, "leafHash": event.leaf_hash}
    descriptor, name = tempfile.mkstemp(dir=cursor.absolute().parent, prefix=f".{cursor.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(kept, stream)
    Path(name).replace(cursor)


@contextlib.contextmanager
def _target(file: Path | None, *, append: bool = False) -> Iterator[IO[bytes]]:
    if file is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with file.open("ab" if append else "wb") as stream:
        yield stream
