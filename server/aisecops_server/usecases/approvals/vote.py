"""A person's answer to a request for approval: checked, signed, and stored with the event that tells of it.

Ordering rules:

1. Who votes is who the credential proved, and which person that is, the live tables say.
2. What was seen must be what is asked: a vote names the digest of the statement.
3. A vote that does not count is on record too, with the reason.
4. Two who vote at once are put in order by the store; what each vote leads to is judged again for the second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aisecops_server.domain.approvals.approval import Approval, Choice, SignedBy, Vote
from aisecops_server.domain.approvals.approval_changes import CastVote
from aisecops_server.domain.approvals.approval_events import vote_refused_event, voted_event
from aisecops_server.domain.callers.identity import Principal
from aisecops_server.domain.callers.people import Person, is_agent, person_of
from aisecops_server.domain.errors import AisecopsError, ContendedError, InvalidRequestError, NotPermittedError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.approvals import ApprovalStore
from aisecops_server.usecases.approvals.vote_proofs import VoteProofs

Tables = Callable[[], Mapping[str, JsonValue]]
# People who vote in the same instant are few.
MOST_ATTEMPTS = 16


@dataclass(frozen=True, slots=True)
class VoteCommand:
    """An answer. ``signature`` is the voter's own compact JWS, or empty; ``certificate`` that of the connection."""

    voter: Principal
    approval_id: str
    choice: Choice
    note: str
    statement_digest: str
    signature: str = ""
    certificate: bytes = b""


@dataclass(frozen=True, slots=True)
class CastVotes:
    """Takes votes. ``tables`` returns those of the live revision."""

    log: EventLog
    store: ApprovalStore
    tables: Tables
    proofs: VoteProofs
    clock: Clock
    ids: Ids

    async def __call__(self, command: VoteCommand) -> Approval:
        """Take one vote and return what the request is then.

        Raises:
            NotFoundError: there is no such approval.
            ApprovalNotUsableError: it takes no vote any more, or not a second one of the same person.
            NotPermittedError: the voter is one who may not answer this request.
            InvalidRequestError: what was seen is not what is asked, or the signature is not one of this vote.
            NoLiveRevisionError: no policy says who may vote.
            LogUnavailableError: the vote could not be recorded, so it does not count.
        """
        for _ in range(MOST_ATTEMPTS):
            approval = await self.store.approval(command.approval_id)
            now_ns = self.clock.now_ns()
            try:
                cast = self._cast(approval, command, now_ns // 1_000_000_000)
            except AisecopsError as error:
                await self._record_refusal(approval, command, error, now_ns)
                raise
            event = voted_event(approval, cast, id=self.ids.event_id(), now_ns=now_ns)
            try:
                await self.log.append_change(ChangeRecord((event,), (cast,)))
            except ContendedError:
                continue
            return await self.store.approval(command.approval_id)
        raise ContendedError("others vote on the request all the time", hint="Vote again")

    async def refuse(self, command: VoteCommand, error: AisecopsError) -> None:
        """Record that a vote does not count, for a reason that is not its own.

        Raises:
            NotFoundError: there is no such approval.
            LogUnavailableError: it could not be recorded.
        """
        approval = await self.store.approval(command.approval_id)
        await self._record_refusal(approval, command, error, self.clock.now_ns())

    def _cast(self, approval: Approval, command: VoteCommand, now_seconds: int) -> CastVote:
        tables = self.tables()
        voter = command.voter
        person = person_of(tables, voter.id)
        if is_agent(tables, voter.id):
            raise NotPermittedError("an agent has no vote", hint="Ask a person", needs="a person")
        if refused := approval.refusal_of_vote(person, now_seconds=now_seconds):
            raise refused
        if command.statement_digest != approval.statement_digest:
            raise InvalidRequestError(
                "statement_digest: what you saw is not what is asked",
                hint="Look at the request again, and vote on what it shows now",
                field="statement_digest",
            )
        vote = self._vote(approval, command, person, now_seconds)
        return CastVote(approval.id, approval.version, vote, approval.state_after(vote.choice))

    def _vote(self, approval: Approval, command: VoteCommand, person: Person, now_seconds: int) -> Vote:
        voter = command.voter
        vote = Vote(
            approver=person.name,
            principal_id=voter.id,
            authenticated_by=voter.authenticated_by,
            credential=voter.thumbprint,
            choice=command.choice,
            note=command.note,
            at_seconds=now_seconds,
            signed_at_seconds=now_seconds,
            token_id=self.ids.nonce(),
            signed_by=SignedBy.CONTROL_PLANE,
            key_id=self.proofs.key_id,
            signature=command.signature,
            attestation="",
        )
        signed = self.proofs.signed(vote, approval, registered=person.keys, certificate=command.certificate)
        return self.proofs.attested(signed, approval)

    async def _record_refusal(
        self, approval: Approval, command: VoteCommand, error: AisecopsError, now_ns: int
    ) -> None:
        await self.log.append_event(
            vote_refused_event(
                approval,
                error,
                id=self.ids.event_id(),
                now_ns=now_ns,
                facts={
                    "principal": command.voter.id,
                    "authenticated_by": command.voter.authenticated_by,
                    "credential_sha256": command.voter.thumbprint,
                    "choice": command.choice.value,
                    "note": command.note,
                },
            )
        )
