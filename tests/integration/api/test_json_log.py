"""What a control plane of real parts writes about itself while it is told secrets: no word of them, and the trace."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aisecops_client import AsyncClient
from aisecops_client.plan import PlanBuilder
from aisecops_server.cli.running.log_lines import JsonLines
from aisecops_server.domain.grants.execution import ExecutionCost, ExecutionOutcome, ExecutionReport
from aisecops_server.usecases.grants.report_execution import ReportCommand

from tests.integration.api.real import AGENT, running, settings_in

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]

CANARY = "canary-51c0ffee"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@contextlib.contextmanager
def written() -> Iterator[io.StringIO]:
    """Collect everything that is logged while the block runs, at every level, as `serve` would write it."""
    target = io.StringIO()
    handler = logging.StreamHandler(target)
    handler.setFormatter(JsonLines())
    root = logging.getLogger("aisecops_server")
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield target
    finally:
        root.setLevel(before)
        root.removeHandler(handler)


def secret_plan() -> PlanBuilder:
    plan = PlanBuilder(intent=f"tell {CANARY}", environment="production", trace_id=TRACE)
    plan.step("shell/run", {"command": f"echo {CANARY}", CANARY: [CANARY]})
    return plan


async def test_no_word_of_a_plan_reaches_the_log_and_lines_name_the_trace(tmp_path: Path) -> None:
    with written() as log:
        async with running(settings_in(tmp_path)) as (plane, client):
            await client.decide(secret_plan())
            await _refused(client)
            observed = ExecutionReport(
                outcome=ExecutionOutcome.FAILED,
                tool="shell/run",
                arguments_digest="a" * 64,
                result_digest="",
                cost=ExecutionCost(),
                started_at_seconds=0,
                failure=CANARY,
            )
            await plane.grants.report(ReportCommand(AGENT, AGENT, observed, trace_id=TRACE))
        lines = [_read(line) for line in log.getvalue().splitlines()]
    assert CANARY not in log.getvalue()
    assert [line["trace_id"] for line in lines if line["message"].startswith("incident ")] == [TRACE]


async def _refused(client: AsyncClient) -> None:
    plan = PlanBuilder(intent=CANARY, environment=CANARY * 100, trace_id=TRACE)
    plan.step(f"{CANARY} \x1b[31m", {"command": CANARY})
    with pytest.raises(Exception, match=r"environment|tool|step"):
        await client.decide(plan)


def _read(line: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(line)
    return said
