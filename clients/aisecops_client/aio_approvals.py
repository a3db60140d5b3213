"""Requests for approval, for asyncio: what asks people, their answers, and waiting for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from aisecops.v1 import approval_pb2
from aisecops.v1 import approval_service_pb2 as api
from aisecops.v1.approval_service_pb2_grpc import ApprovalServiceStub

from aisecops_client.approvals import AGAIN_SECONDS, WAIT_SECONDS, require_passing
from aisecops_client.errors import from_rpc_error
from aisecops_client.votes import VoteSigner, together_request, vote_request

if TYPE_CHECKING:
    from aisecops.v1.approval_service_pb2_grpc import ApprovalServiceAsyncStub

_R = TypeVar("_R")


class AsyncApprovals:
    """Calls the ApprovalService over a client's connection. Nothing here ever approves by itself."""

    def __init__(self, channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...], seconds: float) -> None:
        self._stub: ApprovalServiceAsyncStub = ApprovalServiceStub(channel)
        self._metadata = metadata
        self._seconds = seconds

    async def page(
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
        return await self._call(self._stub.ListApprovals, request)

    async def show(self, approval_id: str) -> api.GetApprovalResponse:
        """Return a request with exactly what it asks.

        Raises:
            AisecopsClientError: there is none, or it may not be read.
        """
        return await self._call(self._stub.GetApproval, api.GetApprovalRequest(approval_id=approval_id))

    async def vote(
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
        response = await self._call(self._stub.Vote, request)
        return response.approval

    async def vote_together(
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
        return await self._call(self._stub.VoteTogether, request)

    async def withdraw(self, approval_id: str, *, note: str = "") -> approval_pb2.Approval:
        """Take a request back, and return what it is then.

        Raises:
            ApprovalNotUsableError: it is not open any more.
            AisecopsClientError: it was not taken back.
        """
        response = await self._call(self._stub.Withdraw, api.WithdrawRequest(approval_id=approval_id, note=note))
        return response.approval

    async def follow(self, approval_id: str, *, seconds: float = WAIT_SECONDS) -> AsyncIterator[approval_pb2.Approval]:
        """Yield a request now and whenever it changed, until it is decided or ``seconds`` are over.

        A control plane that restarts meanwhile is asked again.

        Raises:
            AisecopsClientError: it cannot be read.
        """
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            call = self._stub.Wait(api.WaitRequest(approval_id=approval_id), metadata=self._metadata, timeout=left)
            try:
                async for response in call:
                    yield response.approval
            except grpc.RpcError as error:
                require_passing(error)
                await asyncio.sleep(min(AGAIN_SECONDS, max(0.0, ends - time.monotonic())))
            else:
                return
            finally:
                # Who stops waiting early must not leave the stream open.
                call.cancel()

    async def wait(self, approval_id: str, *, seconds: float = WAIT_SECONDS) -> approval_pb2.Approval:
        """Return a request when it is decided, or as it is when ``seconds`` are over.

        Raises:
            AisecopsClientError: it cannot be read.
        """
        states = [approval async for approval in self.follow(approval_id, seconds=seconds)]
        return states[-1] if states else (await self.show(approval_id)).approval

    async def _call(self, method: Callable[..., Awaitable[_R]], request: Any) -> _R:
        try:
            return await method(request, metadata=self._metadata, timeout=self._seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
