"""Edge and centre are killed while they decide and reconcile, in turns; nothing is lost and nothing is twice."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from aisecops_client import AisecopsClientError, AsyncClient
from aisecops_server.adapters.sqlite.event_log import open_log_read_only
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.log.edge_log import RECORDED
from aisecops_server.settings import Settings

from tests.scenes.planes.edges import AGENT, Site, plan, site

ROUNDS = 2
ENOUGH = 12


@contextlib.contextmanager
def program(settings: Settings, name: str) -> Iterator[subprocess.Popen[str]]:
    """Run the control plane of ``settings`` as a process of its own; it is killed at the end, if not before."""
    file = settings.state_dir.parent / f"{name}.yaml"
    said = settings.model_dump(mode="json", exclude_defaults=True)
    file.write_text(yaml.safe_dump({**said, "reconcile_seconds": 0.02, "poll_seconds": 0.2}))
    process = subprocess.Popen(
        [sys.executable, "-m", "aisecops_server", "serve"],
        env={"PATH": os.defpath, "HOME": str(settings.state_dir.parent), "AISECOPS_CONFIG": str(file)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = next((line for line in process.stderr if line.startswith("listening on")), "")
        assert line, f"{name} did not start"
        yield process
    finally:
        process.kill()
        process.communicate()


async def decided_until_gone(place: Site, process: subprocess.Popen[str] | None, *, at_least: int) -> list[str]:
    """Decide plan after plan; after ``at_least`` answers kill ``process``. Return what was answered."""
    settings = place.edge
    answered: list[str] = []
    async with AsyncClient.connect(f"unix:{settings.socket}", issuer(settings).mint(AGENT, (Role.AGENT,))) as client:
        client.timeout_seconds = 30.0
        with contextlib.suppress(AisecopsClientError):
            while len(answered) < 2 * at_least:
                if process is not None and len(answered) == at_least:
                    process.kill()
                answered.append((await client.decide(plan())).decision.decision_id)
    return answered


async def require_whole(place: Site, answered: list[str]) -> None:
    """The centre has every event of the edge, once, in order; every decision that was answered is among them."""
    edge, centre = open_log_read_only(place.edge.log_path), open_log_read_only(place.centre.log_path)
    try:
        own = [stored.event.body async for stored in edge.events(from_index=0, follow=False, trace_id="")]
        held = [stored.event async for stored in centre.events(from_index=0, follow=False, trace_id="")]
        told = [json.loads(event.body)["details"] for event in held if event.type == RECORDED]
        assert [details["edge_index"] for details in told] == list(range(len(told)))
        assert [details["event"] for details in told] == [json.loads(body) for body in own]
        concluded = [d["event"]["decision_id"] for d in told if d["event"]["type"] == "decision.concluded"]
        assert len(concluded) == len(set(concluded))
        assert set(answered) <= set(concluded)
        for log in (edge, centre):
            report = await log.verify()
            assert report.ok, report.problem
    finally:
        await edge.close()
        await centre.close()


def reconciled(place: Site) -> bool:
    done = subprocess.run(
        [sys.executable, "-m", "aisecops_server", "edge", "status", "-o", "json"],
        env={"PATH": os.defpath, "HOME": str(place.root), "AISECOPS_STATE_DIR": str(place.edge.state_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    return bool(json.loads(done.stdout)["pending"] == 0)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.asyncio
async def test_kills_of_either_side_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    place = site(tmp_path)
    answered: list[str] = []
    for _ in range(ROUNDS):
        with program(place.centre, "centre") as centre, program(place.edge, "edge") as edge:
            # The edge dies between a decision and what comes of it at the centre.
            answered += await decided_until_gone(place, edge, at_least=ENOUGH)
            assert edge.wait() < 0
            with program(place.edge, "edge") as again:
                # The centre dies while it is told; the edge decides on, and dies with what it has not told.
                answered += await decided_until_gone(place, centre, at_least=ENOUGH)
                again.kill()
    with program(place.centre, "centre"), program(place.edge, "edge"):
        answered += await decided_until_gone(place, None, at_least=1)
        while not reconciled(place):
            pass
    assert len(answered) >= ROUNDS * 3 * ENOUGH
    await require_whole(place, answered)
