"""Our own plan as a JSON document: the fields of the API's ``ExecutionPlan``, with ``arguments`` as an object."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.formats.json_fields import JsonFields, refusal
from aisecops_server.domain.plans.plan_builder import (
    DelegateDraft,
    ModelUsageDraft,
    PastStepDraft,
    PlanDraft,
    SourceDraft,
    StepDraft,
)
from aisecops_server.domain.plans.provenance import SourceKind, TrustLevel

_TEXTS = ("plan_id", "trace_id", "session_id", "parent_trace_id", "intent", "environment")
_E = TypeVar("_E", bound=StrEnum)


def read_plan(fields: JsonFields) -> PlanDraft:
    """Return the draft that a JSON document describes.

    Raises:
        InvalidPlanError: a member is unknown, missing or of the wrong type.
    """
    fields.allows(*_TEXTS, "steps", "sources", "delegation", "history", "model_usage")
    return PlanDraft(
        steps=tuple(_step(part) for part in fields.objects("steps")),
        sources=tuple(_source(part) for part in fields.objects("sources", ())),
        plan_id=fields.text("plan_id", ""),
        trace_id=fields.text("trace_id", ""),
        session_id=fields.text("session_id", ""),
        parent_trace_id=fields.text("parent_trace_id", ""),
        intent=fields.text("intent", ""),
        environment=fields.text("environment", ""),
        delegation=tuple(_delegate(part) for part in fields.objects("delegation", ())),
        history=tuple(_past(part) for part in fields.objects("history", ())),
        model_usage=tuple(_model_usage(part) for part in fields.objects("model_usage", ())),
    )


def _step(part: JsonFields) -> StepDraft:
    part.allows("step_id", "tool", "capability", "arguments", "depends_on", "influenced_by")
    return StepDraft(
        id=part.text("step_id"),
        tool=part.text("tool"),
        arguments_json=canonical_bytes(part.mapping("arguments")),
        capability=part.text("capability", ""),
        depends_on=part.texts("depends_on"),
        influenced_by=part.texts("influenced_by"),
    )


def _source(part: JsonFields) -> SourceDraft:
    part.allows("source_id", "kind", "name", "origin_uri", "content", "digest", "declared_trust", "tool", "step_id")
    return SourceDraft(
        id=part.text("source_id"),
        kind=_enum(part, "kind", SourceKind),
        name=part.text("name", ""),
        origin_uri=part.text("origin_uri", ""),
        content=part.text("content").encode() if part.has("content") else None,
        digest=part.text("digest", ""),
        declared_trust=_enum(part, "declared_trust", TrustLevel) if part.has("declared_trust") else None,
        tool=part.text("tool", ""),
        step_id=part.text("step_id", ""),
    )


def _delegate(part: JsonFields) -> DelegateDraft:
    part.allows("agent_id", "trace_id")
    return DelegateDraft(part.text("agent_id"), part.text("trace_id", ""))


def _past(part: JsonFields) -> PastStepDraft:
    part.allows("step_id", "tool")
    return PastStepDraft(part.text("step_id"), part.text("tool"))


def _model_usage(part: JsonFields) -> ModelUsageDraft:
    part.allows("model", "input_tokens", "output_tokens")
    tokens = {name: part.integer(name) for name in ("input_tokens", "output_tokens") if part.has(name)}
    return ModelUsageDraft(part.text("model"), **tokens)


def _enum(part: JsonFields, name: str, kind: type[_E]) -> _E:
    value = part.text(name)
    try:
        return kind(value)
    except ValueError as error:
        raise refusal(part.field(name), f"must be one of {', '.join(kind)}") from error
