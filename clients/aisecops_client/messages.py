"""The requests that both clients send."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from aisecops.v1 import decision_service_pb2
from aisecops.v1.plan_pb2 import ExecutionPlan, ToolCallFormat, ToolCallMessage

from aisecops_client.errors import AccessRefusedError
from aisecops_client.plan import PlanBuilder
from aisecops_client.words import constant

Plan = ExecutionPlan | PlanBuilder

# Which tenant is meant, for who has a credential of several.
TENANT = "aisecops-tenant"


def tool_call_message(shape: str, payload: bytes | str, *, server: str = "") -> ToolCallMessage:
    """Return text of a model from which steps are extracted; ``shape`` is such as `openai`, `anthropic`, `mcp`.

    Raises:
        ValueError: there is no such shape.
    """
    data = payload.encode() if isinstance(payload, str) else payload
    return ToolCallMessage(
        format=constant(ToolCallFormat, "TOOL_CALL_FORMAT_", shape, "shape of message"), payload=data, server=server
    )


def decide_request(
    plan: Plan,
    *,
    message: ToolCallMessage | None = None,
    idempotency_key: str = "",
    approval_id: str = "",
    redemption_key: str = "",
) -> decision_service_pb2.DecideRequest:
    """Return the request for one plan."""
    return decision_service_pb2.DecideRequest(
        plan=built(plan),
        message=message,
        idempotency_key=idempotency_key,
        approval_id=approval_id,
        redemption_key=redemption_key,
    )


def built(plan: Plan) -> ExecutionPlan:
    """Return the plan that a builder has so far, or the plan itself."""
    return plan.build() if isinstance(plan, PlanBuilder) else plan


def batch_request(plans: Iterable[Plan], *, dry_run: bool) -> decision_service_pb2.DecideBatchRequest:
    """Return the request for many plans, correlated by their place."""
    return decision_service_pb2.DecideBatchRequest(
        items=[
            decision_service_pb2.DecideBatchItem(correlation_id=str(at), request=decide_request(plan), dry_run=dry_run)
            for at, plan in enumerate(plans)
        ]
    )


def bearer(token: str, tenant: str = "") -> tuple[tuple[str, str], ...]:
    """Return the metadata that carries a token, none without one, where a certificate says who calls; and a tenant.

    The white space around a token is that of the file which it was read from.

    Raises:
        AccessRefusedError: it is more than one word, or has signs that no token has.
    """
    word = token.strip()
    if not word.isascii() or any(not "!" <= sign <= "~" for sign in word):
        raise AccessRefusedError(
            "the token is not one word of ASCII. Give it alone, as who issued it printed it",
            grpc.StatusCode.UNAUTHENTICATED,
            "UNAUTHENTICATED",
        )
    said = (("authorization", f"Bearer {word}"),) if word else ()
    return (*said, (TENANT, tenant)) if tenant else said
