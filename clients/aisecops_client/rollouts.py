"""Bringing a revision to agents step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from aisecops.v1 import rollout_service_pb2 as api
from aisecops.v1.rollout_service_pb2_grpc import RolloutServiceStub

from aisecops_client.client import Client
from aisecops_client.errors import from_rpc_error

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rollouts:
    """Asks the control plane of ``client`` about rollouts. Every method raises ``AisecopsClientError`` when refused."""

    client: Client

    def start(self, revision: str, *, reason: str = "", seconds: int = 0, decisions: int = 0) -> api.Rollout:
        """Have a revision see live plans, and decide none."""
        request = api.StartRolloutRequest(revision=revision, reason=reason, seconds=seconds, decisions=decisions)
        return self._ask(lambda stub: stub.StartRollout, request).rollout

    def canary(self, selector: api.RolloutSelector, *, reason: str = "") -> api.Rollout:
        """Have the candidate decide for the agents that ``selector`` chooses."""
        return self._ask(lambda stub: stub.SetCanary, api.SetCanaryRequest(selector=selector, reason=reason)).rollout

    def promote(self, *, reason: str = "", force: bool = False) -> api.Rollout:
        """Make the candidate live."""
        request = api.PromoteRolloutRequest(reason=reason, force=force)
        return self._ask(lambda stub: stub.PromoteRollout, request).rollout

    def roll_back(self, *, reason: str = "") -> api.Rollout:
        """Take the candidate back."""
        return self._ask(lambda stub: stub.RollBackRollout, api.RollBackRolloutRequest(reason=reason)).rollout

    def abort(self, *, reason: str = "") -> api.Rollout:
        """End the rollout that is under way."""
        return self._ask(lambda stub: stub.AbortRollout, api.AbortRolloutRequest(reason=reason)).rollout

    def current(self) -> api.GetRolloutResponse:
        """Return the rollout that is under way, or the last one."""
        return self._ask(lambda stub: stub.GetRollout, api.GetRolloutRequest())

    def recent(self, *, limit: int = 0) -> api.ListRolloutsResponse:
        """Return the latest rollouts, newest first."""
        return self._ask(lambda stub: stub.ListRollouts, api.ListRolloutsRequest(page_size=limit))

    def _ask(self, method: Callable[[RolloutServiceStub], Callable[..., T]], request: Any) -> T:
        stub = RolloutServiceStub(self.client.channel)
        try:
            return method(stub)(request, metadata=self.client.metadata, timeout=self.client.work_seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
