"""Checkpoints and proofs of the audit log: what an auditor keeps, so that nobody has to be believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from aisecops.v1 import transparency_service_pb2 as api
from aisecops.v1.transparency_service_pb2_grpc import TransparencyServiceStub

from aisecops_client.client import Client
from aisecops_client.errors import from_rpc_error

_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Transparency:
    """Asks the control plane of ``client`` for proofs."""

    client: Client

    def checkpoint(self) -> api.GetCheckpointResponse:
        """Return a signed checkpoint of the log as it is now.

        Raises:
            AisecopsClientError: there is none.
        """
        return self._call(self._stub.GetCheckpoint, api.GetCheckpointRequest())

    def inclusion(self, log_index: int) -> api.ProveInclusionResponse:
        """Return the proof that an event is in the log, and the event.

        Raises:
            AisecopsClientError: there is no such event, or no proof.
        """
        return self._call(self._stub.ProveInclusion, api.ProveInclusionRequest(log_index=log_index))

    def consistency(self, old_size: int, *, size: int = 0) -> api.ProveConsistencyResponse:
        """Return the proof that the log only grew from ``old_size`` to ``size`` (0: to now).

        Raises:
            AisecopsClientError: the log never had one of the sizes.
        """
        return self._call(self._stub.ProveConsistency, api.ProveConsistencyRequest(old_size=old_size, size=size))

    def rotate_key(self, *, reason: str) -> api.RotateLogKeyResponse:
        """Hand the log over to a new key.

        Raises:
            AisecopsClientError: it was not.
        """
        return self._call(self._stub.RotateLogKey, api.RotateLogKeyRequest(reason=reason))

    @property
    def _stub(self) -> TransparencyServiceStub:
        return TransparencyServiceStub(self.client.channel)

    def _call(self, method: Callable[..., _R], request: Any) -> _R:
        try:
            return method(request, metadata=self.client.metadata, timeout=self.client.work_seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
