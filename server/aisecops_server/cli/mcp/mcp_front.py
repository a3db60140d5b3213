"""``aisecops mcp proxy --listen``: the proxy as a server of its own, for clients that speak HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import socket
    import ssl

    from aisecops_client.completions import CompletionsByAgent
    from aisecops_mcp.callers import Door
    from aisecops_mcp.opening import Reached
    from aisecops_mcp.stdio import Bounds

_ENDPOINT = "/mcp"
_EVERY_ADDRESS = frozenset({"0.0.0.0", "[::]", "::"})  # noqa: S104 - refused without a name


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """What the command line says of listening. ``url`` is what clients call the endpoint, if not by its address."""

    address: str
    url: str = ""
    hosts: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None


def serve_clients(
    places: Mapping[str, Reached], options: ListenOptions, bounds: Bounds, *, environment: str, agent: str, spool: str
) -> None:
    """Serve clients over HTTP until the process is asked to end.

    Raises:
        click.UsageError: what the command line says does not fit together.
    """
    from aisecops_mcp.callers import Resource  # noqa: PLC0415
    from aisecops_mcp.http_listener import ListenError  # noqa: PLC0415
    from aisecops_mcp.http_serving import Place, serve_http  # noqa: PLC0415
    from aisecops_mcp.talk import say  # noqa: PLC0415

    from aisecops_server.cli.configuration import settings  # noqa: PLC0415
    from aisecops_server.cli.mcp.mcp_spool import completions_in  # noqa: PLC0415

    try:
        at, tls, url = _bound(options)
    except ListenError as error:
        raise click.UsageError(f"--listen: {error}") from error
    issuer = settings().token_issuer
    try:
        resource = Resource(url, (issuer,) if issuer.startswith("https://") else ())
    except ValueError as error:
        at.close()
        raise click.UsageError(f"--url: {error}") from error
    place = Place(at, resource, tls, options.hosts)

    async def run() -> None:
        completions = completions_in(spool)
        with _door(options, environment, agent, url, completions=completions) as door:
            await serve_http(places, door, place, bounds, say=say, ready=lambda: click.echo(f"listening on {url}"))
            await completions.close()

    with contextlib.closing(at):
        asyncio.run(run())


def _bound(options: ListenOptions) -> tuple[socket.socket, ssl.SSLContext | None, str]:
    from aisecops_mcp.http_listener import address_of, bound, tls_with  # noqa: PLC0415

    if bool(options.certificate) != bool(options.key):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    if options.authorities and not options.certificate:
        raise click.UsageError("--client-ca: clients show certificates over TLS only, so give --tls-cert and --tls-key")
    if not options.url and options.address.rpartition(":")[0] in _EVERY_ADDRESS:
        raise click.UsageError("--listen: clients call this by a name, and a token is for that: give it with --url")
    certificate, key = options.certificate, options.key
    tls = tls_with(certificate, key, options.authorities) if certificate and key else None
    at = bound(options.address, over_tls=tls is not None)
    return at, tls, options.url or f"{'https' if tls else 'http'}://{address_of(at)}{_ENDPOINT}"


@contextlib.contextmanager
def _door(
    options: ListenOptions, environment: str, agent: str, url: str, *, completions: CompletionsByAgent
) -> Iterator[Door]:
    from aisecops_mcp.http_address import is_loopback  # noqa: PLC0415
    from aisecops_mcp.talk import say  # noqa: PLC0415

    from aisecops_server.cli.credentials import asks_as_operator  # noqa: PLC0415
    from aisecops_server.cli.mcp.mcp_callers import OneAgent, by_token  # noqa: PLC0415

    if asks_as_operator(agent):
        with by_token(environment, url, completions, authorities=options.authorities) as door:
            yield door
        return
    if options.authorities is not None:
        raise click.UsageError(
            "--client-ca: each client is the agent that its certificate names, so give neither --agent nor --token-file"
            " nor --cert"
        )
    if not is_loopback(options.address.rpartition(":")[0].strip("[]")):
        raise click.UsageError(
            "--listen: beyond this machine each caller shows a token of its own, so give neither --agent nor"
            " --token-file nor --cert"
        )
    say(f"whoever reaches {url} on this machine is {agent or 'the agent of the credentials given here'}")
    yield OneAgent(agent, environment, completions)
