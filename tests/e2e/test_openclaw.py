"""A real OpenClaw, whose every tool call our plugin has decided by a real control plane before it is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aisecops.v1 import approval_pb2, audit_service_pb2
from aisecops_client import AsyncClient
from aisecops_server.adapters.git.create import create_policy_repository
from aisecops_server.adapters.git.shipped import shipped_policy
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.serving import serving
from aisecops_server.bootstrap.web import web
from aisecops_server.domain.callers.identity import DEFAULT_TENANT, Role

from tests.integration.api.real import AGENT, settings_in
from tests.scenes.mcp.openclaw_gateway import Gateway, gateway, openclaw

PERSON = "gita.rao@corp.example"
TOOLS = """
openclaw/session_status: {description: Look at the session., effect: read, reach: internal, result_trust: internal}
openclaw/agents_list: {description: List agents., effect: read, reach: internal, result_trust: internal}
"""
SERVER = """
openclaw:
  description: Tools of OpenClaw itself.
  owner: customer-support
  environments: [production]
  tools: catalogued
"""
CAPABILITY = """
openclaw.look:
  description: Look at the agent itself.
  owner: customer-support
  risk: low
  tools: [openclaw/session_status, openclaw/agents_list]
"""
APPROVALS = """  openclaw/agents_list:
    always: true
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.asyncio]


def policy() -> dict[str, bytes]:
    """Return the shipped policy with two of OpenClaw's own tools in its tables, of which one needs people."""
    files = dict(shipped_policy())
    files["data/tools.yaml"] += TOOLS.encode()
    files["data/servers.yaml"] += SERVER.encode()
    files["data/capabilities.yaml"] += CAPABILITY.encode()
    files["data/approvals.yaml"] = files["data/approvals.yaml"].replace(
        b"tools:\n", b"tools:\n" + APPROVALS.encode(), 1
    )
    grant = b"    web.read: {granted_by: platform-security}\n"
    files["data/agents.yaml"] = files["data/agents.yaml"].replace(
        grant, grant + b"    openclaw.look: {granted_by: head-of-support}\n", 1
    )
    return files


@dataclass(frozen=True)
class Scene:
    """A gateway with the plugin, the control plane that it asks, and a person there."""

    gateway: Gateway
    person: AsyncClient
    stop: asyncio.Event

    async def events(self, kind: str) -> int:
        request = audit_service_pb2.StreamEventsRequest(follow=False)
        return len([event async for event in self.person.events(request) if event.type == kind])


@asynccontextmanager
async def scene_in(root: Path) -> AsyncIterator[Scene]:
    found = await asyncio.to_thread(openclaw)
    settings = settings_in(root).model_copy(update={"repository": str(root / "own"), "ui_address": "127.0.0.1:0"})
    create_policy_repository(root / "own", at_seconds=1_790_000_000, files=policy())
    stop = asyncio.Event()
    async with serving(settings) as (plane, server), web(settings, {DEFAULT_TENANT: plane}, server) as address:
        signs = issuer(settings)
        (root / "token").write_text(signs.mint(AGENT, (Role.AGENT,)))
        configured = {"address": f"http://{address}", "tokenFile": str(root / "token"), "deadlineSeconds": 60}
        async with (
            AsyncClient.connect(f"unix:{server.socket}", signs.mint(PERSON, tuple(Role))) as person,
            gateway(found, root / "openclaw", configured) as started,
        ):
            person.timeout_seconds = 60.0
            yield Scene(started, person, stop)


async def test_a_call_is_made_only_when_it_was_allowed_and_what_came_of_it_is_told(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene:
        assert (await scene.person.bundle_status()).problem == ""
        allowed, _ = await scene.gateway.invoke("session_status", {})
        denied, said = await scene.gateway.invoke("sessions_list", {})
        waits, told = await scene.gateway.invoke("agents_list", {})
        [request] = (await scene.person.approvals.page()).approvals
        shown = await scene.person.approvals.show(request.approval_id)
        await scene.person.approvals.vote(shown, approval_pb2.CHOICE_APPROVE)
        after, _ = await scene.gateway.invoke("agents_list", {})
        again, repeated = await scene.gateway.invoke("agents_list", {})
    assert (allowed, denied, waits, after, again) == (200, 403, 403, 200, 403)
    assert "Not run: " in str(said)
    assert request.approval_id in str(told)
    # An approval is of one call: the next one waits again.
    assert request.approval_id not in str(repeated)


async def test_without_a_control_plane_nothing_is_allowed_and_the_gateway_lives(tmp_path: Path) -> None:
    found = await asyncio.to_thread(openclaw)
    (tmp_path / "token").write_text("no token")
    configured = {"address": "http://127.0.0.1:9", "tokenFile": str(tmp_path / "token")}
    async with gateway(found, tmp_path / "openclaw", configured) as started:
        status, said = await started.invoke("session_status", {})
        second, _ = await started.invoke("session_status", {})
    assert (status, second) == (403, 403)
    assert "without one nothing is allowed" in str(said)
