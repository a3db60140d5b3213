"""A worker and a scheduler of a replay cluster, each one process that runs until it is told to stop.

A worker reads history and policy by itself and asks engines of its own. It is handed no log to append to, no ledger and
no key that anything else believes; what it is asked for are parts of replays and nothing else is of use to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from weakref import WeakKeyDictionary

import dask
from distributed import Scheduler, Security, Worker, get_worker

from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.replays.replay_part_json import answer_bytes, failure_bytes, read_asked
from aisecops_server.ports.replay import Parts

_AT_ONCE = 3
_AGAIN_SECONDS = 0.5
_CONNECT_SECONDS = 5
# What these would serve over HTTP is for anybody who asks, so nothing is; the port is of this machine alone.
_NO_PAGES: dict[str, object] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}
_NO_PAGES_AT = "127.0.0.1:0"
_logger = logging.getLogger(__name__)
_parts: WeakKeyDictionary[Worker, Parts] = WeakKeyDictionary()


async def judge_part(content: bytes) -> bytes:
    """Judge one part on the worker that this runs on; what goes wrong is told and not raised."""
    parts = _parts.get(get_worker())
    if parts is None:
        return failure_bytes("this worker is none of a replay cluster")
    try:
        return answer_bytes(await parts.judge(read_asked(content)))
    except AisecopsError as error:
        return failure_bytes(error.diagnostics())
    except (KeyError, TypeError, ValueError) as error:
        return failure_bytes(f"it was asked what it cannot read: {error}")


async def run_worker(
    address: str, security: Security, parts: Parts, *, directory: Path, stop: asyncio.Event, told: Callable[[str], None]
) -> None:
    """Judge parts for the scheduler at ``address``, waiting for one, until ``stop``; ``told`` where this worker is."""
    _prepare()
    while not stop.is_set():
        try:
            async with Worker(
                f"tls://{address}",
                security=security,
                nthreads=_AT_ONCE,
                local_directory=str(directory),
                dashboard=False,
                dashboard_address=_NO_PAGES_AT,
                memory_limit=0,
                death_timeout=_CONNECT_SECONDS,
            ) as worker:
                _parts[worker] = parts
                told(worker.address)
                await _first(stop.wait(), worker.finished())
        except (OSError, TimeoutError) as error:
            _logger.warning("no scheduler at %s: %s", address, error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _AGAIN_SECONDS)


async def run_scheduler(listen: str, security: Security, *, stop: asyncio.Event, told: Callable[[str], None]) -> None:
    """Hand out parts on ``listen`` (``host:port``) until ``stop``; ``told`` is where it listens. Keeps nothing."""
    _prepare()
    host, _, port = listen.rpartition(":")
    serving = Scheduler(
        host=host,
        port=int(port),
        protocol="tls",
        security=security,
        dashboard=False,
        dashboard_address=_NO_PAGES_AT,
    )
    async with serving as scheduler:
        told(scheduler.address)
        await _first(stop.wait(), scheduler.finished())


def _prepare() -> None:
    dask.config.set(_NO_PAGES)
    logging.getLogger("distributed").setLevel(logging.WARNING)


async def _first(*waits: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(each) for each in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
