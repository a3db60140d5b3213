"""Requests for approval, for callers that wait: what asks people, their answers, and waiting for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import grpc
from aisecops.v1 import approval_pb2
from aisecops.v1 import approval_service_pb2 as api
from aisecops.v1.approval_service_pb2_grpc import ApprovalServiceStub
from aisecops.v1.plan_pb2 import ExecutionPlan

from aisecops_client.answers import Answer
from aisecops_client.errors import RetryLaterError, from_rpc_error
from aisecops_client.votes import VoteSigner, together_request, vote_request

GRANTED = approval_pb2.APPROVAL_STATE_GRANTED
WAIT_SECONDS = 900.0
# How soon a wait goes on that the control plane's restart interrupted.
AGAIN_SECONDS = 0.5
_R = TypeVar("_R")


class Approvals:
    """Calls the ApprovalService over a client's connection. Nothing here ever approves by itself."""

    def __init__(self, channel: grpc.Channel, metadata: tuple[tuple[str, str], ...], seconds: float) -> None:
        self._stub = ApprovalServiceStub(channel)
        self._metadata = metadata
        self._seconds = seconds

    def page(
        self,
        *,
        states: Sequence[approval_pb2.ApprovalState.ValueType] = (),
        agent_id: str = "",
        page_size: int = 0,
        page_token: str = "",
    ) -> api.ListApprovalsResponse:
        """Return a page of requests, newest first.

        Raises:
            AisecopsClientError: they cannot be read.
        """
        request = api.ListApprovalsRequest(states=states, agent_id=agent_id, page_size=page_size, page_token=page_token)
        return self._call(self._stub.ListApprovals, request)

    def show(self, approval_id: str) -> api.GetApprovalResponse:
        """Return a request with exactly what it asks.

        Raises:
            AisecopsClientError: there is none, or it may not be read.
        """
        return self._call(self._stub.GetApproval, api.GetApprovalRequest(approval_id=approval_id))

    def notices(self, *, state: str = "", page_size: int = 0, page_token: str = "") -> api.ListNoticesResponse:
        """Return a page of messages about requests; ``state`` is `pending`, `delivered`, `dead` or empty for any.

        Raises:
            AisecopsClientError: they cannot be read.
        """
        request = api.ListNoticesRequest(state=state, page_size=page_size, page_token=page_token)
        return self._call(self._stub.ListNotices, request)

    def resend_notice(self, notice_id: str) -> api.Notice:
        """Put a message that was given up back into the outbox, and return it as it waits.

        Raises:
            AisecopsClientError: there is none, or it was not given up.
        """
        return self._call(self._stub.ResendNotice, api.ResendNoticeRequest(notice_id=notice_id)).notice

    def vote(
        self,
        shown: api.GetApprovalResponse,
        choice: approval_pb2.Choice.ValueType,
        *,
        note: str = "",
        signer: VoteSigner | None = None,
        at_seconds: int = 0,
        token_id: str = "",
    ) -> approval_pb2.Approval:
        """Answer what was ``shown``, and return what the request is then.

        Raises:
            ApprovalNotUsableError: it takes no vote any more, or not another one of this person.
            AisecopsClientError: the vote does not count.
            ValueError: what was shown is not what is asked.
        """
        request = vote_request(shown, choice, note=note, signer=signer, at_seconds=at_seconds, token_id=token_id)
        return self._call(self._stub.Vote, request).approval

    def vote_together(
        self,
        shown: Sequence[api.GetApprovalResponse],
        choice: approval_pb2.Choice.ValueType,
        *,
        note: str = "",
        signer: VoteSigner | None = None,
        at_seconds: int = 0,
        token_ids: Sequence[str] = (),
    ) -> api.VoteTogetherResponse:
        """Give one answer to requests that are identical, and return what became of each, in their order.

        Raises:
            RequestRefusedError: they are not identical; nothing was answered.
            AisecopsClientError: nothing was answered, or it is not known what was.
            ValueError: what was shown is not what is asked, or there are too few ids of votes.
        """
        request = together_request(shown, choice, note=note, signer=signer, at_seconds=at_seconds, token_ids=token_ids)
        return self._call(self._stub.VoteTogether, request)

    def withdraw(self, approval_id: str, *, note: str = "") -> approval_pb2.Approval:
        """Take a request back, and return what it is then.

        Raises:
            ApprovalNotUsableError: it is not open any more.
            AisecopsClientError: it was not taken back.
        """
        return self._call(self._stub.Withdraw, api.WithdrawRequest(approval_id=approval_id, note=note)).approval

    def follow(self, approval_id: str, *, seconds: float = WAIT_SECONDS) -> Iterator[approval_pb2.Approval]:
        """Yield a request now and whenever it changed, until it is decided or ``seconds`` are over.

        A control plane that restarts meanwhile is asked again.

        Raises:
            AisecopsClientError: it cannot be read.
        """
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            call = self._stub.Wait(api.WaitRequest(approval_id=approval_id), metadata=self._metadata, timeout=left)
            try:
                for response in call:
                    yield response.approval
            except grpc.RpcError as error:
                require_passing(error)
                threading.Event().wait(min(AGAIN_SECONDS, max(0.0, ends - time.monotonic())))
            else:
                return
            finally:
                # Who stops waiting early must not leave the stream open.
                call.cancel()

    def wait(self, approval_id: str, *, seconds: float = WAIT_SECONDS) -> approval_pb2.Approval:
        """Return a request when it is decided, or as it is when ``seconds`` are over.

        Raises:
            AisecopsClientError: it cannot be read.
        """
        states = list(self.follow(approval_id, seconds=seconds))
        return states[-1] if states else self.show(approval_id).approval

    def _call(self, method: Callable[..., _R], request: Any) -> _R:
        try:
            return method(request, metadata=self._metadata, timeout=self._seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error


def in_trace(plan: ExecutionPlan, answer: Answer) -> ExecutionPlan:
    """Return ``plan`` in the trace of ``answer``, so that asking people and acting on it are told together."""
    same = ExecutionPlan()
    same.CopyFrom(plan)
    same.trace_id = answer.decision.trace_id
    return same


def require_passing(error: grpc.RpcError) -> None:
    """Let an error pass that is over when the control plane answers again.

    Raises:
        AisecopsClientError: it is another one.
    """
    found = from_rpc_error(error)
    # A control plane that stops cancels the streams that still wait.
    if not isinstance(found, RetryLaterError) and found.code is not grpc.StatusCode.CANCELLED:
        raise found from error
