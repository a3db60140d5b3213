"""The control that asks people, and lets what they granted count once.

Before policy: the approval that a plan comes with is looked up and held against the plan, the agent, the tools as the
tables have them now, and the time. One that does not stand for the plan refuses it, by name; it is never ignored.
After policy: a demand for approval opens a request, or finds the one that is open; an allow that an approval made
possible uses it up, in the transaction that stores the decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from aisecops_server.domain.approvals.approval import (
    Approval,
    ApprovalRequest,
    ApprovalState,
    ApprovalTerms,
    not_usable,
    tool_digests,
)
from aisecops_server.domain.approvals.approval_changes import CloseApproval, ConsumeApproval, OpenApproval
from aisecops_server.domain.approvals.approval_class import hash_class
from aisecops_server.domain.approvals.approval_events import closed_event, consumed_events, requested_event
from aisecops_server.domain.approvals.approval_notice import notice_body
from aisecops_server.domain.approvals.approval_statement import statement
from aisecops_server.domain.approvals.notice import Notice
from aisecops_server.domain.callers.people import answerable_for, person_of
from aisecops_server.domain.decisions.decision import ApprovalDemand, Decision, Effect, Outcome
from aisecops_server.domain.decisions.decision_json import decision_details
from aisecops_server.domain.documents.input_document import Circumstances
from aisecops_server.domain.errors import NotFoundError, OverloadedError
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.events.event import Event
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.plans.plan import ModelUsage, usage_counted
from aisecops_server.ports import Ids
from aisecops_server.ports.approvals import ApprovalStore
from aisecops_server.usecases.approvals.vote_proofs import VoteProofs
from aisecops_server.usecases.decisions.controls import Asked, Commitment
from aisecops_server.usecases.decisions.lifetimes import Lifetimes

CONTROL_PLANE = "control plane"
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ApprovalControl:
    """Implements ``Control``. ``endpoints`` are the names of those who are told of requests."""

    store: ApprovalStore
    proofs: VoteProofs
    ids: Ids
    lifetimes: Lifetimes
    endpoints: tuple[str, ...] = ()
    most_open: int = 100

    async def facts(self, asked: Asked, known: Circumstances) -> Circumstances:
        """Return ``known`` with the approval that the plan comes with.

        Raises:
            ApprovalNotUsableError: it does not stand for this plan now.
            IntegrityError: a vote on it does not verify.
        """
        if not asked.approval_id:
            return known
        try:
            approval = await self.store.approval(asked.approval_id)
        except NotFoundError as error:
            raise not_usable(asked.approval_id, "unknown", "there is none of that id") from error
        given_at_ns = approval.request.requested_at_seconds * _SECOND
        refused = approval.refusal_of_use(
            agent_id=asked.principal.id,
            plan_hash=asked.plan_hash,
            tool_digests=_tool_digests(asked),
            now_seconds=self.lifetimes.now_ns(approval.id, given_at_ns=given_at_ns) // _SECOND,
        )
        if refused:
            raise refused
        self.proofs.require_genuine(approval)
        granted = approval.granted_by(_people(approval, asked.bundle.tables))
        return replace(known, approvals=(granted,), counted=approval.request.counted)

    async def commitment(self, asked: Asked, decision: Decision) -> Commitment:
        """Return the request that ``decision`` opens, or the use of the approval that made it possible.

        Raises:
            OverloadedError: the agent has too many requests open.
        """
        demand = decision.conclusion.approval
        if demand is not None:
            return await self._asking(asked, decision, demand)
        if decision.outcome is Outcome.ALLOW and decision.conclusion.approved_by:
            return await self._using(asked, decision)
        return Commitment()

    async def _using(self, asked: Asked, decision: Decision) -> Commitment:
        approval = await self.store.approval(decision.conclusion.approved_by)
        change = ConsumeApproval(
            approval_id=approval.id,
            agent_id=asked.principal.id,
            plan_hash=asked.plan_hash,
            decision_id=decision.id,
            at_seconds=_seconds(asked),
        )
        events = consumed_events(approval, decision, next_id=self.ids.event_id)
        return Commitment((change,), events, {"approval_id": approval.id})

    async def _asking(self, asked: Asked, decision: Decision, demand: ApprovalDemand) -> Commitment:
        request = replace(self._request(asked, decision, demand), counted=await self._counted(asked))
        now = request.requested_at_seconds
        earlier = await self.store.open_for(request.agent_id, request.plan_hash)
        in_time = earlier is not None and earlier.state_at(now).is_open
        # One that was offered and did not help will not help the next time either.
        if earlier and in_time and earlier.id != asked.approval_id and _asks_for(earlier, request):
            return Commitment(details={"approval_id": earlier.id})
        if not in_time:
            await self._require_room(request.agent_id, now)
        closing, told = self._superseded(earlier, request, asked.now_ns)
        details = decision_details(decision, asked.plan)
        request = replace(request, hash_class=hash_class(request, asked.plan, details))
        shown = statement(request, asked.plan, details)
        opening = OpenApproval(request, shown, tuple(self._notice(endpoint, request) for endpoint in self.endpoints))
        event = requested_event(opening, id=self.ids.event_id(), now_ns=asked.now_ns)
        self.lifetimes.begin(request.id, given_at_ns=now * _SECOND, ends_at_ns=request.expires_at_seconds * _SECOND)
        return Commitment((*closing, opening), (*told, event), {"approval_id": request.id})

    async def _counted(self, asked: Asked) -> tuple[ModelUsage, ...]:
        """Return what is counted of the plan's claim once this decision is: also when it was asked before."""
        before = (await self.store.approval(asked.approval_id)).request.counted if asked.approval_id else ()
        return usage_counted(asked.plan.model_usage, before)

    def _notice(self, endpoint: str, request: ApprovalRequest) -> Notice:
        notice_id = self.ids.notice_id()
        return Notice(notice_id, endpoint, notice_body(notice_id, request))

    async def _require_room(self, agent_id: str, now_seconds: int) -> None:
        if await self.store.open_count(agent_id, now_seconds) >= self.most_open:
            raise OverloadedError(
                "the agent has too many requests for approval open",
                hint="Wait until people have answered some, or withdraw those that are not needed any more",
                limit=str(self.most_open),
            )

    def _request(self, asked: Asked, decision: Decision, demand: ApprovalDemand) -> ApprovalRequest:
        agents = (asked.principal.id, *(link.agent_id for link in asked.plan.delegation))
        now = _seconds(asked)
        return ApprovalRequest(
            id=self.ids.approval_id(),
            nonce=self.ids.nonce(),
            agent_id=agents[0],
            delegation=agents[1:],
            plan_hash=asked.plan_hash,
            document_digest=decision.document_digest,
            trace_id=decision.trace_id,
            plan_id=decision.plan_id,
            decision_id=decision.id,
            bundle_revision=decision.bundle_revision,
            bundle_digest=decision.bundle_digest,
            tool_digests=_tool_digests(asked),
            findings=tuple(
                (finding.rule, finding.step_id)
                for finding in decision.conclusion.findings
                if finding.effect is Effect.REQUIRE_APPROVAL
            ),
            terms=ApprovalTerms(
                approvers_required=demand.approvers_required,
                groups=demand.groups,
                excluded=answerable_for(asked.bundle.tables, agents),
                expires_seconds=demand.expires_seconds,
                step_ids=tuple(demand.step_ids),
            ),
            intent=asked.plan.intent,
            explanation=str(decision_details(decision, asked.plan)["explanation"]),
            requested_at_seconds=now,
            expires_at_seconds=now + demand.expires_seconds,
        )

    def _superseded(
        self, earlier: Approval | None, request: ApprovalRequest, now_ns: int
    ) -> tuple[tuple[Change, ...], tuple[Event, ...]]:
        """Return how the request that was open before ends: its time was over, or policy asks for something else."""
        if earlier is None:
            return (), ()
        in_time = earlier.state_at(request.requested_at_seconds).is_open
        change = CloseApproval(
            approval_id=earlier.id,
            seen=earlier.version,
            state=ApprovalState.WITHDRAWN if in_time else ApprovalState.EXPIRED,
            by=CONTROL_PLANE,
            note=f"asked anew as {request.id}" if in_time else "",
            at_seconds=request.requested_at_seconds,
        )
        return (change,), (closed_event(earlier, change, id=self.ids.event_id(), now_ns=now_ns),)


def _asks_for(earlier: Approval, request: ApprovalRequest) -> bool:
    return earlier.asks_for(request.terms, request.findings, request.tool_digests)


def _people(approval: Approval, tables: Mapping[str, JsonValue]) -> tuple[str, ...]:
    # Two names that were two people when they voted may be known to be one by now.
    return tuple(dict.fromkeys(person_of(tables, name).name for name in approval.approvers))


def _tool_digests(asked: Asked) -> dict[str, str]:
    return tool_digests(asked.bundle.tables, frozenset(step.tool for step in asked.plan.steps))


def _seconds(asked: Asked) -> int:
    return asked.now_ns // _SECOND
