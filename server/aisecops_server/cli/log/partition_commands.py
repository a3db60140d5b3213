"""``aisecops log export-partitions``: the recorded decisions as Parquet files, tied to a signed checkpoint."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from aisecops_server.cli.configuration import tenant_settings
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import show
from aisecops_server.cli.progress import progress


@command("export-partitions", examples="aisecops log export-partitions /srv/partitions")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--leaves", type=click.IntRange(1), default=65_536, help="Leaves of the log in a file, a power of two.")
def export_partitions(*, folder: Path, leaves: int) -> ExitCode:
    """Write the recorded decisions and their documents into FOLDER, as Parquet by ranges of leaves.

    Reads the state directory or the database, needs no control plane and may run beside one. It covers what the latest
    signed checkpoint covers; manifest.json has each file's Merkle root and SHA-256. An export that was cut off goes on
    when it is run again. The files hold texts of agents and people: what is erased in the log later stays in them.
    """
    from dataclasses import asdict  # noqa: PLC0415

    from aisecops_server.bootstrap import partitions  # noqa: PLC0415

    with progress("exporting", "leaves") as told:
        written = asyncio.run(partitions.export_partitions(tenant_settings(), folder, size=leaves, progress=told))
    count = written[-1].last + 1 if written else 0
    show(
        {"leaves": count, "partitions": [asdict(each) for each in written]},
        lambda target: target.print(f"{count:,} leaves in {len(written):,} files"),
    )
    return ExitCode.OK
