"""At an edge: the centre, over gRPC and mutual TLS. What it answers is bounded here and believed nowhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from aisecops.v1 import edge_pb2
from aisecops.v1 import edge_service_pb2 as api
from aisecops.v1.edge_service_pb2_grpc import EdgeServiceStub
from aisecops_client.errors import AisecopsClientError, from_rpc_error
from aisecops_client.messages import bearer
from aisecops_client.transport import PLAIN_OPTIONS, TLS_OPTIONS, is_local, tls

from aisecops_server.domain.bundles.release import SignedRelease
from aisecops_server.domain.errors import (
    AisecopsError,
    InvalidRequestError,
    RecordsRefusedError,
    RepositoryUnavailableError,
)
from aisecops_server.domain.log.record import LogHead
from aisecops_server.ports.edges import Batch

if TYPE_CHECKING:
    from aisecops.v1.edge_service_pb2_grpc import EdgeServiceAsyncStub

_CALL_SECONDS = 20.0
_ARCHIVE_SECONDS = 120.0
_PART_BYTES = 1024 * 1024
_TOKEN_CHARACTERS = 4096
_ROOT_BYTES = 32
# A centre that is back is to be found soon, however long it was away.
_AGAIN = (("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 5_000))


@dataclass(frozen=True, slots=True)
class Access:
    """How the centre is reached: over TLS beyond this machine, as the holder of a certificate, of a token, or both."""

    address: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token_file: Path | None = None

    def require_usable(self) -> None:
        """Refuse what could let nobody in, or would send a token in plain text.

        Raises:
            InvalidRequestError: it does not fit together.
        """
        if bool(self.certificate) != bool(self.key):
            raise InvalidRequestError(
                "centre_certificate and centre_key belong together", hint="Set both", field="centre_certificate"
            )
        if not (self.certificate or self.token_file):
            raise InvalidRequestError(
                "nothing says to the centre who this edge is",
                hint="Set centre_certificate and centre_key, or centre_token_file",
                field="centre_certificate",
            )
        if not is_local(self.address) and not self.ca:
            raise InvalidRequestError(
                f"the centre {self.address} is not on this machine, so it is reached over TLS only",
                hint="Set centre_ca to the authorities that its certificate comes from",
                field="centre_ca",
            )

    def stamps(self) -> tuple[int, ...]:
        """Return what changes when a file is renewed."""
        return tuple(path.stat().st_mtime_ns for path in (self.ca, self.certificate, self.key) if path)

    def open(self) -> grpc.aio.Channel:
        """Return a channel."""
        if self.ca is None and self.certificate is None:
            return grpc.aio.insecure_channel(self.address, options=(*PLAIN_OPTIONS, *_AGAIN))
        credentials = tls(ca=self.ca, certificate=self.certificate, key=self.key)
        return grpc.aio.secure_channel(self.address, credentials, options=(*TLS_OPTIONS, *_AGAIN))

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the token of this moment, as metadata."""
        if self.token_file is None:
            return ()
        with self.token_file.open(encoding="ascii") as stream:
            return bearer(stream.read(_TOKEN_CHARACTERS).strip())


