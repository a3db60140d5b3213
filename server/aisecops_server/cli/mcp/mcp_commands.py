"""The commands of ``aisecops mcp``, and ``aisecops guard``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisecops_mcp.consent import Asking
    from aisecops_mcp.opening import Reached
    from aisecops_mcp.stdio import Bounds

    from aisecops_server.cli.mcp.mcp_front import ListenOptions

ENVIRONMENT = click.option(
    "--environment", default="production", show_default=True, help="Where the effects of calls land."
)
AGENT = click.option("--agent", default="", help="Be this agent, with a token of the local issuer.")
_SECONDS = click.option(
    "--call-seconds", type=click.FloatRange(min=0.1), default=300.0, show_default=True, help="How long a call may take."
)
_BYTES = click.option(
    "--message-bytes",
    type=click.IntRange(min=1024),
    default=16 * 1024 * 1024,
    show_default=True,
    help="The longest message that is taken from either side.",
)


_UPSTREAM = click.option(
    "--upstream", multiple=True, metavar="NAME=URL", help="A server that is reached at an https:// URL (several)."
)
UPSTREAM_TOKEN = click.option(
    "--upstream-token",
    multiple=True,
    metavar="NAME=FILE",
    help="The token to show to that server; one with an audience must be for its URL.",
)
UPSTREAM_CA = click.option(
    "--upstream-ca",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Certificates that vouch for these servers instead of the system's.",
)
PINS = click.option(
    "--pins",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Definitions that hold (see 'aisecops mcp pin'); without it, those that were seen first.",
)
APPROVAL_SECONDS = click.option(
    "--approval-seconds",
    type=click.FloatRange(min=0),
    default=45.0,
    show_default=True,
    help="How long a call waits for approval where the client can ask its user meanwhile; 0: not at all.",
)
APPROVALS_URL = click.option(
    "--approvals-url",
    default="",
    metavar="URL",
    help="Where people open the UI; clients that can open addresses are sent to the request there.",
)
_SPOOL = click.option(
    "--spool",
    default="",
    metavar="FOLDER",
    help="Where what came of calls is kept until it is told; else in AISECOPS_SPOOL_DIR, or this user's state.",
)


_LISTEN = (
    click.option("--listen", default="", metavar="HOST:PORT", help="Serve clients over HTTP there; port 0 is any."),
    click.option("--url", default="", help="What clients call that endpoint, where its address is another."),
    click.option("--host", "hosts", multiple=True, help="Another name that clients reach it by (several)."),
    click.option("--tls-cert", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Listen over TLS."),
    click.option("--tls-key", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="The key of that."),
    click.option(
        "--client-ca",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="Demand certificates of clients, vouched for by these; each is the agent that its SPIFFE id names.",
    ),
)


def _listening(made: Any) -> Any:
    for option in reversed(_LISTEN):
        made = option(made)
    return made


@command(
    "proxy",
    examples="""
    aisecops mcp proxy --name filesystem -- npx -y @modelcontextprotocol/server-filesystem .
    aisecops mcp proxy --servers claude_desktop_config.json
                                            several servers as one; their tools are called server__tool
    aisecops mcp proxy --upstream crm=https://crm.corp.example/mcp --upstream-token crm=crm.token
    aisecops mcp proxy --listen 127.0.0.1:8480 --servers mcp.json
                                            for any number of clients over HTTP; each shows a token for that URL
    """,
)
@click.option("--name", default="", help="What policy calls the server of the command line.")
@click.option(
    "--servers",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A client's configuration file whose servers are run or reached instead.",
)
@_listening
@_UPSTREAM
@UPSTREAM_TOKEN
@UPSTREAM_CA
@ENVIRONMENT
@AGENT
@PINS
@_SECONDS
@_BYTES
@APPROVAL_SECONDS
@APPROVALS_URL
@_SPOOL
@click.argument("line", nargs=-1, type=click.UNPROCESSED, help="The server's command line, behind --.")
def proxy(
    *,
    name: str,
    servers: Path | None,
    listen: str,
    url: str,
    hosts: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    client_ca: Path | None,
    upstream: tuple[str, ...],
    upstream_token: tuple[str, ...],
    upstream_ca: Path | None,
    environment: str,
    agent: str,
    pins: Path | None,
    call_seconds: float,
    message_bytes: int,
    approval_seconds: float,
    approvals_url: str,
    spool: str,
    line: tuple[str, ...],
) -> ExitCode:
    """Stand between an MCP client and its servers, and decide every call.

    The client runs this instead of the server, and speaks to it over standard input and output; the servers are started
    by their commands, or reached over Streamable HTTP with a token of the proxy's own. Each call of a tool is
    decided before the server sees it, and the tools that the agent may not use are not listed. Who the agent is says
    its token or certificate. With --listen, clients reach it over HTTP instead, and each is the agent that its own
    token proves, unless this machine's clients are one agent that is given here.
    """
    from aisecops_server.cli.mcp.mcp_front import ListenOptions, serve_clients  # noqa: PLC0415

    if line and servers is None and not name:
        raise click.UsageError("--name: say what policy calls the server, or use 'aisecops guard'")
    places = _places(name, servers, line, Upstreams(upstream, upstream_token, upstream_ca))
    bounds = _bounds(message_bytes, call_seconds, pins, asking(approval_seconds, approvals_url))
    options = ListenOptions(listen, url, hosts, tls_cert, tls_key, client_ca)
    _require_listening(options)
    if not listen:
        return _serve(places, environment=environment, agent=agent, bounds=bounds, spool=spool)
    serve_clients(places, options, bounds, environment=environment, agent=agent, spool=spool)
    return ExitCode.OK


@command(
    "guard",
    examples="""
    aisecops guard -- npx -y @modelcontextprotocol/server-filesystem .   policy calls it filesystem
    aisecops guard --name notes -- python notes_server.py
    """,
)
@click.option("--name", default="", help="What policy calls the server; else it is read off the command.")
@ENVIRONMENT
@AGENT
@PINS
@_SECONDS
@_BYTES
@APPROVAL_SECONDS
@APPROVALS_URL
@_SPOOL
@click.argument("line", nargs=-1, required=True, type=click.UNPROCESSED, help="The server's command line, behind --.")
def guard(
    *,
    name: str,
    environment: str,
    agent: str,
    pins: Path | None,
    call_seconds: float,
    message_bytes: int,
    approval_seconds: float,
    approvals_url: str,
    spool: str,
    line: tuple[str, ...],
) -> ExitCode:
    """Run an MCP server so that every call of it is decided first.

    Whoever starts this speaks to it as to the server itself. It is 'aisecops mcp proxy' for one server.
    """
    places = places_of(name or name_of(line), None, line, tokens={})
    bounds = _bounds(message_bytes, call_seconds, pins, asking(approval_seconds, approvals_url))
    return _serve(places, environment=environment, agent=agent, bounds=bounds, spool=spool)


@dataclass(frozen=True, slots=True)
class Upstreams:
    """What a command line says of servers at a URL: ``NAME=URL``, ``NAME=FILE`` with a token, who vouches for them."""

    urls: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    authority: Path | None = None


def places_of(
    name: str, servers: Path | None, line: tuple[str, ...], *, tokens: Mapping[str, Path], authority: Path | None = None
) -> dict[str, Reached]:
    """Return the servers that a command line names: one by its own command, or those of a client's configuration.

    Raises:
        click.UsageError: both are given, or none, or a file is no configuration.
    """
    from aisecops_mcp.client_config import ConfigError, places_in  # noqa: PLC0415
    from aisecops_mcp.http_address import AddressError  # noqa: PLC0415
    from aisecops_mcp.server_process import Command  # noqa: PLC0415

    if bool(line) == (servers is not None):
        raise click.UsageError("give either a server's command line behind --, or --servers FILE")
    if servers is None:
        return {name: Command(line)}
    try:
        return places_in(servers.read_bytes(), tokens, authority)
    except (ConfigError, AddressError) as error:
        raise click.UsageError(f"{servers}: {error}") from error


def name_of(line: tuple[str, ...]) -> str:
    """Return what a server is called that a command line starts: its package, else its program, without the ornaments.

    Raises:
        click.UsageError: no name can be read off it.
    """
    words = [word for word in line if not word.startswith("-")]
    wanted = next((word for word in words if "server" in word or "mcp" in word), words[0] if words else "")
    name = PurePath(wanted).name.removesuffix(".py").removesuffix(".js").split("@")[0].replace("_", "-")
    for ornament in ("mcp-server-", "server-", "mcp-"):
        name = name.removeprefix(ornament)
    for ornament in ("-mcp-server", "-server", "-mcp"):
        name = name.removesuffix(ornament)
    if not name:
        raise click.UsageError(f"no name can be read off {' '.join(line)!r}; give one with --name")
    return name


def _places(name: str, servers: Path | None, line: tuple[str, ...], upstreams: Upstreams) -> dict[str, Reached]:
    from aisecops_mcp.http_address import Address, AddressError  # noqa: PLC0415

    urls, tokens = _pairs("--upstream", upstreams.urls), token_files(upstreams.tokens)
    started = (
        places_of(name, servers, line, tokens=tokens, authority=upstreams.authority)
        if line or servers or not urls
        else {}
    )
    if twice := urls.keys() & started.keys():
        raise click.UsageError(f"--upstream: there is another server that is called {', '.join(sorted(twice))}")
    try:
        reached = {server: Address(url, tokens.get(server), upstreams.authority) for server, url in urls.items()}
        places: dict[str, Reached] = {**started, **reached}
        at_urls = {server: place for server, place in places.items() if isinstance(place, Address)}
        if unknown := tokens.keys() - at_urls.keys():
            raise click.UsageError(f"--upstream-token: no server at a URL is called {', '.join(sorted(unknown))}")
        for address in at_urls.values():
            address.token()
    except AddressError as error:
        raise click.UsageError(f"--upstream: {error}") from error
    return places


def token_files(given: tuple[str, ...]) -> dict[str, Path]:
    """Return the files with the proxy's own tokens, by server.

    Raises:
        click.UsageError: they are not given so.
    """
    return {server: Path(file) for server, file in _pairs("--upstream-token", given).items()}


def _require_listening(options: ListenOptions) -> None:
    how = (options.url, options.hosts, options.certificate, options.key, options.authorities)
    if not options.address and any(how):
        raise click.UsageError(
            "--url, --host, --tls-cert, --tls-key and --client-ca say how --listen does it, which is not given"
        )


def _pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    found = {name: value for name, _, value in (one.partition("=") for one in given) if name and value}
    if len(found) != len(given):
        raise click.UsageError(f"{option}: give NAME=VALUE, each name once")
    return found


def asking(seconds: float, url: str) -> Asking:
    """Return how calls wait for people.

    Raises:
        click.UsageError: people would not be safe at that address.
    """
    from aisecops_mcp.consent import Asking  # noqa: PLC0415

    try:
        return Asking(seconds, url)
    except ValueError as error:
        raise click.UsageError(f"--approvals-url: {error}") from error


def _bounds(message_bytes: int, call_seconds: float, pins: Path | None, asking: Asking) -> Bounds:
    from aisecops_mcp.definitions import PinsError, pins_in  # noqa: PLC0415
    from aisecops_mcp.stdio import Bounds  # noqa: PLC0415

    try:
        return Bounds(message_bytes, call_seconds, pins_in(pins.read_bytes()) if pins else {}, asking)
    except PinsError as error:
        raise click.UsageError(f"{pins}: {error}") from error


def _serve(places: Mapping[str, Reached], *, environment: str, agent: str, bounds: Bounds, spool: str) -> ExitCode:
    import asyncio  # noqa: PLC0415

    from aisecops_mcp.governor import Governor  # noqa: PLC0415
    from aisecops_mcp.stdio import serve  # noqa: PLC0415
    from aisecops_mcp.talk import say  # noqa: PLC0415

    from aisecops_server.cli.connection import connect_async  # noqa: PLC0415
    from aisecops_server.cli.credentials import credential  # noqa: PLC0415
    from aisecops_server.cli.mcp.mcp_spool import completions_in  # noqa: PLC0415

    async def run() -> None:
        async with connect_async(agent=agent) as client:
            kept = completions_in(spool)
            governor = Governor(
                client, environment=environment, renew=lambda: credential(agent), completions=kept.of(agent)
            )
            try:
                await serve(places, governor, say, bounds)
            finally:
                await kept.close()

    try:
        asyncio.run(run())
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return ExitCode.OK
