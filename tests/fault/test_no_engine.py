"""The whole control plane while its engine is stopped: every plan is refused and on record, and it mends itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from aisecops_client import AsyncClient, PlanBuilder, RetryLaterError
from aisecops_server.adapters.opa.engine import OpaEngine
from aisecops_server.domain.callers.identity import Role

from tests.integration.api.real import running, settings_in


def plan() -> PlanBuilder:
    builder = PlanBuilder(intent="summarise a ticket", environment="production")
    prompt = builder.source("user_prompt", "Please summarise ticket T-4711.")
    builder.step("tickets/read", {"ticket_id": "T-4711"}, influenced_by=[prompt])
    return builder


async def ask_through_the_outage(client: AsyncClient) -> tuple[int, list[str]]:
    """Ask until there was a refusal and then a decision; return how many were allowed, and why others were not."""
    allowed, refusals = 0, list[str]()
    async with asyncio.timeout(60):
        while True:
            try:
                answer = await client.decide(plan())
            except RetryLaterError as error:
                refusals.append(error.reason)
                continue
            assert answer.allowed
            allowed += 1
            if refusals:
                return allowed, refusals


@pytest.mark.asyncio
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGSTOP])
async def test_plans_are_refused_each_refusal_is_on_record_and_service_comes_back_by_itself(
    stop: signal.Signals, tmp_path: Path
) -> None:
    settings = settings_in(tmp_path).model_copy(update={"deadline_milliseconds": 500})
    async with running(settings, *Role) as (control, client):
        engine = control.live.current()
        assert isinstance(engine, OpaEngine)
        os.kill(engine._process.pid, stop)
        allowed, refusals = await ask_through_the_outage(client)
        assert set(refusals) == {"ENGINE_UNAVAILABLE"}
        events = [event async for event in client.events()]
        recorded = [json.loads(event.body_json)["details"] for event in events if event.type == "decision.refused"]
        assert [(found["reason"], found["outcome"]) for found in recorded] == [(why, "DENY") for why in refusals]
        assert [event.type for event in events].count("decision.concluded") == allowed