@dataclass(slots=True)
class GrpcCentre:
    """Implements ``Centre``. Renewed certificates and tokens are taken by the next call."""

    access: Access
    _channel: grpc.aio.Channel | None = None
    _before: grpc.aio.Channel | None = None
    _stamps: tuple[int, ...] = ()
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def release(self, nonce: str) -> SignedRelease:
        """Return the centre's word on which bundle is live."""
        async with self._calling() as (stub, metadata):
            answer = await stub.GetRelease(api.GetReleaseRequest(nonce=nonce), metadata=metadata, timeout=_CALL_SECONDS)
        return SignedRelease(answer.release, answer.signature)

    async def archive(self, digest: str, *, limit: int) -> bytes:
        """Return the archive of the bundle that was released last, of at most ``limit`` bytes."""
        content = bytearray()
        async with self._calling() as (stub, metadata):
            call = stub.GetBundle(api.GetBundleRequest(digest=digest), metadata=metadata, timeout=_ARCHIVE_SECONDS)
            async for part in call:
                content += part.content
                if len(content) > limit:
                    call.cancel()
                    raise RepositoryUnavailableError(f"the centre's bundle is larger than {limit} bytes")
        return bytes(content)

    async def enrol(self, log_key: str, grant_keys: bytes) -> LogHead:
        """Make keys known and return how much of the log the centre has recorded."""
        async with self._calling() as (stub, metadata):
            request = api.EnrolRequest(log_key=log_key, grant_keys=grant_keys)
            answer = await stub.Enrol(request, metadata=metadata, timeout=_CALL_SECONDS)
        return _head(answer.reconciled)

    async def reconcile(self, batch: Batch) -> LogHead:
        """Have a part of the log recorded and return how much the centre has by then, durably."""
        async with self._calling() as (stub, metadata):
            call = stub.Reconcile(_sent(batch), metadata=metadata, timeout=_ARCHIVE_SECONDS)
            answers = [answer async for answer in call]
        if len(answers) != 1:
            raise RepositoryUnavailableError("the centre did not acknowledge a batch")
        return _head(answers[0].reconciled)

    async def close(self) -> None:
        """Close the connection."""
        for channel in (self._channel, self._before):
            if channel is not None:
                await channel.close()

    @contextlib.asynccontextmanager
    async def _calling(self) -> AsyncIterator[tuple[EdgeServiceAsyncStub, tuple[tuple[str, str], ...]]]:
        try:
            stub: EdgeServiceAsyncStub = EdgeServiceStub(await self._opened())
            yield stub, await asyncio.to_thread(self.access.metadata)
        except grpc.RpcError as error:
            raise _said(self.access.address, from_rpc_error(error)) from error
        except (OSError, ValueError) as error:
            raise RepositoryUnavailableError(
                f"the centre {self.access.address} cannot be called: {error}",
                hint="Check the files of centre_ca, centre_certificate, centre_key and centre_token_file",
            ) from error

    async def _opened(self) -> grpc.aio.Channel:
        async with self._opening:
            stamps = await asyncio.to_thread(self.access.stamps)
            if self._channel is None or stamps != self._stamps:
                # Calls may be under way on the one before; of the one before that they are long over.
                if self._before is not None:
                    await self._before.close()
                self._before = self._channel
                self._channel, self._stamps = self.access.open(), stamps
            return self._channel


async def _sent(batch: Batch) -> AsyncIterator[api.ReconcileRequest]:
    for part in _parts(batch):
        yield part


def _parts(batch: Batch) -> Iterator[api.ReconcileRequest]:
    """Yield the batch in messages that are small, or hold one large event alone; the checkpoint comes last."""
    part, size = api.ReconcileRequest(start=batch.start), 0
    for body, payload in zip(batch.events, batch.payloads, strict=True):
        length = len(body) + len(payload)
        if size and size + length > _PART_BYTES:
            yield part
            part, size = api.ReconcileRequest(start=batch.start), 0
        part.events.append(body)
        part.payloads.append(payload)
        size += length
    if size:
        yield part
    yield api.ReconcileRequest(start=batch.start, checkpoint=batch.checkpoint)


def _head(message: edge_pb2.LogHead) -> LogHead:
    if message.size < 0 or len(message.root) != _ROOT_BYTES:
        raise RepositoryUnavailableError("the centre's answer holds no head of a log")
    return LogHead(message.size, message.root)


def _said(address: str, error: AisecopsClientError) -> AisecopsError:
    if error.reason == RecordsRefusedError.reason:
        facts = {name: error.metadata[name] for name in ("why", "expected") if name in error.metadata}
        return RecordsRefusedError(f"the centre refuses the records of this edge: {error.message}", **facts)
    what = "does not let this edge in" if error.reason else "cannot be reached"
    return RepositoryUnavailableError(f"the centre {address} {what}: {error.message}")
