"""From approvals to the API's messages."""

from __future__ import annotations

from aisecops.v1 import approval_pb2
from aisecops.v1 import approval_service_pb2 as api

from aisecops_server.domain.approvals.approval import Approval, ApprovalState, Choice, PastAnswer, SignedBy, Vote
from aisecops_server.entrypoints.grpc.decision_codec import timestamp
from aisecops_server.usecases.approvals.vote_together import Answered

STATES = {state: approval_pb2.ApprovalState.Value(f"APPROVAL_STATE_{state.name}") for state in ApprovalState}
CHOICES = {choice: approval_pb2.Choice.Value(f"CHOICE_{choice.name}") for choice in Choice}
_SIGNERS = {signer: approval_pb2.SignedBy.Value(f"SIGNED_BY_{signer.name}") for signer in SignedBy}
_NANOSECONDS = 1_000_000_000


def approval_message(approval: Approval) -> approval_pb2.Approval:
    """Return an approval as the API shows it."""
    request = approval.request
    return approval_pb2.Approval(
        approval_id=request.id,
        state=STATES[approval.state],
        agent_id=request.agent_id,
        delegation=request.delegation,
        intent=request.intent,
        explanation=request.explanation,
        findings=[approval_pb2.ApprovalFinding(rule=rule, step_id=step) for rule, step in request.findings],
        tools=sorted(request.tool_digests),
        plan_hash=request.plan_hash,
        document_digest=request.document_digest,
        trace_id=request.trace_id,
        decision_id=request.decision_id,
        bundle_revision=request.bundle_revision,
        approvers_required=request.terms.approvers_required,
        groups=request.terms.groups,
        excluded=request.terms.excluded,
        votes=[_vote(vote) for vote in approval.votes],
        statement_digest=approval.statement_digest,
        requested_at=timestamp(request.requested_at_seconds * _NANOSECONDS),
        expires_at=timestamp(request.expires_at_seconds * _NANOSECONDS),
        closed_by=approval.closed_by,
        closed_note=approval.closed_note,
        consumed_by=approval.consumed_by,
        hash_class=request.hash_class,
    )


def answered_message(answered: Answered) -> api.AnsweredApproval:
    """Return what became of one request of several as the API shows it."""
    refused = answered.refused
    return api.AnsweredApproval(
        approval=approval_message(answered.approval),
        reason=refused.reason if refused else "",
        message=refused.message if refused else "",
    )


def past_answer_message(answer: PastAnswer) -> approval_pb2.PastAnswer:
    """Return an earlier answer as the API shows it."""
    request = answer.approval.request
    return approval_pb2.PastAnswer(
        approval_id=request.id,
        state=STATES[answer.approval.state],
        vote=_vote(answer.vote),
        tools=answer.tools,
        intent=request.intent,
    )


def _vote(vote: Vote) -> approval_pb2.Vote:
    return approval_pb2.Vote(
        approver=vote.approver,
        principal_id=vote.principal_id,
        authenticated_by=vote.authenticated_by,
        credential_sha256=vote.credential,
        choice=CHOICES[vote.choice],
        note=vote.note,
        voted_at=timestamp(vote.at_seconds * _NANOSECONDS),
        signed_by=_SIGNERS[vote.signed_by],
        key_id=vote.key_id,
        signature=vote.signature,
        attestation=vote.attestation,
    )
