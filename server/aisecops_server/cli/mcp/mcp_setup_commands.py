"""The commands of ``aisecops mcp`` that prepare: look at servers, pin what they say, rewrite a configuration."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command, current
from aisecops_server.cli.mcp.mcp_commands import (
    AGENT,
    APPROVAL_SECONDS,
    APPROVALS_URL,
    ENVIRONMENT,
    PINS,
    UPSTREAM_CA,
    UPSTREAM_TOKEN,
    asking,
    name_of,
    places_of,
    token_files,
)
from aisecops_server.cli.output import say, show

if TYPE_CHECKING:
    from aisecops_mcp.consent import Asking
    from aisecops_mcp.opening import Reached

_SECONDS, _BYTES = 60.0, 16 * 1024 * 1024
_NAME = click.option("--name", default="", help="What policy calls the server; else it is read off the command.")
_SERVERS = click.option(
    "--servers",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A client's configuration file whose servers are asked instead.",
)
_LINE = click.argument("line", nargs=-1, type=click.UNPROCESSED, help="The server's command line, behind --.")


@command("inspect", examples="aisecops mcp inspect -- npx -y @modelcontextprotocol/server-memory")
@_NAME
@_SERVERS
@_LINE
def inspect(*, name: str, servers: Path | None, line: tuple[str, ...]) -> ExitCode:
    """Show which tools servers say that they have.

    Each with the digest of its definition, what the server claims of it, and characters that people cannot see.
    """
    from aisecops_mcp.definitions import digest_of, unseen  # noqa: PLC0415

    tools: list[dict[str, Any]] = [
        {
            "tool": f"{server}/{entry.get('name')}",
            "definition": digest_of(entry),
            "claims": dict(entry.get("annotations") or {}),
            "description": str(entry.get("description", "")),
            "unseen": [{"where": where, "codePoint": mark} for where, mark in unseen(entry)],
        }
        for server, entries in _listed(name, servers, line).items()
        for entry in entries
    ]

    def draw(_console: Any) -> None:
        from aisecops_mcp.talk import shown  # noqa: PLC0415

        for tool in tools:
            click.echo(f"{tool['tool']}  {tool['definition'][:12]}  {shown(tool['description'], 80)}")
            for mark in tool["unseen"][:3]:
                click.echo(f"    cannot be seen: {mark['codePoint']} in {mark['where']}")

    show({"tools": tools}, draw)
    return ExitCode.DENIED if any(tool["unseen"] for tool in tools) else ExitCode.OK


@command("pin", examples="aisecops mcp pin --servers mcp.json --pins mcp-pins.json")
@_NAME
@_SERVERS
@click.option(
    "--pins",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("mcp-pins.json"),
    show_default=True,
    help="The file to write; other servers in it keep their pins.",
)
@_LINE
def pin(*, name: str, servers: Path | None, pins: Path, line: tuple[str, ...]) -> ExitCode:
    """Write down what servers say of their tools now.

    A proxy that is given the file with --pins keeps back every tool that says something else. Look first, with
    'aisecops mcp inspect'.
    """
    from aisecops_mcp.definitions import PinsError, digest_of, pins_in, pins_written  # noqa: PLC0415

    try:
        before = pins_in(pins.read_bytes()) if pins.exists() else {}
    except PinsError as error:
        raise click.UsageError(f"{pins}: {error}") from error
    found = {
        server: {str(entry.get("name")): digest_of(entry) for entry in entries}
        for server, entries in _listed(name, servers, line).items()
    }
    pins.write_text(pins_written({**before, **found}), encoding="utf-8")
    changed = sorted(
        f"{server}/{tool}"
        for server, tools in found.items()
        for tool, digest in tools.items()
        if before.get(server, {}).get(tool, digest) != digest
    )
    show(
        {"pinned": found, "changed": changed}, lambda _: click.echo(f"{sum(map(len, found.values()))} pinned in {pins}")
    )
    for tool in changed:
        say(f"changed: {tool}")
    return ExitCode.OK


@command(
    "wrap",
    examples="""
    aisecops mcp wrap mcp.json --token-file /etc/agent.token   every server of it is governed from now on
    aisecops mcp wrap mcp.json --upstream-token crm=/etc/crm.token --approvals-url https://control.corp.example
                                                               with the proxy's own token for the server at a URL
    aisecops mcp wrap mcp.json --undo                          and as it was before, byte for byte
    """,
)
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="A client's configuration.")
@ENVIRONMENT
@AGENT
@UPSTREAM_TOKEN
@UPSTREAM_CA
@PINS
@APPROVAL_SECONDS
@APPROVALS_URL
@click.option("--undo", is_flag=True, help="Put the file back as it was.")
def wrap(
    *,
    path: Path,
    environment: str,
    agent: str,
    upstream_token: tuple[str, ...],
    upstream_ca: Path | None,
    pins: Path | None,
    approval_seconds: float,
    approvals_url: str,
    undo: bool,
) -> ExitCode:
    """Rewrite a client's configuration so that its servers are governed.

    Each server is started by the proxy instead, or reached by it at its URL, under its own name. What the file was is
    kept beside it.
    """
    from aisecops_mcp import wrapping  # noqa: PLC0415
    from aisecops_mcp.client_config import ConfigError  # noqa: PLC0415

    try:
        if undo:
            wrapping.undo(path)
            show({"wrapped": [], "left": {}}, lambda _: click.echo(f"{path} is as it was"))
            return ExitCode.OK
        reach = wrapping.Reach(token_files(upstream_token), upstream_ca)
        given = [*_options(environment, agent), *_asked(asking(approval_seconds, approvals_url), pins)]
        done = wrapping.wrap(path, _program(), given, _where(), reach=reach)
    except ConfigError as error:
        raise click.UsageError(f"{path}: {error}") from error
    show(
        {"wrapped": list(done.wrapped), "left": dict(done.left)},
        lambda _: click.echo(f"governed: {', '.join(done.wrapped)}"),
    )
    for name, why in done.left.items():
        say(f"NOT governed: {name}: {why}")
    if (token := current().token_file) and not Path(token).exists():
        say(f"there is no {token} yet, and until there is every call is refused; it holds the agent's token")
    return ExitCode.OK


def _program() -> str:
    found = shutil.which("aisecops", path=str(Path(sys.executable).parent)) or shutil.which("aisecops")
    if found is None:
        raise click.UsageError("there is no program 'aisecops' beside this Python; install the package first")
    return found


def _options(environment: str, agent: str) -> list[str]:
    """Return what says who the agent is and where it acts, with whole paths: a client has another folder."""
    given = ["--environment", environment, *(["--agent", agent] if agent else [])]
    if current().token_file:
        given += ["--token-file", str(Path(current().token_file).absolute())]
    return given


def _asked(how: Asking, pins: Path | None) -> list[str]:
    """Return what is not as it would be by itself."""
    from aisecops_mcp.consent import Asking  # noqa: PLC0415

    usual = Asking()
    return [
        *(["--approval-seconds", f"{how.seconds:g}"] if how.seconds != usual.seconds else []),
        *(["--approvals-url", how.page] if how.page else []),
        *(["--pins", str(pins.absolute())] if pins else []),
    ]


def _where() -> Mapping[str, str]:
    """Return what says where the control plane is."""
    from aisecops_server.cli.configuration import settings  # noqa: PLC0415

    found = settings()
    of = {"AISECOPS_TENANT": found.tenant} if found.tenant else {}
    if current().server:
        return {"AISECOPS_SERVER": current().server, **of}
    return {"AISECOPS_STATE_DIR": str(found.state_dir.absolute()), **of}


def _listed(name: str, servers: Path | None, line: tuple[str, ...]) -> dict[str, list[Mapping[str, Any]]]:
    from aisecops_mcp.probe import tools_of  # noqa: PLC0415
    from aisecops_mcp.upstream import ServerGoneError  # noqa: PLC0415

    places: Mapping[str, Reached] = places_of(name or (name_of(line) if line else ""), servers, line, tokens={})

    async def ask() -> dict[str, list[Mapping[str, Any]]]:
        return {one: await tools_of(one, how, say, limit=_BYTES, seconds=_SECONDS) for one, how in places.items()}

    try:
        return asyncio.run(ask())
    except ServerGoneError as error:
        raise click.ClickException(str(error)) from error
