"""Consent of people to one plan: what was asked, who answered, and what may still come of it.

    REQUESTED -> GRANTED -> CONSUMED
              -> REJECTED          open: REQUESTED, GRANTED
    open      -> WITHDRAWN, EXPIRED

An approval is bound to everything that people were shown: the plan's hash, the agent, the steps, what the tables said
of each tool, the revision that asked. It is used once, by that agent, for that plan, and only while it is in time. No
clock and no store stand here: whoever asks says what time it is, and gets an answer or the reason why not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from aisecops_server.domain.callers.people import Person
from aisecops_server.domain.errors import AisecopsError, ApprovalNotUsableError, NotPermittedError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.plans.plan import ModelUsage

ApprovalId = NewType("ApprovalId", str)

# Clocks are set back by a little now and then; by more than this, nothing is believed that was done in the future.
LEEWAY_SECONDS = 5


class ApprovalState(StrEnum):
    """What became of a request."""

    REQUESTED = "REQUESTED"
    GRANTED = "GRANTED"
    REJECTED = "REJECTED"
    WITHDRAWN = "WITHDRAWN"
    EXPIRED = "EXPIRED"
    CONSUMED = "CONSUMED"

    @property
    def is_open(self) -> bool:
        """Return whether anything can still become of it."""
        return self in (ApprovalState.REQUESTED, ApprovalState.GRANTED)


class Choice(StrEnum):
    """What a person says to a request."""

    APPROVE = "approve"
    DENY = "deny"


class SignedBy(StrEnum):
    """Whose key signed a vote: the person's own, or the control plane's for somebody who has none here."""

    VOTER = "voter"
    CONTROL_PLANE = "control_plane"


@dataclass(frozen=True, slots=True)
class ApprovalTerms:
    """What it takes, as policy said when it asked. Without ``groups`` anybody may vote whose role lets them.

    ``excluded`` are people who may not, whatever their groups: those who answer for the agent.
    """

    approvers_required: int
    groups: tuple[str, ...]
    excluded: tuple[str, ...]
    expires_seconds: int
    step_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What is asked, which never changes.

    ``delegation`` are the agents above the one that asks, and ``findings`` the rules that asked, each with its step.
    ``counted`` is what models took before the plan: counted when people were asked, and not again when it is used.
    ``hash_class`` is the same for all requests that are identical (``domain.approval_class``), and empty for one
    that is like no other.
    """

    id: ApprovalId
    nonce: str
    agent_id: str
    delegation: tuple[str, ...]
    plan_hash: str
    document_digest: str
    trace_id: str
    plan_id: str
    decision_id: str
    bundle_revision: str
    bundle_digest: str
    tool_digests: Mapping[str, str]
    findings: tuple[tuple[str, str], ...]
    terms: ApprovalTerms
    intent: str
    explanation: str
    requested_at_seconds: int
    expires_at_seconds: int
    counted: tuple[ModelUsage, ...] = ()
    hash_class: str = ""

    def is_identical(self, other: ApprovalRequest) -> bool:
        """Return whether one answer may be given to both: they are of one agent and of one hash class."""
        return bool(self.hash_class) and (self.agent_id, self.hash_class) == (other.agent_id, other.hash_class)


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's answer and what proves it.

    ``approver`` is the person, ``principal_id`` the name by which the credential knew them, ``credential`` its
    SHA-256. ``signature`` is the person's own, if they made one, at the time that they say; ``attestation`` is the
    control plane's, over the same vote and who cast it.
    """

    approver: str
    principal_id: str
    authenticated_by: str
    credential: str
    choice: Choice
    note: str
    at_seconds: int
    signed_at_seconds: int
    token_id: str
    signed_by: SignedBy
    key_id: str
    signature: str
    attestation: str


@dataclass(frozen=True, slots=True)
class Approval:
    """A request and what became of it so far. ``version`` counts its changes."""

    request: ApprovalRequest
    statement_digest: str
    state: ApprovalState
    votes: tuple[Vote, ...]
    version: int
    changed_at_seconds: int
    closed_by: str = ""
    closed_note: str = ""
    consumed_by: str = ""

    @property
    def id(self) -> ApprovalId:
        """Return the id of the request."""
        return self.request.id

    @property
    def approvers(self) -> tuple[str, ...]:
        """Return who agreed, in the order of their votes."""
        return tuple(vote.approver for vote in self.votes if vote.choice is Choice.APPROVE)

    def granted_by(self, approvers: tuple[str, ...]) -> GrantedApproval:
        """Return what policy is told of it; ``approvers`` are the people who agreed, as policy knows them."""
        request = self.request
        return GrantedApproval(
            id=request.id,
            plan_hash=request.plan_hash,
            approvers=approvers,
            expires_at_seconds=request.expires_at_seconds,
            tool_digests=request.tool_digests,
            revision=request.bundle_revision,
            findings=request.findings,
        )

    def asks_for(
        self, terms: ApprovalTerms, findings: tuple[tuple[str, str], ...], tool_digests: Mapping[str, str]
    ) -> bool:
        """Return whether it stands for what policy asks now: the same terms and tools, and nothing that is new."""
        request = self.request
        return (
            terms == request.terms and tool_digests == request.tool_digests and set(findings) <= set(request.findings)
        )

    def state_at(self, now_seconds: int) -> ApprovalState:
        """Return what it is at a time: open no longer than it lasts, and never before its last change."""
        if self.state.is_open and not self._is_in_time(now_seconds):
            return ApprovalState.EXPIRED
        return self.state

    def state_after(self, choice: Choice) -> ApprovalState:
        """Return what one more vote makes of a requested one: a single denial ends it."""
        if choice is Choice.DENY:
            return ApprovalState.REJECTED
        enough = len(self.approvers) + 1 >= self.request.terms.approvers_required
        return ApprovalState.GRANTED if enough else ApprovalState.REQUESTED

    def refusal_of_vote(self, person: Person, *, now_seconds: int) -> AisecopsError | None:
        """Return why ``person`` may not vote now, if so."""
        if refused := self._state_refusal(now_seconds, ApprovalState.REQUESTED):
            return refused
        if person.is_among(vote.approver for vote in self.votes):
            return not_usable(self.id, "voted", f"{person.name} has voted on it")
        return self._person_refusal(person)

    def refusal_of_use(
        self, *, agent_id: str, plan_hash: str, tool_digests: Mapping[str, str], now_seconds: int
    ) -> ApprovalNotUsableError | None:
        """Return why it does not stand for a plan of an agent now, if so."""
        request = self.request
        if agent_id != request.agent_id:
            return not_usable(self.id, "other_agent", "it was given to another agent")
        if plan_hash != request.plan_hash:
            return not_usable(self.id, "other_plan", "it is for another plan: something that would run is different")
        if refused := self._state_refusal(now_seconds, ApprovalState.GRANTED):
            return refused
        changed = sorted(tool for tool, known in request.tool_digests.items() if tool_digests.get(tool) != known)
        if changed:
            return not_usable(self.id, "tool_changed", f"what policy says of {changed[0]} changed since it was asked")
        return None

    def refusal_of_withdrawal(self, *, now_seconds: int) -> ApprovalNotUsableError | None:
        """Return why it cannot be taken back any more, if so."""
        state = self.state_at(now_seconds)
        return None if state.is_open else self._state_refusal(now_seconds, ApprovalState.REQUESTED)

    def _is_in_time(self, now_seconds: int) -> bool:
        return self.changed_at_seconds - LEEWAY_SECONDS <= now_seconds < self.request.expires_at_seconds

    def _state_refusal(self, now_seconds: int, wanted: ApprovalState) -> ApprovalNotUsableError | None:
        state = self.state_at(now_seconds)
        return None if state is wanted else not_usable(self.id, state.value.lower(), _IS[state])

    def _person_refusal(self, person: Person) -> NotPermittedError | None:
        request = self.request
        if person.is_among([request.agent_id, *request.delegation]):
            return _may_not("who asks does not answer: the request is your own")
        if person.is_among(request.terms.excluded):
            return _may_not("you answer for the agent that asks, so somebody else has to")
        if request.terms.groups and person.groups.isdisjoint(request.terms.groups):
            wanted = ", ".join(request.terms.groups)
            return _may_not(f"policy asks somebody of {wanted}, and you are in none of them")
        return None


@dataclass(frozen=True, slots=True)
class GrantedApproval:
    """What policy is told of an approval that stands for the plan. It lifts the ``findings`` that people saw."""

    id: ApprovalId
    plan_hash: str
    approvers: tuple[str, ...]
    expires_at_seconds: int
    tool_digests: Mapping[str, str]
    revision: str
    findings: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PastAnswer:
    """What a person answered to an earlier request of the same agent, for one of the same ``tools`` at least."""

    approval: Approval
    vote: Vote
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApprovalFilter:
    """Narrows a list of approvals; an empty field does not narrow. States are those at the time of asking."""

    states: frozenset[ApprovalState] = frozenset()
    agent_id: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalPage:
    """A page of approvals, newest first; ``next_token`` is empty on the last one."""

    approvals: tuple[Approval, ...]
    next_token: str


_IS = {
    ApprovalState.REQUESTED: "too few people have agreed to it yet",
    ApprovalState.GRANTED: "it is granted already",
    ApprovalState.REJECTED: "it was rejected",
    ApprovalState.WITHDRAWN: "it was withdrawn",
    ApprovalState.EXPIRED: "it has expired",
    ApprovalState.CONSUMED: "it was used already, and is good for one use",
}


def tool_digests(tables: Mapping[str, JsonValue], tools: frozenset[str]) -> dict[str, str]:
    """Return the SHA-256 of what the compiled ``tables`` say of each of ``tools``; nothing is something too."""
    known = tables.get("tools")
    entries = known if isinstance(known, Mapping) else {}
    return {tool: digest(canonical_bytes(entries.get(tool))) for tool in sorted(tools)}


def not_usable(approval_id: str, why: str, message: str) -> ApprovalNotUsableError:
    """Return the error that says ``why`` an approval cannot be used; the word is for programs."""
    return ApprovalNotUsableError(
        f"the approval cannot be used: {message}",
        hint="Nothing was allowed. Decide the plan without it to see what it needs now",
        why=why,
        approval=approval_id,
    )


def _may_not(message: str) -> NotPermittedError:
    return NotPermittedError(message, hint="Ask somebody else to vote", needs="another person")
