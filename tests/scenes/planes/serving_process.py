"""The control plane as a process of its own, and agents that ask it from outside, while something happens to it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from aisecops_client import AsyncClient, PlanBuilder
from aisecops_client.errors import AisecopsClientError
from aisecops_server.adapters.sqlite.event_log import open_log_read_only
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings

from tests.integration.api.real import AGENT

SECONDS = 120


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the whole environment of a process with those settings."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "AISECOPS_STATE_DIR": str(settings.state_dir),
        "AISECOPS_LISTEN_SOCKET": str(settings.socket),
        "AISECOPS_ENGINE_PATH": str(settings.engine_path),
        "AISECOPS_REPOSITORY": settings.repository,
        "AISECOPS_DEADLINE_MILLISECONDS": "2000",
        "AISECOPS_POLL_SECONDS": "3600",
    }


@contextmanager
def serving(
    settings: Settings, *, within: Sequence[str] = (), more: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Serve while the block runs. ``within`` is a command that executes the rest of its arguments."""
    command = [*within, sys.executable, "-m", "aisecops_server", "serve"]
    environment = {**environment_of(settings), **(more or {})}
    with Path(settings.repository).with_name("serve.err").open("a+") as said:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=said, text=True)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=SECONDS)


def plan() -> PlanBuilder:
    """Return a plan that the shipped policy allows."""
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


async def refused(client: AsyncClient, acknowledged: list[str]) -> AisecopsClientError:
    """Ask over an open connection until it is refused; what is answered until then was acknowledged."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                acknowledged.append((await client.decide(plan())).decision.decision_id)
            except AisecopsClientError as error:
                return error


async def require_on_record(log_file: Path, acknowledged: Collection[str]) -> None:
    """Require that the log verifies and holds every decision that was acknowledged."""
    log = open_log_read_only(log_file)
    try:
        report = await log.verify()
        assert report.ok, report.problem
        on_record = [stored.event async for stored in log.events(from_index=0, follow=False, trace_id="")]
        concluded = {event.decision_id for event in on_record if event.type == "decision.concluded"}
        assert set(acknowledged) <= concluded
    finally:
        await log.close()
