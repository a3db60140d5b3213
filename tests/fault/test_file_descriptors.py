"""A serving process may open no file more: what it cannot do it refuses, nothing is lost, and it mends itself."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest
from aisecops_client import AsyncClient
from aisecops_client.errors import AisecopsClientError
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role

from tests.integration.api.real import AGENT, settings_in
from tests.scenes.planes.serving_process import decided, plan, refused, require_on_record, serving

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

# Fewer than are open, so that nothing can be opened, whatever is closed.
NONE_LEFT = 3


def engine_of(process: subprocess.Popen[str]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (found,) = [int(pid) for pid in children if Path(f"/proc/{pid}/exe").resolve().name.startswith("opa")]
    return found


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
            assert (await refused(client, acknowledged)).reason in {"ENGINE_UNAVAILABLE", "LOG_UNAVAILABLE", "SEALED"}
            async with AsyncClient.connect(f"unix:{settings.socket}", token) as stranger:
                stranger.timeout_seconds = 2.0
                with pytest.raises(AisecopsClientError):
                    await stranger.decide(plan())
            assert process.poll() is None
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
            acknowledged.append(await decided(settings))
    await require_on_record(settings.log_path, acknowledged)


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
