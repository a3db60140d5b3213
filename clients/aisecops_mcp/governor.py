"""One call of a tool under the control plane: decided, granted, redeemed, made, and what came of it told.

The steps are those of every guard (``aisecops_client.guarded``). What is particular to MCP: a call that waits for
people ends at once and is taken up again when the client makes the same call again, and what came of a call is told
while its result is on its way (``completions``).
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
from aisecops.v1 import approval_pb2
from aisecops.v1.agent_service_pb2 import ListToolsResponse
from aisecops.v1.execution_service_pb2 import CompleteRequest, CompleteResponse
from aisecops.v1.plan_pb2 import ExecutionPlan, Step
from aisecops_client import (
    AccessRefusedError,
    ApprovalRequiredError,
    AsyncGuard,
    CallRefusedError,
    FaultError,
    RetryLaterError,
)
from aisecops_client.completions import Completions
from aisecops_client.guarded import Ask, Complete, GrantedCall, Rules, Run, Steps, decided, executed
from aisecops_client.obligations import keeps_content
from aisecops_grant.arguments import canonical_arguments

from aisecops_mcp.jsonrpc import Message
from aisecops_mcp.results import passed_on, reads
from aisecops_mcp.session import Session, Waiting
from aisecops_mcp.talk import say

Forward = Callable[[GrantedCall], Awaitable[Message]]
_ENDED = (approval_pb2.APPROVAL_STATE_EXPIRED, approval_pb2.APPROVAL_STATE_CONSUMED)
_T = TypeVar("_T")


class ApprovalRefusedError(CallRefusedError):
    """People were asked about the call, and did not approve it, or are not asked any more."""

    def __init__(self, approval_id: str, why: str = "people did not approve the call") -> None:
        super().__init__(f"{why} (request {approval_id})", grpc.StatusCode.PERMISSION_DENIED, "NOT_APPROVED")


class ToolFailedError(Exception):
    """The server answered that the call failed; ``answer`` says how."""

    def __init__(self, answer: Message) -> None:
        super().__init__("the tool failed")
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that somebody wants to be made; ``forward`` makes it."""

    session: Session
    tool: str
    arguments: Mapping[str, Any]
    forward: Forward


@dataclass(slots=True)
class _UnderWay:
    """A call of a session that is being made, and how it was answered."""

    session: str
    forward: Forward
    call: GrantedCall | None = None
    answer: Message | None = None


