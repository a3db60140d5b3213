"""Looks at a running engine from outside the decision path, with the community's client library.

``opa-python-client`` speaks the whole management API, so it is the one to ask for health and for what the API lets
a caller do; ``client`` speaks only the one call that decides. It is imported on use because it costs 0.3 s and
megabytes that serving does not need. It never changes an engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aisecops_server.domain.errors import EngineUnavailableError

_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What a look from outside found: does it answer, and does it refuse management calls."""

    healthy: bool
    locked: bool


async def look(socket: Path) -> EngineReport:
    """Return the health of the engine behind ``socket`` and whether its management API is locked.

    Raises:
        EngineUnavailableError: nothing answers at that socket.
    """
    import aiohttp  # noqa: PLC0415 - costly, and only needed here
    from opa_client.opa_async import AsyncOpaClient  # noqa: PLC0415 - the same

    client = AsyncOpaClient(host="opa", timeout=_SECONDS, retries=0)
    async with aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(path=str(socket)), timeout=aiohttp.ClientTimeout(total=_SECONDS)
    ) as session:
        client._session = session  # noqa: SLF001 - it offers no other way to a Unix socket
        try:
            return EngineReport(healthy=await client.check_health(), locked=await _is_locked(client))
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            raise EngineUnavailableError(
                f"nothing answers at {socket}", hint="Start the control plane with 'aisecops serve'"
            ) from error


async def _is_locked(client: Any) -> bool:
    import aiohttp  # noqa: PLC0415 - costly, and only needed here

    for attempt in (client.get_config, client.get_policies_list, client.get_policies_info):
        try:
            await attempt()
        except aiohttp.ClientResponseError:
            continue
        return False
    return True
