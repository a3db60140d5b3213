"""``aisecops serve``: run the control plane until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.configuration import loaded
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command, current
from aisecops_server.cli.output import say
from aisecops_server.cli.running.log_lines import begin_logging

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisecops_server.bootstrap.control_plane import ControlPlane
    from aisecops_server.entrypoints.grpc.server import RunningServer
    from aisecops_server.settings import Settings

# gRPC reads its switches when it is loaded. Its own pool of threads hands each call to a poller, which wakes ours;
# without the pool that poller waits for the sockets itself, which saves a hand-over each way.
GRPC_SWITCHES = "GRPC_EXPERIMENTS"
WITHOUT_POOL = "-event_engine_client,-event_engine_listener,-event_engine_for_all_other_endpoints"


@command(
    "serve",
    examples="""
    aisecops serve --repository ./policy
    aisecops serve --repository https://git.example/policy.git --branch main
    aisecops serve --listen-address 127.0.0.1:8443      on a TCP port of this machine as well
    AISECOPS_TENANTS_FILE=tenants.yaml aisecops serve      several policies, each for its own tenant
    aisecops serve --profile edge --centre control.example:8443 --edge-id spiffe://corp.example/edge/shop-7
    AISECOPS_CONFIG=ca/settings.yaml aisecops serve --repository ./policy      over TLS, with client certificates
    """,
)
@click.option("--repository", help="The policy repository: a path or a URL.")
@click.option("--branch", help="The branch whose head is wanted live.")
@click.option("--profile", type=click.Choice(["central", "edge"]), help="What to be: a centre, or an edge of one.")
@click.option("--centre", metavar="HOST:PORT", help="At an edge: where its centre is.")
@click.option("--edge-id", metavar="ID", help="At an edge: the id that its credential proves to the centre.")
@click.option("--listen-address", help="A host:port to serve on as well; beyond this machine it needs TLS.")
@click.option("--ui-address", help="The host:port of the UI; empty for none.")
@click.option("--poll-seconds", type=float, help="How often the policy repository is read, or the centre is asked.")
def serve(**options: Any) -> ExitCode:
    """Run the control plane.

    Serves on a Unix socket in the state directory. Every other setting is read from the environment or the
    settings file; 'aisecops config show' lists them. Stops in good order on SIGINT and SIGTERM.

    Beyond this machine it serves only over TLS with callers who are authenticated: 'aisecops dev ca' makes what a
    trial of that needs.

    With --profile edge it decides beside agents by the last policy that its centre signed, also while the centre cannot
    be reached, for as long as that policy allows. It needs no repository, and the centre records its log later.
    """
    settings = loaded(**options).settings
    if settings.profile == "edge":
        # The UI looks at what a centre has.
        settings = settings.model_copy(update={"ui_address": ""})
    level = logging.ERROR if current().quiet else logging.INFO
    begin_logging(log_format=settings.log_format, level=level)
    os.environ.setdefault(GRPC_SWITCHES, WITHOUT_POOL)
    asyncio.run(_serve(settings))
    return ExitCode.OK


async def _serve(settings: Settings) -> None:
    # Everything is composed there, and nothing before.
    from aisecops_server.bootstrap.edge import serving_edge  # noqa: PLC0415
    from aisecops_server.bootstrap.serving import serving_tenants  # noqa: PLC0415
    from aisecops_server.bootstrap.web import web  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    serves = serving_edge if settings.profile == "edge" else serving_tenants
    async with serves(settings) as (planes, running), web(settings, planes, running) as ui:
        for line in [*_greeting(settings, planes, running), *_about_ui(settings, ui)]:
            say(line)
        await stop.wait()
        say("stopping")


def _about_ui(settings: Settings, address: str) -> list[str]:
    from aisecops_server.bootstrap.web import missing, origin_of  # noqa: PLC0415

    if address:
        how = "'aisecops ui link' makes a link that signs you in"
        if settings.token_keys:
            how = "people sign in with their identity provider" if settings.oidc_client_id else "sign in with a token"
        return [f"the UI is at {origin_of(settings, address)}; {how}"]
    if settings.ui_address:
        return [f"no UI: {', '.join(missing())} is not installed; the extra [ui] of this package has it"]
    return []


def _greeting(settings: Settings, planes: Mapping[str, ControlPlane], running: RunningServer) -> list[str]:
    addresses = [address for address in (settings.listen_address, settings.listen_token_address) if address]
    ports = zip(addresses, running.ports, strict=True)
    where = " and ".join(
        [f"unix:{running.socket}", *(f"{address.rpartition(':')[0]}:{port}" for address, port in ports)]
    )
    told = [(f"{name}: " if settings.tenants_file else "") + _what_decides(plane) for name, plane in planes.items()]
    return [f"listening on {where}", *told]


def _what_decides(plane: ControlPlane) -> str:
    live = plane.policy.status().live
    if live is None:
        return f"no policy is live, every plan is refused: {plane.policy.status().problem or plane.problem()}"
    return f"policy {live.commit.id} is live ({live.commit.summary})"
