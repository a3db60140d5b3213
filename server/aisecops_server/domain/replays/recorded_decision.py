"""A decision as the log holds it, read to be decided again: what was concluded, on which document, by which policy.

Nothing here trusts what it reads. What cannot be evaluated again says so by its ``doubt``, and what the record does
not have is never made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.plans.plan import StepId

# What a conclusion must have to be compared at all; later versions record more.
ESSENTIAL_FIELDS = ("outcome", "findings", "steps")


class Doubt(StrEnum):
    """Why a decision, or the whole replay, cannot be vouched for."""

    RECORD_ALTERED = "record_altered"
    DOCUMENT_MISSING = "document_missing"
    DOCUMENT_ALTERED = "document_altered"
    DOCUMENT_MASKED = "document_masked"
    FIELDS_MISSING = "fields_missing"
    SCHEMA_DRIFT = "schema_drift"
    BUNDLE_MISSING = "bundle_missing"
    BUNDLE_CHANGED = "bundle_changed"
    ENGINE_VERSION = "engine_version"
    NOT_REPRODUCED = "not_reproduced"
    NO_DECISION = "no_decision"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a decision stands: its trace's number, the index of its outcome event, and that event's leaf hash."""

    trace: int
    index: int
    leaf_hash: bytes


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """One recorded decision. ``content`` is what the document says; ``doubt`` is why it cannot be evaluated again."""

    index: int
    details: Mapping[str, JsonValue]
    document: bytes
    content: Mapping[str, JsonValue]
    doubt: Doubt | None = None

    @property
    def decision_id(self) -> str:
        """Return the decision's id."""
        return self.text("decision_id")

    @property
    def agent_id(self) -> str:
        """Return the id of the agent that asked."""
        principal = self.details.get("principal")
        return str(principal.get("id", "")) if isinstance(principal, dict) else ""

    @property
    def rules(self) -> tuple[str, ...]:
        """Return the rules that fired, sorted, each once."""
        return tuple(sorted({str(finding.get("rule", "")) for finding in self.parts("findings")}))

    @property
    def tools(self) -> tuple[str, ...]:
        """Return the tools of the plan, sorted, each once."""
        plan = self.content.get("plan")
        steps = plan.get("steps") if isinstance(plan, dict) else None
        listed = steps if isinstance(steps, list) else []
        return tuple(sorted({str(step.get("tool", "")) for step in listed if isinstance(step, dict)}))

    @property
    def step_ids(self) -> tuple[StepId, ...]:
        """Return the ids of the steps that were decided, in plan order."""
        return tuple(StepId(str(step.get("id", ""))) for step in self.parts("steps"))

    @property
    def decided_at_micros(self) -> int:
        """Return when it was decided, or 0 when the record does not say."""
        at = self.details.get("decided_at_micros")
        return at if isinstance(at, int) else 0

    @property
    def missing_fields(self) -> tuple[str, ...]:
        """Return what the record lacks of that which a comparison needs."""
        return tuple(name for name in ESSENTIAL_FIELDS if name not in self.details)

    def text(self, name: str) -> str:
        """Return a field that is a string, or an empty one."""
        value = self.details.get(name)
        return value if isinstance(value, str) else ""

    def parts(self, name: str) -> tuple[Mapping[str, JsonValue], ...]:
        """Return a field that is a list of objects, or nothing."""
        value = self.details.get(name)
        return tuple(part for part in value if isinstance(part, dict)) if isinstance(value, list) else ()
