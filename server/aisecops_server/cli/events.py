"""The audit log as a stream, through the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aisecops.v1 import audit_service_pb2

from aisecops_server.cli.configuration import settings
from aisecops_server.cli.connection import connect, to_json
from aisecops_server.cli.invocation import current


def stream(first: int, *, follow: bool, trace: str) -> Iterator[dict[str, Any]]:
    """Yield events in log order from ``first`` on, as the API's JSON."""
    request = audit_service_pb2.StreamEventsRequest(from_index=first, follow=follow, trace_id=trace)
    with connect() as api:
        for answer in api.stream(api.audit.StreamEvents, request):
            yield to_json(answer.event)


def first_index(*, everything: bool) -> int:
    """Return where a tail starts: at the end of the local log, or at the beginning when that is not known."""
    if everything or current().server:
        return 0
    from aisecops_server.cli.local_log import log_size  # noqa: PLC0415 - SQLite is only needed here

    return log_size(settings())
