"""The composition root of a replay cluster: who asks it, its workers, and its scheduler.

Needs what the extra `cluster` installs. Whoever is a member can run programs on every other one, so a cluster has an
authority of its own: that of agents and people is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from aisecops_server.adapters.cluster.keys import ClusterKeys
from aisecops_server.adapters.corpus.corpus_file import CorpusHistory
from aisecops_server.adapters.sqlite.history import SqliteHistory
from aisecops_server.bootstrap.replay import replaying
from aisecops_server.bootstrap.state import private
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.ports.replay import Parts
from aisecops_server.settings import Settings

_PACKAGE = "distributed"


@contextlib.asynccontextmanager
async def parts_of(settings: Settings) -> AsyncIterator[Parts | None]:
    """Open the cluster of ``settings`` and let go of it again; ``None`` when there is none.

    Raises:
        InvalidRequestError: the cluster's package is not installed, or its keys do not fit.
    """
    if not settings.cluster:
        yield None
        return
    keys = _keys(settings)
    from aisecops_server.adapters.cluster.dask_parts import dask_parts  # noqa: PLC0415
    from aisecops_server.entrypoints.cluster.worker import judge_part  # noqa: PLC0415

    async with dask_parts(settings.cluster, keys, judge_part) as parts:
        yield parts


async def work(
    settings: Settings,
    *,
    instead: CorpusHistory | SqliteHistory | None,
    stop: asyncio.Event,
    told: Callable[[str], None],
) -> None:
    """Judge parts for the scheduler of ``settings`` until ``stop``, on its own view of history and policy.

    History is the log's unless another one is given ``instead``.

    Raises:
        InvalidRequestError: a setting or a key does not fit.
        EngineUnavailableError, LogUnavailableError: there is no engine, or no log to read.
    """
    if not settings.cluster:
        raise InvalidRequestError(
            "no scheduler is named", hint="Set AISECOPS_CLUSTER to the host:port of one", field="cluster"
        )
    keys = _keys(settings)
    from aisecops_server.adapters.cluster.dask_parts import security  # noqa: PLC0415
    from aisecops_server.entrypoints.cluster.worker import run_worker  # noqa: PLC0415

    async with replaying(settings, instead=instead) as made:
        directory = private(settings.state_dir / "run" / "cluster")
        await run_worker(settings.cluster, security(keys), made.parts, directory=directory, stop=stop, told=told)


async def schedule(settings: Settings, *, listen: str, stop: asyncio.Event, told: Callable[[str], None]) -> None:
    """Hand out parts of replays on ``listen`` until ``stop``.

    Raises:
        InvalidRequestError: a key does not fit.
    """
    keys = _keys(settings)
    from aisecops_server.adapters.cluster.dask_parts import security  # noqa: PLC0415
    from aisecops_server.entrypoints.cluster.worker import run_scheduler  # noqa: PLC0415

    await run_scheduler(listen, security(keys), stop=stop, told=told)


def _keys(settings: Settings) -> ClusterKeys:
    if importlib.util.find_spec(_PACKAGE) is None:
        raise InvalidRequestError(
            "a replay cluster needs a package that is not installed",
            hint="pip install 'aisecops[cluster]'",
            field="cluster",
        )
    named = (settings.cluster_ca, settings.cluster_certificate, settings.cluster_key)
    if None in named:
        raise InvalidRequestError(
            "a cluster has mutual TLS only, and not all of its keys are named",
            hint="Set AISECOPS_CLUSTER_CA, AISECOPS_CLUSTER_CERTIFICATE and AISECOPS_CLUSTER_KEY; "
            "'aisecops dev cluster DIR' makes them for a trial",
            field="cluster",
        )
    ca, certificate, key = (Path(str(path)) for path in named)
    others = settings.tls_client_ca
    if others and others.is_file() and ca.is_file() and others.read_bytes() == ca.read_bytes():
        raise InvalidRequestError(
            "the authority of the cluster is that of the callers, so any agent could run programs in it",
            hint="Give the cluster an authority of its own",
            field="cluster_ca",
        )
    return ClusterKeys(ca, certificate, key)
