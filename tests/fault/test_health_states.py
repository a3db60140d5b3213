"""A load balancer is told when nothing can be decided, whatever the reason, and when something can again."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

import grpc
import pytest
from aisecops_server.adapters.opa.engine import OpaEngine
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.fault.test_no_engine import plan
from tests.integration.api.real import running, settings_in
from tests.scenes.policy.git_remotes import Remote
from tests.support import opa_binary

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]


async def state(settings: Settings) -> int:
    async with grpc.aio.insecure_channel(f"unix:{settings.socket}") as channel:
        request = health_pb2.HealthCheckRequest(service="aisecops.v1.DecisionService")
        return int((await health_pb2_grpc.HealthStub(channel).Check(request, timeout=60)).status)


async def until(settings: Settings, wanted: int) -> None:
    async with asyncio.timeout(120):
        while await state(settings) != wanted:  # noqa: ASYNC110 - it is seen from outside only
            await asyncio.sleep(0.05)


async def test_it_serves_once_there_is_a_policy_to_decide_by(tmp_path: Path) -> None:
    settings = settings_in(tmp_path).model_copy(update={"branch": "later"})
    async with running(settings, *Role) as (control, client):
        assert await state(settings) == NOT_SERVING
        remote = Remote(tmp_path / "policy")
        remote.git("branch", "later")
        await control.policy.sync()
        assert await state(settings) == SERVING
        assert (await client.decide(plan())).allowed


async def test_it_does_not_serve_while_there_is_no_engine_and_serves_again_with_one(tmp_path: Path) -> None:
    binary = tmp_path / "opa"
    shutil.copy(opa_binary(), binary)
    settings = settings_in(tmp_path).model_copy(update={"engine_path": binary})
    async with running(settings, *Role) as (control, client):
        assert await state(settings) == SERVING
        engine = control.live.current()
        assert isinstance(engine, OpaEngine)
        binary.rename(tmp_path / "gone")
        os.kill(engine._process.pid, signal.SIGKILL)
        await until(settings, NOT_SERVING)
        (tmp_path / "gone").rename(binary)
        await until(settings, SERVING)
        assert (await client.decide(plan())).allowed


async def test_a_sealed_log_ends_service_for_good(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as (control, _client):
        assert await state(settings) == SERVING
        control.log.seal("the disk failed")
        assert await state(settings) == NOT_SERVING
