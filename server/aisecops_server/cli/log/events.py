"""The audit log as a stream, through the API."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from aisecops.v1.export_service_pb2 import ExportEventsRequest, ExportEventsResponse
from aisecops_client import Client
from aisecops_client.errors import AisecopsClientError
from aisecops_client.exports import Exports
from google.protobuf.message import Message

from aisecops_server.cli.configuration import tenant_settings
from aisecops_server.cli.connection import connect, to_json
from aisecops_server.cli.invocation import current


def stream(first: int, *, follow: bool, trace: str) -> Iterator[dict[str, Any]]:
    """Yield events in log order from ``first`` on, as the API's JSON."""
    yield from _streamed(lambda client: client.events(from_index=first, follow=follow, trace_id=trace))


def incidents(first: int, *, follow: bool) -> Iterator[dict[str, Any]]:
    """Yield incidents in log order from ``first`` on, as the API's JSON."""
    yield from _streamed(lambda client: client.follow_incidents(from_index=first, follow=follow))


def exported_events(request: ExportEventsRequest) -> Iterator[ExportEventsResponse]:
    """Yield what each event makes in the format that is asked for; an interrupt ends it in good order."""
    with connect() as client, _ended_by_interrupt(client) as interrupted:
        try:
            yield from Exports(client).events(request)
        except AisecopsClientError:
            if not interrupted.is_set():
                raise
        if interrupted.is_set():
            raise KeyboardInterrupt


def _streamed(call: Callable[[Client], Iterator[Message]]) -> Iterator[dict[str, Any]]:
    with connect() as client, _ended_by_interrupt(client) as interrupted:
        try:
            for message in call(client):
                yield to_json(message)
        except AisecopsClientError:
            if not interrupted.is_set():
                raise
        if interrupted.is_set():
            raise KeyboardInterrupt


@contextlib.contextmanager
def _ended_by_interrupt(client: Client) -> Iterator[threading.Event]:
    """Let the first interrupt end the call: raised wherever the program happens to be, it could be swallowed there."""
    interrupted = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        # Elsewhere, because this handler may run while its own thread holds a lock of the call.
        threading.Thread(target=client.close, daemon=True).start()

    earlier = signal.signal(signal.SIGINT, end)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, earlier)


def first_index(*, everything: bool) -> int:
    """Return where a tail starts: at the end of the local log, or at the beginning when that is not known."""
    if everything or current().server:
        return 0
    from aisecops_server.cli.log.local_log import log_size  # noqa: PLC0415 - SQLite is only needed here

    return log_size(tenant_settings())