@dataclass
class Governor(AsyncGuard):
    """Governs the calls of any number of sessions of one agent.

    ``renew`` gives a new token when the control plane does not take the old one any more. ``completions`` tell what
    came of calls; whoever has several governors of one agent gives all of them the same.
    """

    renew: Callable[[], str] = str
    completions: Completions = field(default_factory=lambda: Completions(say=say))
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), init=False, repr=False)
    _under_way: dict[str, _UnderWay] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Tell what came of calls with this credential, from where ``completions`` keep it and no spool of a guard."""
        self.completions.join(self._tell)

    def leave(self) -> None:
        """Tell nothing any more, because the credential is given up."""
        self.completions.leave(self._tell)

    def session(self) -> Session:
        """Return a new session."""
        return Session(self.environment, id=f"mcp-{self.new_key()}", numbers=self._numbers)

    async def tools(self, server: str) -> ListToolsResponse:
        """Return which tools of a server the agent may ask for.

        Raises:
            AisecopsClientError: it cannot be told.
        """
        return await self._fresh(lambda: self.client.tools(environment=self.environment, server=server))

    async def call(self, asked: Asked) -> bytes:
        """Return the answer to a call, as it may be passed on, after making it.

        Raises:
            CallDeniedError: policy denies it, or people have to approve it first.
            AisecopsClientError: it was not made for another reason.
            ServerGoneError: it was made, and there is no answer to it.
            TypeError, ValueError: the arguments have no exact form.
        """
        session = asked.session
        waited = await self._approved(session, (asked.tool, canonical_arguments(asked.arguments)))
        plan, step = session.proposal(asked.tool, asked.arguments, step_id=waited.step_id if waited else "")
        try:
            return await self._made(asked, plan, step, approval_id=waited.answer.approval_id if waited else "")
        except (RetryLaterError, FaultError, asyncio.CancelledError):
            # Perhaps there was no decision, and what people agreed to was not used. If it was, that is seen then.
            if waited is not None:
                session.waits(waited, first=True)
            raise

    async def settle(self, session: Session) -> None:
        """Return when what came of the calls of a session is told, or cannot be for now."""
        await self.completions.settle(session.id)

    async def decided(self, approval_id: str, *, seconds: float) -> bool:
        """Wait until people have decided a request; false when they have not in ``seconds``.

        Raises:
            AisecopsClientError: it cannot be told.
        """
        approval = await self._fresh(lambda: self.client.approvals.wait(approval_id, seconds=seconds))
        return approval.state != approval_pb2.APPROVAL_STATE_REQUESTED

    async def withdraw(self, approval_id: str, *, note: str) -> None:
        """Take a request of this agent back.

        Raises:
            AisecopsClientError: it was not taken back.
        """
        await self._fresh(lambda: self.client.approvals.withdraw(approval_id, note=note))

    async def _approved(self, session: Session, key: tuple[str, bytes]) -> Waiting | None:
        """Take up a call that people approved by now; ``None`` if they were not asked about one, or it has ended.

        Raises:
            ApprovalRequiredError: they have not answered yet.
            ApprovalRefusedError: they said no.
        """
        undecided = None
        for waiting in session.waiting_for(key):
            state = await self._state_of(waiting.answer.approval_id)
            if state == approval_pb2.APPROVAL_STATE_REQUESTED:
                undecided = undecided or waiting
            # Another call that is the same may have taken it up meanwhile.
            elif session.claimed(waiting.answer.approval_id) is None or state in _ENDED:
                continue
            elif state == approval_pb2.APPROVAL_STATE_GRANTED:
                return waiting
            else:
                raise ApprovalRefusedError(waiting.answer.approval_id)
        if undecided is not None:
            raise ApprovalRequiredError(undecided.answer)
        return None

    async def _state_of(self, approval_id: str) -> approval_pb2.ApprovalState.ValueType:
        shown = await self._fresh(lambda: self.client.approvals.show(approval_id))
        return shown.approval.state

    async def _made(self, asked: Asked, plan: ExecutionPlan, step: Step, *, approval_id: str) -> bytes:
        under_way = self._under_way[step.step_id] = _UnderWay(asked.session.id, asked.forward)
        try:
            data: bytes = await self._drive(self._steps(asked.session, plan, step, approval_id))
        except ToolFailedError as failed:
            data = passed_on(failed.answer, under_way.call.duties if under_way.call else ())
        finally:
            del self._under_way[step.step_id]
            if under_way.call is not None and under_way.answer is not None:
                found = list(reads(under_way.answer))
                asked.session.ran(step, found, keeps_content=keeps_content(under_way.call.duties))
        return data

    def _steps(self, session: Session, plan: ExecutionPlan, step: Step, approval_id: str) -> Steps:
        rules = self._rules()
        try:
            answer = yield from decided(plan, rules, approval_id=approval_id, at_once=True)
        except ApprovalRequiredError as error:
            session.joined(error.answer)
            session.waits(Waiting((step.tool, step.arguments_json), step.step_id, error.answer))
            raise
        session.joined(answer)
        data, _ = yield from executed(step, answer, rules, redeems=True)
        return data

    def _rules(self) -> Rules:
        return dataclasses.replace(super()._rules(), passed_on=passed_on)

    async def _run(self, ask: Run) -> Message:
        under_way = self._under_way[ask.call.step_id]
        under_way.call = ask.call
        answer = under_way.answer = await under_way.forward(ask.call)
        if answer.error is not None or answer.result.get("isError") is True:
            raise ToolFailedError(answer)
        return answer

    async def _perform(self, ask: Ask) -> Any:
        if isinstance(ask, Complete):
            self.completions.add(self._session_of(ask.request.grant_id), ask.request)
            return CompleteResponse()
        perform = super()._perform
        return await self._fresh(lambda: perform(ask))

    def _session_of(self, grant_id: str) -> str:
        under_way = self._under_way.values()
        return next(one.session for one in under_way if one.call is not None and one.call.grant_id == grant_id)

    async def _tell(self, request: CompleteRequest) -> CompleteResponse:
        return await self._fresh(lambda: self.client.complete(request))

    async def _fresh(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do something with a token that counts: where it does not any more, once again with a new one."""
        try:
            return await work()
        except AccessRefusedError as error:
            if error.code is not grpc.StatusCode.UNAUTHENTICATED:
                raise
            try:
                token = await asyncio.to_thread(self.renew)
            except Exception as failed:
                # Without a new one, what counts is that the old one is refused.
                raise error from failed
            if not token or token == self.client.token:
                raise
            self.client.token = token
            return await work()
