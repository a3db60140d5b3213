"""What commands of ``aisecops replay`` share that read the decisions of partitions instead of a log's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.output import say
from aisecops_server.cli.progress import progress

if TYPE_CHECKING:
    from aisecops_server.settings import Settings


def partitioned(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name partitions, ``partitions`` and ``log_key``."""
    folder = click.option(
        "--partitions",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="Read the decisions from a folder that 'log export-partitions' wrote; works in this process.",
    )
    key = click.option("--log-key", default="", help="With --partitions: the log's key, as you know it.")
    return folder(key(function))


@contextlib.contextmanager
def indexed(configured: Callable[[], Settings], folder: Path | None, log_key: str) -> Iterator[Path | None]:
    """Give the database that the partitions in ``folder`` are read from; ``None`` where none are named."""
    if folder is None:
        if log_key:
            raise click.UsageError("--log-key says who signed partitions; give --partitions too")
        yield None
        return
    from aisecops_server.bootstrap.partitions import indexed_partitions  # noqa: PLC0415

    if not log_key:
        say("who signed the checkpoint of these partitions was not verified; give --log-key to verify it")
    with contextlib.ExitStack() as held:
        with progress("reading", "leaves") as told:
            index = held.enter_context(indexed_partitions(configured(), folder, log_key=log_key, progress=told))
        yield index
