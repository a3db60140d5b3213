"""Approvals as the JSON that events and the store keep. What is written here is read back as it was, or not at all."""

from __future__ import annotations

from collections.abc import Mapping

from aisecops_server.domain.approvals.approval import ApprovalId, ApprovalRequest, ApprovalTerms, Choice, SignedBy, Vote
from aisecops_server.domain.errors import IntegrityError, InvalidPlanError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.formats.json_fields import JsonFields
from aisecops_server.domain.plans.plan import ModelUsage


def request_details(request: ApprovalRequest) -> dict[str, JsonValue]:
    """Return all of a request."""
    terms = request.terms
    return {
        "approval_id": request.id,
        "nonce": request.nonce,
        "agent_id": request.agent_id,
        "delegation": request.delegation,
        "plan_hash": request.plan_hash,
        "document_digest": request.document_digest,
        "trace_id": request.trace_id,
        "plan_id": request.plan_id,
        "decision_id": request.decision_id,
        "bundle_revision": request.bundle_revision,
        "bundle_digest": request.bundle_digest,
        "tool_digests": request.tool_digests,
        "findings": [{"rule": rule, "step": step} for rule, step in request.findings],
        "terms": {
            "approvers_required": terms.approvers_required,
            "groups": terms.groups,
            "excluded": terms.excluded,
            "expires_seconds": terms.expires_seconds,
            "steps": terms.step_ids,
        },
        "intent": request.intent,
        "explanation": request.explanation,
        "requested_at_seconds": request.requested_at_seconds,
        "expires_at_seconds": request.expires_at_seconds,
        "counted_model_usage": [
            {"model": used.model, "input_tokens": used.input_tokens, "output_tokens": used.output_tokens}
            for used in request.counted
        ],
        "hash_class": request.hash_class,
    }


def request_of(details: Mapping[str, JsonValue]) -> ApprovalRequest:
    """Return the request that was written as ``details``.

    Raises:
        IntegrityError: they are not those of a request.
    """
    try:
        return _request(JsonFields(details, "approval"))
    except InvalidPlanError as error:
        raise _unreadable(error) from error


def vote_details(vote: Vote) -> dict[str, JsonValue]:
    """Return all of a vote."""
    return {
        "approver": vote.approver,
        "principal": vote.principal_id,
        "authenticated_by": vote.authenticated_by,
        "credential_sha256": vote.credential,
        "choice": vote.choice.value,
        "note": vote.note,
        "at_seconds": vote.at_seconds,
        "signed_at_seconds": vote.signed_at_seconds,
        "token_id": vote.token_id,
        "signed_by": vote.signed_by.value,
        "key_id": vote.key_id,
        "signature": vote.signature,
        "attestation": vote.attestation,
    }


def vote_of(details: Mapping[str, JsonValue]) -> Vote:
    """Return the vote that was written as ``details``.

    Raises:
        IntegrityError: they are not those of a vote.
    """
    try:
        return _vote(JsonFields(details, "vote"))
    except (InvalidPlanError, ValueError) as error:
        raise _unreadable(error) from error


def _request(fields: JsonFields) -> ApprovalRequest:
    digests = fields.object("tool_digests")
    return ApprovalRequest(
        id=ApprovalId(fields.text("approval_id")),
        nonce=fields.text("nonce"),
        agent_id=fields.text("agent_id"),
        delegation=fields.texts("delegation"),
        plan_hash=fields.text("plan_hash"),
        document_digest=fields.text("document_digest"),
        trace_id=fields.text("trace_id"),
        plan_id=fields.text("plan_id"),
        decision_id=fields.text("decision_id"),
        bundle_revision=fields.text("bundle_revision"),
        bundle_digest=fields.text("bundle_digest"),
        tool_digests={tool: digests.text(tool) for tool in digests.members},
        findings=tuple((found.text("rule"), found.text("step")) for found in fields.objects("findings")),
        terms=_terms(fields.object("terms")),
        intent=fields.text("intent"),
        explanation=fields.text("explanation"),
        requested_at_seconds=fields.integer("requested_at_seconds"),
        expires_at_seconds=fields.integer("expires_at_seconds"),
        # Requests of earlier versions say nothing of it.
        counted=tuple(map(_counted, fields.objects("counted_model_usage", ()))),
        hash_class=fields.text("hash_class", ""),
    )


def _counted(fields: JsonFields) -> ModelUsage:
    return ModelUsage(fields.text("model"), fields.integer("input_tokens"), fields.integer("output_tokens"))


def _terms(fields: JsonFields) -> ApprovalTerms:
    return ApprovalTerms(
        approvers_required=fields.integer("approvers_required"),
        groups=fields.texts("groups"),
        excluded=fields.texts("excluded"),
        expires_seconds=fields.integer("expires_seconds"),
        step_ids=fields.texts("steps"),
    )


def _vote(fields: JsonFields) -> Vote:
    return Vote(
        approver=fields.text("approver"),
        principal_id=fields.text("principal"),
        authenticated_by=fields.text("authenticated_by"),
        credential=fields.text("credential_sha256"),
        choice=Choice(fields.text("choice")),
        note=fields.text("note"),
        at_seconds=fields.integer("at_seconds"),
        signed_at_seconds=fields.integer("signed_at_seconds"),
        token_id=fields.text("token_id"),
        signed_by=SignedBy(fields.text("signed_by")),
        key_id=fields.text("key_id"),
        signature=fields.text("signature"),
        attestation=fields.text("attestation"),
    )


def _unreadable(error: Exception) -> IntegrityError:
    return IntegrityError(
        f"a stored approval cannot be read ({error})",
        hint="Keep the database as evidence and run 'aisecops log verify'",
    )
