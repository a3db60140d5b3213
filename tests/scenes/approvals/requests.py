"""Requests for approval of a UI scene, as an agent makes them."""

from __future__ import annotations

from aisecops_client.plan import PlanBuilder
from aisecops_server.domain.callers.identity import Role

from tests.scenes.planes.ui_scene import Scene

RELEASER = "spiffe://corp.example/agent/operations-assistant"
APPROVER = "finn.olsen@corp.example"


async def asked(
    scene: Scene, *, version: str, step: str = "deploy", intent: str = "", name: str = "", trace: str = ""
) -> str:
    """Return the id of a request to release a version."""
    async with scene.client(Role.AGENT, subject=RELEASER) as client:
        of = {"trace_id": trace} if trace else {}
        session = f"{step}-{version}"
        plan = PlanBuilder(intent or f"Release {version}", environment="production", session_id=session, **of)
        said = plan.source("user_prompt", f"Deploy shop {version} to production.", id="said", name=name)
        plan.step("deploy/release", {"service": "shop", "version": version}, id=step, influenced_by=[said])
        return (await client.decide(plan.build())).approval_id
