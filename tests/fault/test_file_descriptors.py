"""A serving process may open no file more: what it cannot do it refuses, nothing is lost, and it mends itself."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aisecops_client import AsyncClient, PlanBuilder
from aisecops_client.errors import AisecopsClientError
from aisecops_server.adapters.sqlite.event_log import open_log_read_only
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.identity import Role
from aisecops_server.settings import Settings

from tests.integration.api.real import AGENT, settings_in

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

# Fewer than are open, so that nothing can be opened, whatever is closed.
NONE_LEFT = 3
SECONDS = 120


@contextmanager
def serving(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "AISECOPS_STATE_DIR": str(settings.state_dir),
        "AISECOPS_ENGINE_PATH": str(settings.engine_path),
        "AISECOPS_REPOSITORY": settings.repository,
        "AISECOPS_DEADLINE_MILLISECONDS": "2000",
        "AISECOPS_POLL_SECONDS": "3600",
    }
    command = [sys.executable, "-m", "aisecops_server", "serve"]
    with (settings.state_dir.parent / "serve.err").open("w+") as said:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=said, text=True)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=SECONDS)


def plan() -> PlanBuilder:
    builder = PlanBuilder(intent="summarise a ticket", environment="production")
    prompt = builder.source("user_prompt", "Please summarise ticket T-4711.")
    builder.step("tickets/read", {"ticket_id": "T-4711"}, influenced_by=[prompt])
    return builder


async def decided(settings: Settings) -> str:
    """Ask over new connections until there is a decision; return its id."""
    async with asyncio.timeout(SECONDS):
        while True:
            token = issuer(settings).mint(AGENT, (Role.AGENT,))
            async with AsyncClient.connect(f"unix:{settings.socket}", token) as client:
                try:
                    return (await client.decide(plan())).decision.decision_id
                except AisecopsClientError:
                    await asyncio.sleep(0.1)


def engine_of(process: subprocess.Popen[str]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (found,) = [int(pid) for pid in children if Path(f"/proc/{pid}/exe").resolve().name.startswith("opa")]
    return found


async def refused(client: AsyncClient, acknowledged: list[str]) -> str:
    """Ask over an open connection until it is refused; what is answered until then was acknowledged."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                acknowledged.append((await client.decide(plan())).decision.decision_id)
            except AisecopsClientError as error:
                return error.reason


async def test_nothing_can_be_opened_and_the_engine_is_killed(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    token = issuer(settings).mint(AGENT, (Role.AGENT,))
    with serving(settings) as process:
        acknowledged = [await decided(settings)]
        async with AsyncClient.connect(f"unix:{settings.socket}", token) as client:
            client.timeout_seconds = 30.0
            acknowledged.append((await client.decide(plan())).decision.decision_id)
            limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (NONE_LEFT, limits[1]))
            os.kill(engine_of(process), signal.SIGKILL)
            assert await refused(client, acknowledged) in {"ENGINE_UNAVAILABLE", "LOG_UNAVAILABLE", "SEALED"}
            async with AsyncClient.connect(f"unix:{settings.socket}", token) as stranger:
                stranger.timeout_seconds = 2.0
                with pytest.raises(AisecopsClientError):
                    await stranger.decide(plan())
            assert process.poll() is None
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
            acknowledged.append(await decided(settings))
    log = open_log_read_only(settings.state_dir / "audit.db")
    try:
        report = await log.verify()
        assert report.ok, report.problem
        on_record = [stored.event async for stored in log.events(from_index=0, follow=False, trace_id="")]
        concluded = {event.decision_id for event in on_record if event.type == "decision.concluded"}
        assert set(acknowledged) <= concluded
    finally:
        await log.close()


async def test_with_files_left_the_same_steps_end_in_a_decision(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with serving(settings) as process:
        first = await decided(settings)
        limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
        os.kill(engine_of(process), signal.SIGKILL)
        # What the exhausted process could not do: take a new caller, and start another engine, with nobody's help.
        assert await decided(settings) != first
        assert process.poll() is None
