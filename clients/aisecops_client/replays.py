"""Replays of recorded decisions: start one, watch it, read what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from aisecops.v1 import replay_pb2
from aisecops.v1 import replay_service_pb2 as api
from aisecops.v1.replay_service_pb2_grpc import ReplayServiceStub

from aisecops_client.client import Client
from aisecops_client.errors import from_rpc_error

_R = TypeVar("_R")
_MOST_RESULTS = 500

Advance = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class Replays:
    """Asks the control plane of ``client`` about replays."""

    client: Client

    def start(self, request: api.StartReplayRequest) -> replay_pb2.Replay:
        """Start a replay, or find the one that answers the same question.

        Raises:
            AisecopsClientError: there is nothing to replay, or nothing to replay on.
        """
        return self._call(self._stub.StartReplay, request).replay

    def watch(self, replay_id: str) -> Iterator[replay_pb2.Replay]:
        """Yield how far a replay is, now and whenever that changes, until it is over.

        Raises:
            AisecopsClientError: there is no such replay, or it may not be read any further.
        """
        watched = self._stream(self._stub.WatchReplay, api.WatchReplayRequest(replay_id=replay_id))
        yield from (response.replay for response in watched)

    def replay(self, replay_id: str) -> replay_pb2.Replay:
        """Return a replay with its report.

        Raises:
            AisecopsClientError: there is none.
        """
        return self._call(self._stub.GetReplay, api.GetReplayRequest(replay_id=replay_id)).replay

    def replays(self, *, page_size: int = 0, page_token: str = "") -> api.ListReplaysResponse:
        """Return a page of replays, newest first.

        Raises:
            AisecopsClientError: they cannot be read.
        """
        return self._call(self._stub.ListReplays, api.ListReplaysRequest(page_size=page_size, page_token=page_token))

    def results(
        self, replay_id: str, narrow: api.ReplayResultFilter | None = None
    ) -> Iterator[replay_pb2.ReplayResult]:
        """Yield the decisions that did not stay the same, in the order of the log.

        Raises:
            AisecopsClientError: they cannot be read.
        """
        token = ""
        while True:
            request = api.ListReplayResultsRequest(
                replay_id=replay_id, filter=narrow, page_size=_MOST_RESULTS, page_token=token
            )
            page = self._call(self._stub.ListReplayResults, request)
            yield from page.results
            token = page.next_page_token
            if not token:
                return

    def groups(self, replay_id: str) -> api.ListFlipGroupsResponse:
        """Return those decisions in groups of the same transition, rules and changed clauses, looser ones first.

        Raises:
            AisecopsClientError: there is no such replay.
        """
        return self._call(self._stub.ListFlipGroups, api.ListFlipGroupsRequest(replay_id=replay_id))

    def cancel(self, replay_id: str) -> replay_pb2.Replay:
        """Stop a replay; what it found is kept.

        Raises:
            AisecopsClientError: there is none.
        """
        return self._call(self._stub.CancelReplay, api.CancelReplayRequest(replay_id=replay_id)).replay

    def why(self, replay_id: str, *, decision_id: str = "", trace_id: str = "") -> api.ExplainChangeResponse:
        """Return why a decision, or those of a trace, are made differently in a replay.

        Raises:
            AisecopsClientError: there is no such replay, decision or trace.
        """
        asked = api.ExplainChangeRequest(replay_id=replay_id)
        if decision_id:
            asked.decision_id = decision_id
        if trace_id:
            asked.trace_id = trace_id
        return self._call(self._stub.ExplainChange, asked)

    def matrix(
        self, trace_ids: Sequence[str], revisions: Sequence[str], advance: Advance = lambda _done, _total: None
    ) -> replay_pb2.RevisionMatrix:
        """Return what the decisions of traces would be on several revisions; ``advance`` is told how far it is.

        Raises:
            AisecopsClientError: there is no such trace or revision, or nothing can be evaluated.
        """
        asked = api.CompareRevisionsRequest(trace_ids=trace_ids, revisions=revisions)
        last = api.CompareRevisionsResponse()
        for last in self._stream(self._stub.CompareRevisions, asked):
            advance(last.done, last.total)
        return last.matrix

    def bisect(
        self, trace_id: str, *, good: str = "", bad: str = "", advance: Advance = lambda _done, _total: None
    ) -> replay_pb2.DecisionBisection:
        """Return which commits made the decisions of a trace others; ``advance`` is told how far it is.

        Raises:
            AisecopsClientError: there is no such trace or revision, or no line of commits between the two.
        """
        asked = api.BisectDecisionsRequest(trace_id=trace_id, good=good, bad=bad)
        last = api.BisectDecisionsResponse()
        for last in self._stream(self._stub.BisectDecisions, asked):
            advance(last.asked, last.expected)
        return last.found

    @property
    def _stub(self) -> ReplayServiceStub:
        return ReplayServiceStub(self.client.channel)

    def _call(self, method: Callable[..., _R], request: Any) -> _R:
        try:
            return method(request, metadata=self.client.metadata, timeout=2 * self.client.work_seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    def _stream(self, method: Callable[..., Any], request: Any) -> Iterator[Any]:
        call = method(request, metadata=self.client.metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()
