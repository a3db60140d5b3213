"""``aisecops metrics``: the nine figures of governance, as the page of the UI counts them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show
from aisecops_server.domain.display.words import counted

if TYPE_CHECKING:
    from aisecops_client.client import Client
    from google.protobuf.message import Message
    from rich.console import Console

_M = TypeVar("_M", bound="Message")


@command(
    "metrics",
    examples="""
    aisecops metrics
    aisecops metrics -o json | jq '.figures[] | {name, number, week, weekBefore}'
    """,
)
def metrics() -> ExitCode:
    """Show the nine figures of governance, each with what it means and its parts.

    They are counted just now from the latest traces, as on the page of metrics in the UI. How it goes this minute shows
    'aisecops top'; what a monitoring system reads is at /metrics of the metrics_address.
    """
    from aisecops_server.cli.connection import connect  # noqa: PLC0415
    from aisecops_server.entrypoints.web.metrics import figures, last_day, plain, read_material  # noqa: PLC0415

    with connect() as client:
        found = asyncio.run(read_material(_Asking(client)))
    told = {"figures": plain(figures(found), last_day(found)), "traces": len(found.traces)}
    show(told, lambda target: _draw(target, told))
    say(f"over the latest {counted(len(found.traces), 'trace')}")
    return ExitCode.OK


def _draw(target: Console, told: dict[str, Any]) -> None:
    from aisecops_server.terminal.figures import figure_table  # noqa: PLC0415

    target.print(figure_table(told["figures"]))


@dataclass(frozen=True, slots=True)
class _Asking:
    """Makes calls by their names, as whoever the command line says."""

    client: Client

    async def ask(self, call: str, request: Message, answer: type[_M]) -> _M:
        """Make a call with one answer."""
        from aisecops_client.errors import from_rpc_error  # noqa: PLC0415
        from grpc import RpcError  # noqa: PLC0415

        method = self.client.channel.unary_unary(
            f"/aisecops.v1.{call}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        try:
            found: _M = method(request, metadata=self.client.metadata, timeout=self.client.work_seconds)
        except RpcError as error:
            raise from_rpc_error(error) from error
        return found

    async def attempt(self, call: str, request: Message, answer: type[_M]) -> tuple[_M | None, str]:
        """Make a call that can be done without."""
        from aisecops_client.errors import AisecopsClientError  # noqa: PLC0415

        try:
            return await self.ask(call, request, answer), ""
        except AisecopsClientError as error:
            return None, str(error)
