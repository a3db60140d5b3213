"""Drafts that are fine, to be spoiled one field at a time."""

from __future__ import annotations

from aisecops_server.domain.plans.plan import PlanId, TraceId
from aisecops_server.domain.plans.plan_builder import Fresh, PlanDraft, SourceDraft, StepDraft
from aisecops_server.domain.plans.provenance import SourceKind

FRESH = Fresh(TraceId("f" * 32), PlanId("plan-fresh"))
SOURCE = SourceDraft(id="prompt", kind=SourceKind.USER_PROMPT, content=b"Mail ada@example.org")
STEP = StepDraft(id="s1", tool="mail/send", arguments_json=b'{"to":"ada@example.org"}')
DRAFT = PlanDraft(steps=(STEP,), sources=(SOURCE,))
