"""``aisecops demo``: the whole story in one terminal."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from aisecops_server.cli.configuration import loaded
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import console, say

PACE_SECONDS = 0.35


@command(
    "demo",
    examples="""
    aisecops demo                       play it; state is kept for the commands at its end
    aisecops demo --serve               and look at it in the UI, by the links at its end
    aisecops demo --keep ./demo         keep policy repository and state there
    aisecops demo --temporary --pace 0  leave nothing behind and do not wait: a test of the installation
    """,
)
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Where to keep policy and state.")
@click.option("--temporary", is_flag=True, help="Leave nothing behind.")
@click.option("--serve", is_flag=True, help="Then serve the UI on it, with links that open it, until Ctrl-C.")
@click.option("--pace", type=click.FloatRange(0, 10), help="Seconds to wait after each decision; 0 in a pipe.")
def demo(*, keep: Path | None, temporary: bool, serve: bool, pace: float | None) -> ExitCode:
    """See it decide: real agents' plans, a policy change, what flipped.

    Starts a real control plane on a policy repository of its own, sends it the plans of several agents, some of
    them hijacked by what a tool returned, then changes one table, sends the same plans again and shows which
    outcomes flipped and why. Exit code 1 when anything is not as expected, so it is also a test.
    """
    if keep is not None and temporary:
        raise click.UsageError("--keep and --temporary exclude each other")
    # Before gRPC is loaded: it tells of the handshake that the demo makes fail.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from aisecops_server.demo.screen import Screen  # noqa: PLC0415
    from aisecops_server.demo.show import show  # noqa: PLC0415
    from aisecops_server.demo.stage import clear  # noqa: PLC0415

    _hear_only_the_story()
    target = console()
    seconds = pace if pace is not None else PACE_SECONDS if target.is_terminal else 0.0
    with _directory(keep, temporary=temporary) as root:
        place = clear(root, is_kept=not temporary)
        playing = show(Screen(target, seconds), place, _engine(), program=_program(), serve=serve)
        as_expected = asyncio.run(playing)
    return ExitCode.OK if as_expected else ExitCode.FAILURE


def _hear_only_the_story() -> None:
    """Keep out what the control plane tells its operator: the demo shows it where it belongs."""
    logging.getLogger("aisecops_server").addHandler(logging.NullHandler())


@contextmanager
def _directory(keep: Path | None, *, temporary: bool) -> Iterator[Path]:
    if temporary:
        # Short on purpose: a Unix socket's path has room for about a hundred characters.
        with TemporaryDirectory(prefix="aisecops-demo-") as directory:
            yield Path(directory)
    else:
        yield keep.absolute() if keep else _free(loaded().settings.state_dir.with_name("aisecops-demo"))


def _free(root: Path) -> Path:
    """Return ``root``, or the first place beside it when a control plane serves the demo that lies there."""
    from aisecops_server.demo.stage import is_served  # noqa: PLC0415

    if not is_served(root):
        return root
    say(f"note: a control plane serves the earlier demo in {root}; that one stays as it is")
    beside = (root.with_name(f"{root.name}-{number}") for number in itertools.count(2))
    return next(place for place in beside if not is_served(place))


def _engine() -> dict[str, Path]:
    found = loaded().settings
    return {"engine_dir": found.engine_dir} | ({"engine_path": found.engine_path} if found.engine_path else {})


def _program() -> str:
    """Return how a person calls this program from here."""
    called = Path(sys.argv[0])
    if shutil.which(called.name) or called.name == "__main__.py":
        return "aisecops"
    return os.path.relpath(called) if called.is_absolute() else str(called)
