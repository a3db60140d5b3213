"""The commands of ``aisecops witness``. A witness has a state directory of its own: its key and what it signed."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import click

from aisecops_server.cli.configuration import settings
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show

if TYPE_CHECKING:
    from aisecops_server.usecases.log.witness import Cosign

_NAME = click.option("--name", default="witness.example", show_default=True, help="What the witness is called.")


@command("key", examples="aisecops witness key --state-dir /var/lib/witness --name witness.example")
@_NAME
def key(*, name: str) -> ExitCode:
    """Print the key that a witness signs with, making it when there is none.

    The control plane needs it: AISECOPS_WITNESSES="URL KEY".
    """
    from aisecops_server.bootstrap.witnessing import witness_key  # noqa: PLC0415

    found = witness_key(settings(), name).text()
    show({"key": found}, lambda _: click.echo(found))
    return ExitCode.OK


@command(
    "serve",
    examples="""
    aisecops witness serve --state-dir /var/lib/witness --log "$(cat log.key)"
    """,
)
@_NAME
@click.option("--log", "logs", multiple=True, required=True, help="The key of a log to watch; may be given repeatedly.")
@click.option("--listen", default="127.0.0.1:8475", show_default=True, help="The host:port to serve on.")
def serve(*, name: str, logs: tuple[str, ...], listen: str) -> ExitCode:
    """Run a witness.

    Run it on another machine than the log, under another administrator: it is worth as much as the distance between
    the two. It speaks plain HTTP (C2SP tlog-witness); put TLS in front of it where others than this machine call it.
    """
    from aisecops_server.bootstrap.witnessing import witness  # noqa: PLC0415

    with witness(settings(), name=name, logs=logs) as cosign:
        asyncio.run(_serve(cosign, listen))
    return ExitCode.OK


async def _serve(cosign: Cosign, listen: str) -> None:
    from aisecops_server.entrypoints.witness.app import listening  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with listening(cosign, listen) as port:
        say(f"witness {cosign.name} listens on {listen.rpartition(':')[0]}:{port}")
        say(f"key {cosign.key.text()}")
        await stop.wait()
        say("stopping")
