"""Erasing what agents and people wrote, and holding what must not be erased."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from aisecops.v1 import retention_service_pb2 as api
from aisecops.v1.retention_service_pb2_grpc import RetentionServiceStub

from aisecops_client.client import Client
from aisecops_client.errors import from_rpc_error

_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Retention:
    """Asks the control plane of ``client``. Each call raises ``AisecopsClientError`` where it is refused."""

    client: Client

    def plan(self) -> Iterator[api.DueTrace]:
        """Yield the traces whose time is over."""
        return self._stream(self._stub.PlanRetention, api.PlanRetentionRequest())

    def apply(self) -> Iterator[api.DueTrace]:
        """Erase them, and yield what became of each."""
        return self._stream(self._stub.ApplyRetention, api.ApplyRetentionRequest())

    def erase(self, trace_id: str, *, reason: str) -> api.EraseTraceResponse:
        """Erase one trace, as far as it is recorded by now."""
        return self._call(self._stub.EraseTrace, api.EraseTraceRequest(trace_id=trace_id, reason=reason))

    def hold(self, *, trace_ids: Sequence[str] = (), agent_ids: Sequence[str] = (), reason: str) -> api.Hold:
        """Hold traces, or whatever agents did and will do."""
        request = api.AddHoldRequest(trace_ids=trace_ids, agent_ids=agent_ids, reason=reason)
        return self._call(self._stub.AddHold, request).hold

    def release(self, hold_id: str, *, reason: str) -> api.Hold:
        """Release a hold, or ask for it where that takes two; the answer says which."""
        return self._call(self._stub.ReleaseHold, api.ReleaseHoldRequest(hold_id=hold_id, reason=reason)).hold

    def holds(self, *, released: bool = False) -> api.ListHoldsResponse:
        """Return the holds, oldest first."""
        return self._call(self._stub.ListHolds, api.ListHoldsRequest(released=released))

    @property
    def _stub(self) -> RetentionServiceStub:
        return RetentionServiceStub(self.client.channel)

    def _call(self, method: Callable[..., _R], request: Any) -> _R:
        try:
            return method(request, metadata=self.client.metadata, timeout=self.client.work_seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    def _stream(self, method: Callable[..., Any], request: Any) -> Iterator[api.DueTrace]:
        try:
            for answer in method(request, metadata=self.client.metadata):
                yield answer.trace
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
