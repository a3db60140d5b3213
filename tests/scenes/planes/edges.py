"""A centre and its edge, of real parts: Git, engines, SQLite and gRPC, each with a state directory of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aisecops_client import AsyncClient, PlanBuilder
from aisecops_server.adapters.git.create import commit_files, create_policy_repository
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.bootstrap.edge import EdgePlane, bundle_key, compose_edge, running_edge
from aisecops_server.bootstrap.serving import serving
from aisecops_server.domain.callers.identity import Role
from aisecops_server.ports import Clock
from aisecops_server.settings import Settings

from tests.support import opa_binary

AGENT = "spiffe://corp.example/agent/support-assistant"
EDGE = "spiffe://corp.example/edge/shop-7"
_seconds = itertools.count(1_790_000_100, 60)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a centre and an edge live; nothing runs yet."""

    root: Path
    edges: dict[str, Any] = field(default_factory=dict)

    @property
    def centre(self) -> Settings:
        return self._settings(self.root / "c", repository=str(self.root / "policy"))

    @property
    def edge(self) -> Settings:
        return self.edge_of(EDGE)

    def edge_of(self, edge_id: str, *, state: str = "e", pin: bool = True) -> Settings:
        """Return the settings of an edge that has a token of the centre's, and by default its key as well."""
        token, pinned = self.root / f"{state}.token", self.root / "centre.pem"
        token.write_text(issuer(self.centre).mint(edge_id, (Role.EDGE,)))
        if pin:
            pinned.write_text(bundle_key(self.centre))
        return self._settings(
            self.root / state,
            profile="edge",
            centre=f"unix:{self.centre.socket}",
            edge_id=edge_id,
            centre_bundle_key=pinned,
            centre_token_file=token,
        )

    def commit(self, files: Mapping[str, str], message: str = "Change") -> str:
        """Commit files to the policy repository."""
        content = {name: text.encode() for name, text in files.items()}
        return commit_files(self.root / "policy", content, message=message, at_seconds=next(_seconds))

    def register(self, **entries: Any) -> None:
        """Commit what an edge's registration says; what is not said is as it was."""
        self.edges.setdefault(EDGE, {"owner": "retail", "agents": [AGENT], "budget_percent": 20}).update(entries)
        self.commit({"data/edges.yaml": yaml.safe_dump(self.edges)}, "Register the edge")

    def _settings(self, state: Path, **more: Any) -> Settings:
        return Settings(
            state_dir=state,
            engine_path=opa_binary(),
            deadline_milliseconds=10_000,
            poll_seconds=3600,
            reconcile_seconds=3600,
            **more,
        )


def site(root: Path) -> Site:
    """Return a place for both, with the policy that ships and one registered edge."""
    create_policy_repository(root / "policy", at_seconds=1_790_000_000)
    found = Site(root)
    found.register()
    return found


@asynccontextmanager
async def centre_of(place: Site) -> AsyncIterator[ControlPlane]:
    """Run the centre while the block runs."""
    async with serving(place.centre) as (plane, _server):
        yield plane


@asynccontextmanager
async def edge_of(
    place: Site, *, settings: Settings | None = None, clock: Clock | None = None
) -> AsyncIterator[tuple[EdgePlane, AsyncClient]]:
    """Run an edge while the block runs, and be connected to it as the agent."""
    settings = settings or place.edge
    async with compose_edge(settings, clock=clock) as edge, running_edge(edge) as server:
        # Longer than any clock is moved by.
        token = issuer(settings).mint(AGENT, (Role.AGENT,), seconds=20 * 3600)
        async with AsyncClient.connect(f"unix:{server.socket}", token) as client:
            client.timeout_seconds = 60.0
            yield edge, client


def plan(ticket: str = "T-4711", tool: str = "tickets/read") -> PlanBuilder:
    builder = PlanBuilder(intent="read a ticket", environment="production")
    prompt = builder.source("user_prompt", f"Please read ticket {ticket}.")
    builder.step(tool, {"ticket_id": ticket}, influenced_by=[prompt])
    return builder
