"""Exactly what people are asked to agree to, as one sequence of bytes, and what a vote on it says.

The bytes are JSON in canonical form in which every character that would steer a screen or hide from the eye stands
as its escape. Whoever shows them shows all of them, and a vote names their digest: an approver agrees to what they
saw, and a change of one character is another statement.
"""

from __future__ import annotations

from collections.abc import Mapping

from aisecops_server.domain.approvals.approval import ApprovalRequest, Vote
from aisecops_server.domain.display.visible_text import visible_json
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.plans.plan import ExecutionPlan, Step

SCHEMA_VERSION = 1
AUDIENCE = "aisecops/approval"
VOTE_TYPE = "approval+jws"
ATTESTATION_TYPE = "approval-attestation+jws"
_SHOWN_OF_DECISION = ("findings", "sources", "outcome", "risk_score_milli")


def statement(request: ApprovalRequest, plan: ExecutionPlan, details: Mapping[str, JsonValue]) -> bytes:
    """Return what is shown and voted on; ``details`` are those of the decision that asks."""
    shown: dict[str, JsonValue] = {
        "schema_version": SCHEMA_VERSION,
        "approval_id": request.id,
        "nonce": request.nonce,
        "agent_id": request.agent_id,
        "delegation": request.delegation,
        "environment": plan.environment,
        "intent": request.intent,
        "plan_hash": request.plan_hash,
        "document_digest": request.document_digest,
        "trace_id": request.trace_id,
        "decision_id": request.decision_id,
        "bundle_revision": request.bundle_revision,
        "bundle_digest": request.bundle_digest,
        "tool_digests": request.tool_digests,
        "steps": [_step(step) for step in plan.steps],
        "approvers_required": request.terms.approvers_required,
        "groups": request.terms.groups,
        "excluded": request.terms.excluded,
        "steps_to_approve": request.terms.step_ids,
        "requested_at_seconds": request.requested_at_seconds,
        "expires_at_seconds": request.expires_at_seconds,
        **{name: details[name] for name in _SHOWN_OF_DECISION},
    }
    return visible_json(canonical_bytes(shown).decode()).encode()


def vote_claims(vote: Vote, *, approval_id: str, statement_digest: str) -> dict[str, JsonValue]:
    """Return what is signed for a vote, in canonical form."""
    return {
        "aud": AUDIENCE,
        "sub": vote.principal_id,
        "iat": vote.signed_at_seconds,
        "jti": vote.token_id,
        "approval_id": approval_id,
        "statement_sha256": statement_digest,
        "choice": vote.choice.value,
        "note": vote.note,
    }


def attestation_claims(vote: Vote, *, approval_id: str, statement_digest: str) -> dict[str, JsonValue]:
    """Return what the control plane signs for every vote: the very claims of the vote, and whom it heard them from."""
    return {
        "aud": AUDIENCE,
        "approver": vote.approver,
        "principal": vote.principal_id,
        "authenticated_by": vote.authenticated_by,
        "credential_sha256": vote.credential,
        "signed_by": vote.signed_by.value,
        "signature_sha256": digest(vote.signature.encode()) if vote.signature else "",
        "at_seconds": vote.at_seconds,
        "vote": vote_claims(vote, approval_id=approval_id, statement_digest=statement_digest),
    }


def _step(step: Step) -> JsonValue:
    return {
        "id": step.id,
        "tool": step.tool,
        "capability": step.capability,
        "arguments": step.arguments,
        "depends_on": step.depends_on,
    }
