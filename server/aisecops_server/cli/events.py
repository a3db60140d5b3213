"""The audit log as a stream, through the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aisecops_server.cli.configuration import settings
from aisecops_server.cli.connection import connect, to_json
from aisecops_server.cli.invocation import current


def stream(first: int, *, follow: bool, trace: str) -> Iterator[dict[str, Any]]:
    """Yield events in log order from ``first`` on, as the API's JSON."""
    with connect() as client:
        for event in client.events(from_index=first, follow=follow, trace_id=trace):
            yield to_json(event)


def first_index(*, everything: bool) -> int:
    """Return where a tail starts: at the end of the local log, or at the beginning when that is not known."""
    if everything or current().server:
        return 0
    from aisecops_server.cli.local_log import log_size  # noqa: PLC0415 - SQLite is only needed here

    return log_size(settings())
