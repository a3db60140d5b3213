"""Which requests for approval are identical: one answer would be the same answer to each of them.

The hash class of a request is the SHA-256 of everything that an answer depends on: who asks and on whose behalf,
where, which calls with which arguments in which order, what policy says of their tools, why it asks, whom, how many and
for how long, and by name, kind and trust what the agent listened to. Left out is what only tells one request from
another: its names and times, the agent's words about it, and the names that it gave its steps, for which their places
stand. So requests of two agents, or by two chains of delegation, never have the same class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aisecops_server.domain.approvals.approval import ApprovalRequest
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.plans.plan import ExecutionPlan

_OF_A_FINDING = ("rule", "effect", "message", "facts")
_OF_A_SOURCE = ("kind", "trust", "verified", "name", "origin_uri")


def hash_class(request: ApprovalRequest, plan: ExecutionPlan, details: Mapping[str, Any]) -> str:
    """Return the hash class of a request; ``details`` are those of the decision that asks.

    A text that waits to be used has none: it is one of its kind.
    """
    if not plan.steps:
        return ""
    # An identifier is a text and a place is a number, so neither is mistaken for the other.
    places: dict[str, int] = {step.id: number for number, step in enumerate(plan.steps)}
    terms = request.terms
    decisive: dict[str, JsonValue] = {
        "agent_id": request.agent_id,
        "delegation": request.delegation,
        "environment": plan.environment,
        "steps": [
            {
                "tool": step.tool,
                "capability": step.capability,
                "arguments": step.arguments,
                "depends_on": _placed(step.depends_on, places),
            }
            for step in plan.steps
        ],
        "tool_digests": request.tool_digests,
        "approvers_required": terms.approvers_required,
        "groups": terms.groups,
        "excluded": terms.excluded,
        "expires_seconds": terms.expires_seconds,
        "steps_to_approve": _placed(terms.step_ids, places),
        "findings": [
            {"step": places.get(found["step"], found["step"]), **{name: found[name] for name in _OF_A_FINDING}}
            for found in details["findings"]
        ],
        "sources": _sources(details["sources"]),
    }
    return digest(canonical_bytes(decisive))


def _placed(step_ids: Sequence[str], places: Mapping[str, int]) -> list[JsonValue]:
    return [places.get(step_id, step_id) for step_id in step_ids]


def _sources(sources: Sequence[Mapping[str, JsonValue]]) -> list[str]:
    """Return what stands on their badges, each once, however many say the same."""
    badges = {canonical_bytes([source[name] for name in _OF_A_SOURCE]).decode() for source in sources}
    return sorted(badges)
