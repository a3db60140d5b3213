"""What people say about what a replay changes: record a verdict, read them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from aisecops.v1 import review_service_pb2 as api
from aisecops.v1.review_service_pb2_grpc import ReviewServiceStub

from aisecops_client.client import Client
from aisecops_client.errors import from_rpc_error

_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Reviews:
    """Asks the control plane of ``client`` about reviews of replays."""

    client: Client

    def judge(
        self,
        replay_id: str,
        judgement: api.Judgement.ValueType,
        *,
        group_id: str = "",
        decision_id: str = "",
        reason: str = "",
    ) -> api.FlipVerdict:
        """Say about a group of a replay, or about one decision, that it was seen, expected, or unexpected.

        Raises:
            AisecopsClientError: the caller may not, there is no such thing, or a reason is missing.
        """
        asked = api.JudgeFlipRequest(replay_id=replay_id, judgement=judgement, reason=reason)
        if group_id:
            asked.group_id = group_id
        if decision_id:
            asked.decision_id = decision_id
        return self._call(self._stub.JudgeFlip, asked).verdict

    def review(self, replay_id: str) -> api.GetReviewResponse:
        """Return what was said about a replay.

        Raises:
            AisecopsClientError: there is none.
        """
        return self._call(self._stub.GetReview, api.GetReviewRequest(replay_id=replay_id))

    @property
    def _stub(self) -> ReviewServiceStub:
        return ReviewServiceStub(self.client.channel)

    def _call(self, method: Callable[..., _R], request: Any) -> _R:
        try:
            return method(request, metadata=self.client.metadata, timeout=2 * self.client.work_seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
