"""A control plane of real parts over a policy repository of its own: Git, engine, SQLite, gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aisecops_client import AsyncClient
from aisecops_server.adapters.git.create import create_policy_repository
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.bootstrap.serving import serving
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings

from tests.support import opa_binary

AGENT = "spiffe://corp.example/agent/support-assistant"


def settings_in(root: Path) -> Settings:
    """Return settings of a control plane that decides by the policy that ships."""
    create_policy_repository(root / "policy", at_seconds=1_790_000_000)
    return Settings(
        state_dir=root / "s",
        engine_path=opa_binary(),
        repository=str(root / "policy"),
        deadline_milliseconds=10_000,
        poll_seconds=3600,
    )


@asynccontextmanager
async def running(
    settings: Settings, *roles: Role, agent: str = AGENT
) -> AsyncIterator[tuple[ControlPlane, AsyncClient]]:
    """Serve while the block runs, and be connected as ``agent``."""
    async with serving(settings) as (plane, server):
        token = issuer(settings).mint(agent, roles or (Role.AGENT,))
        async with AsyncClient.connect(f"unix:{server.socket}", token) as client:
            client.timeout_seconds = 60.0
            yield plane, client


@asynccontextmanager
async def connected(settings: Settings, *roles: Role, agent: str = AGENT) -> AsyncIterator[AsyncClient]:
    """Serve while the block runs, for tests that look from outside only."""
    async with running(settings, *roles, agent=agent) as (_plane, client):
        yield client
