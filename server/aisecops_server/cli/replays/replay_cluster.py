"""The commands that run the members of a replay cluster."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from aisecops_server.cli.configuration import settings
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say
from aisecops_server.cli.replays.replay_partitions import indexed, partitioned

Serve = Callable[[asyncio.Event], Coroutine[Any, Any, None]]


@command(
    "scheduler",
    examples="""
    aisecops dev cluster ./cluster --node scheduler --node worker-1
    AISECOPS_CONFIG=cluster/scheduler.yaml aisecops replay scheduler
    """,
)
@click.option("--listen", default="127.0.0.1:8786", show_default=True, help="The host:port to listen on.")
def scheduler(*, listen: str) -> ExitCode:
    """Run the scheduler of a replay cluster: it hands parts of replays to workers, and keeps nothing.

    Members know each other by certificates of the cluster's own authority (the settings cluster_ca,
    cluster_certificate and cluster_key). Whoever is a member can run programs on the others.
    """
    from aisecops_server.bootstrap.cluster import schedule  # noqa: PLC0415

    return _serve(lambda stop: schedule(settings(), listen=listen, stop=stop, told=_told("scheduler listens on")))


@command(
    "worker",
    examples="""
    AISECOPS_CONFIG=cluster/worker-1.yaml aisecops replay worker --repository ./policy --state-dir ./copy-of-the-log
    AISECOPS_CONFIG=cluster/worker-1.yaml aisecops replay worker --repository ./policy --corpus decisions.corpus.gz
    AISECOPS_CONFIG=cluster/worker-1.yaml aisecops replay worker --repository ./policy --partitions /srv/partitions
    """,
)
@click.option("--repository", help="The policy repository: a path or a URL.")
@click.option(
    "--corpus",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Read the decisions from a file, not from the log in the state directory.",
)
@partitioned
def worker(*, repository: str | None, corpus: Path | None, partitions: Path | None, log_key: str) -> ExitCode:
    """Run a worker of a replay cluster, until it is told to stop. It waits for a scheduler, and again when one is lost.

    It judges parts of replays that somebody else runs, and reads the decisions itself: from the log in its state
    directory (the same one or a copy, opened for reading only), from a corpus or from partitions. What stands there
    must be what is replayed, decision by decision; otherwise it refuses.
    """
    from aisecops_server.adapters.corpus.corpus_file import read_corpus  # noqa: PLC0415
    from aisecops_server.adapters.sqlite.history import open_history  # noqa: PLC0415
    from aisecops_server.bootstrap.cluster import work  # noqa: PLC0415
    from aisecops_server.cli.configuration import loaded  # noqa: PLC0415

    configured = loaded(repository=repository).settings
    if corpus and partitions:
        raise click.UsageError("--corpus and --partitions are two histories; give one")
    with indexed(lambda: configured, partitions, log_key) as index:
        read = read_corpus(corpus) if corpus else open_history(index) if index else None
        return _serve(lambda stop: work(configured, instead=read, stop=stop, told=_told("worker listens on")))


def _told(what: str) -> Callable[[str], None]:
    return lambda address: say(f"{what} {address}")


def _serve(serve: Serve) -> ExitCode:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(stop)

    asyncio.run(run())
    return ExitCode.OK
