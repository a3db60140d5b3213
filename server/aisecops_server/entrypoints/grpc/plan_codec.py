"""From the API's plan to a draft, and to what a decision needs. By hand, because every decision passes here.

Nothing is judged here except what has no place in a draft: enum numbers that this version does not know, and
plans that come both as fields and as text.
"""

from __future__ import annotations

import dataclasses
import hashlib

from aisecops.v1 import decision_service_pb2, plan_pb2, provenance_pb2

from aisecops_server.domain.decisions.decision import Mode
from aisecops_server.domain.errors import InvalidPlanError, InvalidRequestError
from aisecops_server.domain.plans.extraction import ToolCallFormat, ToolCallMessage, extract
from aisecops_server.domain.plans.plan_builder import (
    DelegateDraft,
    ModelUsageDraft,
    PastStepDraft,
    PlanDraft,
    SourceDraft,
    StepDraft,
)
from aisecops_server.domain.plans.provenance import SourceKind, TrustLevel

_KEY_CHARACTERS = 128
_KINDS: dict[int, SourceKind] = {
    provenance_pb2.SourceKind.Value(f"SOURCE_KIND_{kind.name}"): kind for kind in SourceKind
}
_TRUST: dict[int, TrustLevel | None] = {0: None} | {
    provenance_pb2.TrustLevel.Value(f"TRUST_LEVEL_{level.name}"): level for level in TrustLevel
}
_FORMATS: dict[int, ToolCallFormat] = {
    plan_pb2.ToolCallFormat.Value(f"TOOL_CALL_FORMAT_{shape.name}"): shape for shape in ToolCallFormat
}


def draft_of(request: decision_service_pb2.DecideRequest | decision_service_pb2.SessionRequest) -> PlanDraft:
    """Return the draft in a request, with the steps of its message if it has one.

    Raises:
        InvalidPlanError: the plan cannot be read or comes twice.
    """
    draft = _draft(request.plan)
    if not request.HasField("message"):
        return draft
    return _combined(draft, extract(_message(request.message)))


def idempotency_key(key: str) -> str:
    """Return the key, which may be empty.

    Raises:
        InvalidRequestError: it is too long or not printable ASCII.
    """
    if len(key) > _KEY_CHARACTERS or not (key.isascii() and key.isprintable()):
        raise InvalidRequestError(
            "idempotency_key: not at most 128 printable ASCII characters",
            hint="Use a UUID",
            field="idempotency_key",
        )
    return key


def request_digest(mode: Mode, revision: str, *parts: bytes) -> str:
    """Return what tells a retry from another request. A dry run is never a retry of a real decision."""
    hashed = hashlib.sha256(f"{mode.value}\n{revision}\n".encode())
    for part in parts:
        hashed.update(len(part).to_bytes(8, "big"))
        hashed.update(part)
    return hashed.hexdigest()


def _draft(plan: plan_pb2.ExecutionPlan) -> PlanDraft:
    return PlanDraft(
        steps=tuple(map(_step, plan.steps)),
        sources=tuple(_source(source, index) for index, source in enumerate(plan.sources)),
        plan_id=plan.plan_id,
        trace_id=plan.trace_id,
        session_id=plan.session_id,
        parent_trace_id=plan.parent_trace_id,
        intent=plan.intent,
        environment=plan.environment,
        delegation=tuple(DelegateDraft(link.agent_id, link.trace_id) for link in plan.delegation),
        history=tuple(PastStepDraft(past.step_id, past.tool) for past in plan.history),
        model_usage=tuple(
            ModelUsageDraft(used.model, used.input_tokens, used.output_tokens) for used in plan.model_usage
        ),
    )


def _step(step: plan_pb2.Step) -> StepDraft:
    return StepDraft(
        id=step.step_id,
        tool=step.tool,
        arguments_json=step.arguments_json,
        capability=step.capability,
        depends_on=tuple(step.depends_on),
        influenced_by=tuple(step.influenced_by),
    )


def _source(source: provenance_pb2.Source, index: int) -> SourceDraft:
    kind, trust = _KINDS.get(source.kind), source.declared_trust
    if kind is None:
        raise _unknown(f"sources[{index}].kind", source.kind)
    if trust not in _TRUST:
        raise _unknown(f"sources[{index}].declared_trust", trust)
    return SourceDraft(
        id=source.source_id,
        kind=kind,
        name=source.name,
        origin_uri=source.origin_uri,
        # The wire does not tell empty from absent; a digest of nothing does.
        content=source.content or None,
        digest=source.digest,
        declared_trust=_TRUST[trust],
        tool=source.tool,
        step_id=source.step_id,
    )


def _message(message: plan_pb2.ToolCallMessage) -> ToolCallMessage:
    shape = _FORMATS.get(message.format)
    if shape is None:
        raise _unknown("message.format", message.format)
    return ToolCallMessage(shape, message.payload, message.server)


def _combined(draft: PlanDraft, extracted: PlanDraft) -> PlanDraft:
    given = {}
    for part in dataclasses.fields(PlanDraft):
        outer, inner = getattr(draft, part.name), getattr(extracted, part.name)
        if outer and inner:
            raise InvalidPlanError(
                f"plan.{part.name}: comes both in the plan and in the message",
                hint="Send it in one of them",
                field=f"plan.{part.name}",
            )
        given[part.name] = outer or inner
    return PlanDraft(**given)


def _unknown(field: str, number: int) -> InvalidPlanError:
    why = "is not set" if number == 0 else f"has the value {number}, which this version does not know"
    return InvalidPlanError(f"{field}: {why}", hint="Send a value that proto/aisecops/v1 lists", field=field)
