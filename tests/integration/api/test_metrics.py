"""Metrics of a control plane that runs: read over HTTP, by this machine only."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from aisecops_client.plan import PlanBuilder
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.entrypoints.metrics.app import listening
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.api.real import running, settings_in

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]


async def nothing() -> bytes:
    return b""


async def test_what_was_decided_is_counted_and_holds_no_text(tmp_path: Path) -> None:
    socket = tmp_path / "m.sock"
    settings = settings_in(tmp_path).model_copy(update={"metrics_address": f"unix:{socket}"})
    async with running(settings) as (plane, client):
        assert socket.stat().st_mode & 0o077 == 0
        plan = PlanBuilder(intent="nobody's business", environment="production")
        plan.step("shell/run", {"command": "ls"})
        await client.decide(plan)
        counted = 0.0
        connector = aiohttp.UnixConnector(str(socket))
        async with asyncio.timeout(60), aiohttp.ClientSession(connector=connector) as session:
            # What is counted follows what is recorded, so it is asked until it is there.
            while not counted:
                async with session.get("http://metrics/metrics") as answer:
                    assert answer.status == 200
                    text = await answer.text()
                samples = {
                    (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
                    for family in text_string_to_metric_families(text)
                    for sample in family.samples
                }
                counted = samples.get(("aisecops_decisions_total", "ENFORCE", "DENY"), 0.0)
            async with session.get("http://metrics/") as other:
                assert other.status == 404
        assert counted == 1
        assert samples["aisecops_blocked_plans_by_tool_total", "shell/run"] == 1
        assert samples["aisecops_log_events",] == (await plane.log.head()).size
        assert "nobody's business" not in text


ELSEWHERE = ("0.0.0.0:0", "10.0.0.1:9464", "localhost:9464", "[::]:0", "9464", "127.0.0.1:x", "unix:/no/such/place/s")


@pytest.mark.parametrize("address", ELSEWHERE)
async def test_only_this_machine_is_served(address: str) -> None:
    with pytest.raises(InvalidRequestError, match="cannot serve metrics"):
        async with listening(nothing, "text/plain", address):
            pass


async def test_loopback_is_served() -> None:
    async with (
        listening(nothing, "text/plain; charset=utf-8", "127.0.0.1:0") as address,
        aiohttp.ClientSession() as session,
        session.get(f"http://{address}/metrics") as answer,
    ):
        assert (answer.status, await answer.read()) == (200, b"")
