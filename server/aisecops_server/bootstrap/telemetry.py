"""The composition of what tells a collector of decisions. Handed the log to read, and nothing that acts."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from importlib import metadata
from typing import Any

from aisecops_server.adapters.collector.http_collector import read_collector
from aisecops_server.adapters.collector.position_file import PositionFile
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.usecases.evidence.tell_collector import TellCollector

POSITION_FILE = "otlp.position"


def telling(plane: ControlPlane) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
    """Return the task that tells the collector of the settings, by name; none where there is no collector.

    Raises:
        InvalidRequestError: the settings name none that may be used.
    """
    settings = plane.settings
    if not settings.otlp_endpoint:
        return {}

    async def size() -> int:
        return (await plane.log.head()).size

    tell = TellCollector(
        log=plane.log,
        collector=read_collector(settings.otlp_endpoint),
        store=PositionFile(settings.state_dir / POSITION_FILE),
        size=size,
        origin=plane.publish.keys.origin,
        producer=metadata.version("aisecops"),
    )
    return {"tell the collector": tell.run}
