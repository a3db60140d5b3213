"""ApprovalService: what waits for people, and their answers. Who answers is the credential's holder and nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from aisecops.v1 import approval_service_pb2 as api

from aisecops_server.domain.approvals.approval import Approval, ApprovalFilter, ApprovalState, Choice
from aisecops_server.domain.approvals.notice import NoticeState, StoredNotice
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.identifiers import is_agent_id, is_identifier
from aisecops_server.entrypoints.grpc import access
from aisecops_server.entrypoints.grpc.admission import Admission
from aisecops_server.entrypoints.grpc.approval_codec import (
    CHOICES,
    STATES,
    answered_message,
    approval_message,
    past_answer_message,
)
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.decision_codec import decision_message, timestamp
from aisecops_server.entrypoints.grpc.methods import Gate, read_message
from aisecops_server.entrypoints.grpc.paging import page_size
from aisecops_server.usecases.approvals.approvals import ReadApprovals, WithdrawApprovals
from aisecops_server.usecases.approvals.resend_notices import ResendNotices
from aisecops_server.usecases.approvals.vote import VoteCommand
from aisecops_server.usecases.approvals.vote_together import Answered, Seen, TogetherCommand

MAX_WAITS = 4096
_MAX_PAGE = 500
_NOTE_CHARACTERS = 1000
_CHOICE_OF: Mapping[int, Choice] = {number: choice for choice, number in CHOICES.items()}
_STATE_OF: Mapping[int, ApprovalState] = {number: state for state, number in STATES.items()}


@dataclass(frozen=True, slots=True)
class ApprovalUseCases:
    """What reads, answers and takes back requests."""

    vote: Callable[[VoteCommand], Awaitable[Approval]]
    together: Callable[[TogetherCommand], Awaitable[tuple[Answered, ...]]]
    read: ReadApprovals
    withdraw: WithdrawApprovals
    notices: ResendNotices


@dataclass(frozen=True, slots=True)
class ApprovalService:
    """The handlers of ``aisecops.v1.ApprovalService``. ``waits`` bounds how many streams wait at once."""

    approvals: ApprovalUseCases
    gate: Gate
    waits: Admission

    async def list_approvals(self, request: bytes, caller: Caller) -> api.ListApprovalsResponse:
        """Answer ListApprovals."""
        asked = read_message(api.ListApprovalsRequest, request)
        if asked.agent_id and not is_agent_id(asked.agent_id):
            raise InvalidRequestError("agent_id: not an agent id", field="agent_id")
        page = await self.approvals.read.page(
            ApprovalFilter(_states(asked.states), asked.agent_id),
            only_of=_only_of(caller),
            page_size=page_size(asked.page_size, at_most=_MAX_PAGE),
            page_token=_optional_id(asked.page_token, "page_token"),
        )
        return api.ListApprovalsResponse(
            approvals=[approval_message(approval) for approval in page.approvals], next_page_token=page.next_token
        )

    async def approval(self, request: bytes, caller: Caller) -> api.GetApprovalResponse:
        """Answer GetApproval."""
        asked = read_message(api.GetApprovalRequest, request)
        shown = await self.approvals.read.show(_id(asked.approval_id), only_of=_only_of(caller))
        return api.GetApprovalResponse(
            approval=approval_message(shown.approval),
            statement_json=shown.statement,
            decision=decision_message(shown.decision.details),
            caller=caller.principal.id,
            past_answers=map(past_answer_message, shown.past),
            identical=map(approval_message, shown.identical),
        )

    async def vote(self, request: bytes, caller: Caller) -> api.VoteResponse:
        """Answer Vote."""
        asked = read_message(api.VoteRequest, request)
        command = VoteCommand(
            voter=caller.principal,
            approval_id=_id(asked.approval_id),
            choice=_choice(asked.choice),
            note=_note(asked.note),
            statement_digest=asked.statement_digest,
            signature=asked.signature,
            certificate=caller.presented.certificate,
        )
        return api.VoteResponse(approval=approval_message(await self.approvals.vote(command)))

    async def vote_together(self, request: bytes, caller: Caller) -> api.VoteTogetherResponse:
        """Answer VoteTogether."""
        asked = read_message(api.VoteTogetherRequest, request)
        command = TogetherCommand(
            voter=caller.principal,
            choice=_choice(asked.choice),
            note=_note(asked.note),
            seen=tuple(Seen(_id(one.approval_id), one.statement_digest, one.signature) for one in asked.seen),
            certificate=caller.presented.certificate,
        )
        return api.VoteTogetherResponse(answered=map(answered_message, await self.approvals.together(command)))

    async def withdraw(self, request: bytes, caller: Caller) -> api.WithdrawResponse:
        """Answer Withdraw."""
        asked = read_message(api.WithdrawRequest, request)
        withdrawn = await self.approvals.withdraw(
            _id(asked.approval_id),
            by=caller.principal,
            note=_note(asked.note),
            only_of=None if access.votes(caller.principal) else caller.principal.id,
        )
        return api.WithdrawResponse(approval=approval_message(withdrawn))

    async def wait(self, request: bytes, caller: Caller) -> AsyncIterator[api.WaitResponse]:
        """Answer Wait; ends when it is decided, when the caller goes, or its credential does."""
        asked = read_message(api.WaitRequest, request)
        told = None
        with self.waits.admit(caller.principal):
            states = self.approvals.read.wait(_id(asked.approval_id), only_of=_only_of(caller))
            async with aclosing(states):
                async for approval in states:
                    self.gate.still(caller)
                    if told != (approval.state, approval.version):
                        told = approval.state, approval.version
                        yield api.WaitResponse(approval=approval_message(approval))

    async def watch_waiting(self, request: bytes, caller: Caller) -> AsyncIterator[api.WatchWaitingResponse]:
        """Answer WatchWaiting; ends when the caller goes, or its credential does."""
        read_message(api.WatchWaitingRequest, request)
        told = None
        with self.waits.admit(caller.principal):
            counts = self.approvals.read.waiting()
            async with aclosing(counts):
                async for count in counts:
                    self.gate.still(caller)
                    if told != count:
                        told = count
                        yield api.WatchWaitingResponse(waiting=count)

    async def list_notices(self, request: bytes, _caller: Caller) -> api.ListNoticesResponse:
        """Answer ListNotices."""
        asked = read_message(api.ListNoticesRequest, request)
        page = await self.approvals.notices.page(
            _notice_state(asked.state),
            page_size=page_size(asked.page_size, at_most=_MAX_PAGE),
            page_token=_optional_id(asked.page_token, "page_token"),
        )
        return api.ListNoticesResponse(notices=map(_notice, page.notices), next_page_token=page.next_token)

    async def resend_notice(self, request: bytes, caller: Caller) -> api.ResendNoticeResponse:
        """Answer ResendNotice."""
        asked = read_message(api.ResendNoticeRequest, request)
        if not is_identifier(asked.notice_id):
            raise InvalidRequestError("notice_id: not the id of a message", field="notice_id")
        resent = await self.approvals.notices(asked.notice_id, by=caller.principal)
        return api.ResendNoticeResponse(notice=_notice(resent))


def wait_room(limit: int = MAX_WAITS) -> Admission:
    """Return the room for streams that wait."""
    return Admission(limit, full="too many calls wait for approvals", hint="End waits that are not needed any more")


def _only_of(caller: Caller) -> str | None:
    return None if access.reads_everything(caller.principal) else caller.principal.id


def _states(numbers: Iterable[int]) -> frozenset[ApprovalState]:
    asked = frozenset(numbers)
    if not asked <= _STATE_OF.keys():
        raise InvalidRequestError("states: there is no such state", field="states")
    return frozenset(_STATE_OF[number] for number in asked)


def _choice(number: int) -> Choice:
    if number not in _CHOICE_OF:
        raise InvalidRequestError("choice: must be approve or deny", field="choice")
    return _CHOICE_OF[number]


def _id(text: str) -> str:
    if not is_identifier(text):
        raise InvalidRequestError("approval_id: not an approval id", field="approval_id")
    return text


def _optional_id(text: str, field: str) -> str:
    if text and not is_identifier(text):
        raise InvalidRequestError(f"{field}: not an identifier", field=field)
    return text


def _note(text: str) -> str:
    if len(text) > _NOTE_CHARACTERS:
        raise InvalidRequestError(f"note: at most {_NOTE_CHARACTERS} characters are allowed", field="note")
    if "\0" in text:
        raise InvalidRequestError("note: U+0000 is not a character of a text", field="note")
    return text


def _notice_state(text: str) -> NoticeState | None:
    try:
        return NoticeState(text.upper()) if text else None
    except ValueError as error:
        raise InvalidRequestError("state: not 'pending', 'delivered' or 'dead'", field="state") from error


def _notice(stored: StoredNotice) -> api.Notice:
    return api.Notice(
        notice_id=stored.notice.id,
        approval_id=stored.approval_id,
        endpoint=stored.notice.endpoint,
        state=stored.state.value.lower(),
        created_at=timestamp(stored.created_at_seconds * 1_000_000_000),
        attempts=stored.attempts,
        problem=stored.problem,
    )
