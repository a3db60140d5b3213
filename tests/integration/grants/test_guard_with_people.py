"""A guarded function whose call people have to approve: it waits, is decided again, and runs once; or it does not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aisecops.v1 import approval_pb2
from aisecops_client import ApprovalRequiredError, AsyncClient, AsyncGuard
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings

from tests.integration.api.real import running, settings_in
from tests.integration.api.test_approvals import ADA, APPROVE, DENY, answered, people

pytestmark = pytest.mark.asyncio
PROMPT = "Refund order 48213 of customer C-20417, 164 EUR. Parcel lost"
REFUND: dict[str, Any] = {"order_id": "48213", "customer_id": "C-20417", "amount": 164, "reason": "Parcel lost"}


# Each test reads the log from its beginning, so it is its own.
@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


@pytest.mark.parametrize("choice", [APPROVE, DENY])
async def test_a_call_that_people_decide_runs_only_with_their_consent(settings: Settings, choice: Any) -> None:
    paid: list[int] = []
    async with running(settings, *Role) as (plane, agent), people(settings, plane, ADA) as [ada]:
        guard = AsyncGuard(agent, environment="production", approval_seconds=60)

        @guard.tool("crm/issue_refund")
        async def refund(order_id: str, customer_id: str, amount: int, reason: str) -> str:
            paid.append(amount)
            return f"paid {order_id} {customer_id} {reason}"

        async def ask() -> str:
            with guard.task("Refund 164 for order 48213") as task:
                task.source("user_prompt", PROMPT)
                return str(await refund(**REFUND))

        asking = asyncio.create_task(ask())
        approval_id = await _waiting(ada)
        assert paid == []
        await answered(ada, approval_id, choice)
        if choice == APPROVE:
            assert await asking == "paid 48213 C-20417 Parcel lost"
        else:
            with pytest.raises(ApprovalRequiredError) as refused:
                await asking
            assert refused.value.approval_id == approval_id
    assert paid == ([164] if choice == APPROVE else [])


async def test_who_does_not_wait_is_told_which_request_waits(settings: Settings) -> None:
    async with running(settings, *Role) as (_plane, agent):
        guard = AsyncGuard(agent, environment="production")

        @guard.tool("crm/issue_refund")
        async def refund(order_id: str, customer_id: str, amount: int, reason: str) -> None:
            raise AssertionError((order_id, customer_id, amount, reason))

        with guard.task("Refund 164 for order 48213") as task:
            task.source("user_prompt", PROMPT)
            with pytest.raises(ApprovalRequiredError) as refused:
                await refund(**REFUND)
        assert refused.value.approval_id != ""


async def _waiting(ada: AsyncClient) -> str:
    """Return the one request that waits for people, as soon as there is one; the log says when to look."""
    async for event in ada.events(follow=True):
        if event.type == "approval.requested":
            page = await ada.approvals.page(states=[approval_pb2.APPROVAL_STATE_REQUESTED])
            if page.approvals:
                return str(page.approvals[0].approval_id)
    raise AssertionError("the log ended")
