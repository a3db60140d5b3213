"""One answer to several requests that are identical: a vote on each, or none at all.

Ordering rules:

1. Only what was on the screen is answered: each request is named, with the digest of its statement.
2. All of them are of one agent and one hash class, or nothing is answered, and each of the votes is on record as
   refused.
3. Then each is answered by a vote of its own, which is checked and recorded like every other; what becomes of one
   changes nothing for the next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from aisecops_server.domain.approvals.approval import Approval, Choice
from aisecops_server.domain.callers.identity import Principal
from aisecops_server.domain.errors import AisecopsError, InvalidRequestError
from aisecops_server.ports import Clock
from aisecops_server.ports.approvals import ApprovalStore
from aisecops_server.usecases.approvals.vote import VoteCommand

# As many as a form holds, and as stand on a page of the inbox.
MOST_TOGETHER = 50


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it was on the screen. ``signature`` is the voter's own compact JWS of a vote on it, or empty."""

    approval_id: str
    statement_digest: str
    signature: str = ""


@dataclass(frozen=True, slots=True)
class TogetherCommand:
    """One answer to all that was ``seen``; ``certificate`` is that of the connection."""

    voter: Principal
    choice: Choice
    note: str
    seen: tuple[Seen, ...]
    certificate: bytes = b""

    def votes(self) -> list[VoteCommand]:
        """Return the votes that it stands for, in the order in which they were seen."""
        return [
            VoteCommand(
                voter=self.voter,
                approval_id=one.approval_id,
                choice=self.choice,
                note=self.note,
                statement_digest=one.statement_digest,
                signature=one.signature,
                certificate=self.certificate,
            )
            for one in self.seen
        ]


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one request: what it is now, and why the vote on it does not count, if so."""

    approval: Approval
    refused: AisecopsError | None = None


@dataclass(frozen=True, slots=True)
class VoteTogether:
    """Takes answers to several requests. ``vote`` takes a vote, ``refuse`` records one that does not count."""

    store: ApprovalStore
    vote: Callable[[VoteCommand], Awaitable[Approval]]
    refuse: Callable[[VoteCommand, AisecopsError], Awaitable[None]]
    clock: Clock

    async def __call__(self, command: TogetherCommand) -> tuple[Answered, ...]:
        """Answer all of them and return what became of each, in the order in which they were seen.

        Raises:
            NotFoundError: one of them is not there; nothing was answered.
            InvalidRequestError: they are none, too many, named twice, or not identical; nothing was answered.
            LogUnavailableError: a refusal could not be recorded.
        """
        _require_a_few(command.seen)
        votes = command.votes()
        approvals = [await self.store.approval(vote.approval_id) for vote in votes]
        if not all(one.request.is_identical(other.request) for one, other in pairwise(approvals)):
            error = InvalidRequestError(
                "seen: these requests are not identical, so nothing was answered",
                hint="Answer each by itself, or only those that are shown as one group",
                field="seen",
            )
            for vote in votes:
                await self.refuse(vote, error)
            raise error
        return tuple([await self._answered(vote) for vote in votes])

    async def _answered(self, vote: VoteCommand) -> Answered:
        try:
            return Answered(await self.vote(vote))
        except AisecopsError as error:
            approval = await self.store.approval(vote.approval_id)
            state = approval.state_at(self.clock.now_ns() // 1_000_000_000)
            return Answered(replace(approval, state=state), error)


def _require_a_few(seen: Sequence[Seen]) -> None:
    if not 0 < len(seen) <= MOST_TOGETHER:
        raise InvalidRequestError(f"seen: from 1 to {MOST_TOGETHER} requests are answered at once", field="seen")
    if len({one.approval_id for one in seen}) < len(seen):
        raise InvalidRequestError("seen: a request is named twice", hint="Name each once", field="seen")
