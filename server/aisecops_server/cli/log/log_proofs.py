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


@command(
    "key",
    examples="""
    aisecops log key > log.key
    aisecops log key rotate --reason "yearly"
    """,
)
@click.argument("action", required=False, type=click.Choice(["rotate"]))
@click.option("--reason", default="", help="With 'rotate': why; it stands in the log.")
def key(*, action: str | None, reason: str) -> ExitCode:
    """Print the key that the log signs with, or rotate it.

    'rotate' hands the log over to a new key. The old key signs it in and the log records it, so whoever knows the old
    one, verifiers and witnesses of ours among them, goes on from it. The old private key is deleted.
    """
    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    if bool(action) != bool(reason):
        raise click.UsageError("'rotate' and --reason go together")
    with connect() as client:
        from aisecops_client.transparency import Transparency  # noqa: PLC0415

        calls = Transparency(client)
        if action:
            rotated = calls.rotate_key(reason=reason)
            show(to_json(rotated), lambda _: click.echo(rotated.log_key))
            say(f"event {rotated.log_index} introduces it; the old key is good for no place behind that")
            return ExitCode.OK
        found = calls.checkpoint().log_key
    show({"key": found}, lambda _: click.echo(found))
    return ExitCode.OK


@command(
    "prove",
    examples="""
    aisecops log prove 17 > event-17.tlog-proof
    aisecops log prove 17 --event event-17.json > event-17.tlog-proof
    aisecops log prove --receipt receipt.note > event.tlog-proof
    """,
)
@click.argument("index", type=click.IntRange(0), required=False)
@click.option(
    "--receipt",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The receipt of the event, as 'decide --receipt' wrote it: the log must still hold what it acknowledged.",
)
@click.option("--event", type=click.Path(path_type=Path, dir_okay=False), help="Write the event itself to this file.")
def prove(*, index: int | None, receipt: Path | None, event: Path | None) -> ExitCode:
    """Prove that event INDEX, or that of a receipt, is in the log.

    INDEX is the event's place in the log, as 'log tail' and receipts show it. The proof (C2SP tlog-proof) needs the
    event, or its receipt, and the log's key, and nothing else, to be checked. Exit code 9 when the log does not hold
    what it acknowledged; the receipt and the proof together show that to anybody.
    """
    from aisecops_server.cli.connection import connect  # noqa: PLC0415

    if (index is None) == (receipt is None):
        raise click.UsageError("name the event by its INDEX or by --receipt")
    place, leaf = (index or 0, b"") if receipt is None else _acknowledged(receipt)
    with connect() as client:
        from aisecops_client.transparency import Transparency  # noqa: PLC0415

        found = Transparency(client).inclusion(place)
    if event is not None:
        event.write_bytes(found.body_json)
    document: dict[str, Any] = {"index": place, "proof": found.proof, "bodyJson": found.body_json.decode()}
    show(document, lambda _: click.echo(found.proof, nl=False))
    if receipt is None:
        return ExitCode.OK
    from aisecops_server.domain.log.merkle import leaf_hash  # noqa: PLC0415

    if leaf_hash(found.body_json) != leaf:
        say(f"the log holds another event {place} than it acknowledged; keep the receipt and this proof")
        return ExitCode.UNVERIFIED
    say(f"event {place} is the one that was acknowledged")
    return ExitCode.OK


def _acknowledged(file: Path) -> tuple[int, bytes]:
    """Return the place and the leaf hash of a receipt; who verifies its signature is the verifier."""
    from aisecops_server.domain.errors import AisecopsError, InvalidRequestError  # noqa: PLC0415
    from aisecops_server.domain.log.log_keys import read_receipt  # noqa: PLC0415

    try:
        return read_receipt(file.read_text(encoding="utf-8"))
    except (AisecopsError, ValueError) as error:
        raise InvalidRequestError(f"{file} is no receipt", hint="Keep what 'decide --receipt' writes") from error
