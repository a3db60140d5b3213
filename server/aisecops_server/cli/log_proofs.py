"""The commands of ``aisecops log`` that prove something: what they print can be checked without us."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show


@command(
    "checkpoint",
    examples="""
    aisecops log checkpoint > monday.note          keep it where who runs the log cannot write
    aisecops log checkpoint -o json | jq .witnesses
    """,
)
def checkpoint() -> ExitCode:
    """Print a signed checkpoint of the log as it is now.

    Three lines say which log it is, how many events it holds and what its Merkle root is; below stand the signatures of
    the log and of its witnesses (a C2SP signed note). Whoever has it can tell later that the log was rewritten.
    """
    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        from aisecops_client.transparency import Transparency  # noqa: PLC0415

        found = Transparency(client).checkpoint()
    show(to_json(found), lambda _: click.echo(found.note, nl=False))
    for witness in found.witnesses:
        if not witness.signed:
            name = witness.key.partition("+")[0]
            say(f"witness {name} has not signed: {witness.problem or 'it was not asked yet'}")
    return ExitCode.OK


@command("key", examples="aisecops log key > log.key")
def key() -> ExitCode:
    """Print the key that the log's checkpoints are verified with."""
    from aisecops_server.cli.connection import connect  # noqa: PLC0415

    with connect() as client:
        from aisecops_client.transparency import Transparency  # noqa: PLC0415

        found = Transparency(client).checkpoint().log_key
    show({"key": found}, lambda _: click.echo(found))
    return ExitCode.OK


@command(
    "prove",
    examples="""
    aisecops log prove 17 > event-17.tlog-proof
    aisecops log prove 17 --event event-17.json > event-17.tlog-proof
    """,
)
@click.argument("index", type=click.IntRange(0))
@click.option("--event", type=click.Path(path_type=Path, dir_okay=False), help="Write the event itself to this file.")
def prove(*, index: int, event: Path | None) -> ExitCode:
    """Prove that event INDEX is in the log.

    INDEX is the event's place in the log, as 'log tail' and receipts show it. The proof (C2SP tlog-proof) needs the
    event and the log's key, and nothing else, to be checked.
    """
    from aisecops_server.cli.connection import connect  # noqa: PLC0415

    with connect() as client:
        from aisecops_client.transparency import Transparency  # noqa: PLC0415

        found = Transparency(client).inclusion(index)
    if event is not None:
        event.write_bytes(found.body_json)
    document: dict[str, Any] = {"index": index, "proof": found.proof, "bodyJson": found.body_json.decode()}
    show(document, lambda _: click.echo(found.proof, nl=False))
    return ExitCode.OK
