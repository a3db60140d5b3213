"""Requests that tests send."""

from __future__ import annotations

from aisecops.v1.decision_service_pb2 import DecideRequest
from aisecops.v1.plan_pb2 import ExecutionPlan
from aisecops_client import PlanBuilder


def plan(tool: str = "mail/send", **fields: str) -> ExecutionPlan:
    """Return a plan of one step that a prompt led to."""
    builder = PlanBuilder(intent="send it", **fields)
    prompt = builder.source("user_prompt", "Mail ada@example.org", id="prompt")
    builder.step(tool, {"to": "ada@example.org"}, influenced_by=[prompt])
    return builder.build()


def request(tool: str = "mail/send", key: str = "") -> DecideRequest:
    """Return a request with one plan."""
    return DecideRequest(plan=plan(tool), idempotency_key=key)
