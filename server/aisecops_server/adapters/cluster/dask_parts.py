"""Parts of a replay on a Dask cluster: who asks its scheduler, and asks again when workers or the scheduler are lost.

A part has the same answer wherever and however often it is judged, so whatever goes wrong on the way, asking again is
right; what arrived is kept by the replay. Every connection is mutual TLS, and answers are read as bytes of JSON and
never as Python objects: who can make a worker answer can make it answer wrongly, but run nothing here.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from distributed import Client, Security
from distributed.client import FutureCancelledError, FuturesCancelledError
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from aisecops_server.adapters.cluster.keys import ClusterKeys
from aisecops_server.domain.errors import EngineUnavailableError, InvalidPlanError, InvalidRequestError
from aisecops_server.domain.replays.replay_part import PartAsked, PartFound
from aisecops_server.domain.replays.replay_part_json import asked_bytes, read_answer

Judge = Callable[[bytes], Awaitable[bytes]]

_IN_FLIGHT = 32
_RETRIES = 3
_CONNECT_SECONDS = 5
_PAUSE_SECONDS = 0.2
_LOST = (FutureCancelledError, FuturesCancelledError, CommClosedError, OSError, TimeoutError)
_SOUND = "running"
_logger = logging.getLogger(__name__)


def security(keys: ClusterKeys) -> Security:
    """Return what makes every connection of a member mutual TLS.

    Raises:
        InvalidRequestError: a file is missing.
    """
    for path in (keys.authority, keys.certificate, keys.key):
        if not path.is_file():
            raise InvalidRequestError(
                f"{path}: there is no such file",
                hint="'aisecops dev cluster DIR' makes keys for a trial",
                field="cluster",
            )
    certificate, key = str(keys.certificate), str(keys.key)
    return Security(
        require_encryption=True,
        tls_ca_file=str(keys.authority),
        tls_client_cert=certificate,
        tls_client_key=key,
        tls_worker_cert=certificate,
        tls_worker_key=key,
        tls_scheduler_cert=certificate,
        tls_scheduler_key=key,
    )


@contextlib.asynccontextmanager
async def dask_parts(
    address: str, keys: ClusterKeys, judge: Judge, *, patience_seconds: float = 60.0
) -> AsyncIterator[DaskParts]:
    """Open the cluster whose scheduler is at ``address`` (``host:port``), and let go of it again.

    Raises:
        InvalidRequestError: a key file is missing.
    """
    parts = DaskParts(f"tls://{address}", security(keys), judge, patience_seconds)
    try:
        yield parts
    finally:
        await parts.close()


class DaskParts:
    """Implements ``Parts``. ``patience_seconds`` is how long a cluster may be gone before the replay gives up."""

    at_once = _IN_FLIGHT

    def __init__(self, address: str, security: Security, judge: Judge, patience_seconds: float) -> None:
        self._address = address
        self._security = security
        self._judge = judge
        self._patience = patience_seconds
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._asked = itertools.count()

    async def judge(self, asked: PartAsked) -> PartFound:
        """Return what the cluster says of one part.

        Raises:
            EngineUnavailableError: no scheduler and no worker answered for too long, or no worker could judge it.
        """
        content = asked_bytes(asked)
        loop = asyncio.get_running_loop()
        gone_since: float | None = None
        while True:
            try:
                answer = await self._ask(asked.key, content)
                break
            except KilledWorker as error:
                raise _failed("a part of the replay took down every worker that got it", error) from error
            except _LOST as error:
                gone_since = gone_since or loop.time()
                if loop.time() - gone_since > self._patience:
                    raise _failed(f"the cluster at {self._address} does not answer", error) from error
                _logger.warning("a part of a replay is asked again: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)
        return _read(answer)

    async def close(self) -> None:
        """Let go of the cluster; what it still works on is dropped. That it is lost meanwhile fails nobody."""
        client, self._client = self._client, None
        if client is not None:
            await _let_go(client)

    async def client(self) -> Client:
        """Return a connection to the scheduler.

        One that is not sound is replaced rather than waited for: what Dask does to connect anew may itself end in an
        error that nobody who waits for an answer would hear of.
        """
        async with self._connecting:
            if self._client is not None and self._client.status != _SOUND:
                await self.close()
            if self._client is None:
                self._client = await self._connect()
            return self._client

    async def _ask(self, key: str, content: bytes) -> bytes:
        client = await self.client()
        # Each asking has a name of its own: Dask answers a name that it has not yet let go of with what became of it,
        # so what was cancelled once would stay cancelled.
        name = f"aisecops-part-{key}-{client.id}-{next(self._asked)}"
        future = client.submit(self._judge, content, key=name, retries=_RETRIES, pure=False)
        try:
            answer: bytes = await future
            return answer
        finally:
            future.release()

    async def _connect(self) -> Client:
        try:
            return await Client(
                self._address,
                security=self._security,
                asynchronous=True,
                set_as_default=False,
                timeout=_CONNECT_SECONDS,
                deserializers=["msgpack", "error"],
                name="aisecops-replay",
            )
        except (RuntimeError, ValueError) as error:
            raise ConnectionError(f"no connection: {error}") from error


async def _let_go(client: Client) -> None:
    try:
        await client.close()
    except (*_LOST, RuntimeError, ValueError) as error:
        _logger.warning("the cluster was lost while it was let go of: %s", error)
        await client.rpc.close()
        client.status = "closed"


def _read(answer: bytes) -> PartFound:
    try:
        found = read_answer(answer)
    except (InvalidPlanError, KeyError, TypeError, ValueError) as error:
        raise _failed("a worker answered with what is no result", error) from error
    if isinstance(found, str):
        raise EngineUnavailableError(
            f"a worker could not judge a part of the replay: {found}",
            hint="Mend that on the worker and run the same replay again; it goes on where it was",
        )
    return found


def _failed(what: str, error: BaseException) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"{what}: {error}",
        hint="Start a scheduler and workers ('aisecops replay scheduler', 'aisecops replay worker') and run the same "
        "replay again; it goes on where it was",
    )
