"""A call that a guard made is not forgotten: not while the control plane is away, and not when the agent is killed."""

from __future__ import annotations

import contextlib
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aisecops_client import Client
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings

from tests.integration.api.real import AGENT, settings_in
from tests.scenes.grants.guarded_agent import agent
from tests.scenes.planes.engines import until
from tests.scenes.planes.serving_process import decided, serving

pytestmark = pytest.mark.asyncio
KINDS = ("guard", "async", "bridge", "later")
SECONDS = 60.0


@dataclass
class Place:
    settings: Settings
    root: Path

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def given(self) -> tuple[str, str, Path]:
        """Return how an agent is started: where it asks, by which token, and where it keeps."""
        return f"unix:{self.settings.socket}", issuer(self.settings).mint(AGENT, (Role.AGENT,)), self.spool

    def kept(self) -> list[Path]:
        return [path for path in self.spool.glob("*/*/*") if not path.name.startswith(".")]

    def events(self, prefix: str) -> list[str]:
        token = issuer(self.settings).mint("auditor@corp.example", (Role.AUDITOR,))
        with Client.connect(f"unix:{self.settings.socket}", token) as auditor:
            return [event.type for event in auditor.events() if event.type.startswith(prefix)]


@pytest.fixture
def place() -> Iterator[Place]:
    # Short, so that the socket's path is short enough.
    with tempfile.TemporaryDirectory(prefix="spool-") as folder:
        root = Path(folder)
        yield Place(settings_in(root), root)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("following", ["guard", "async"])
async def test_what_killed_agents_could_not_tell_is_told_once_by_the_next(place: Place, following: str) -> None:
    with contextlib.ExitStack() as running, serving(place.settings) as plane:
        await decided(place.settings)
        agents = [running.enter_context(agent(kind, *place.given)) for kind in KINDS]
        for at, one in enumerate(agents):
            one.say(f"call T-{at}")
            one.expect("running")
        plane.kill()
        plane.wait(SECONDS)
        for at, one in enumerate(agents):
            one.say("open")
            # Who called has the result, and by then it is on disk that the call was made.
            one.expect(f"done the text of T-{at}")
            assert len(place.kept()) == at + 1
            one.kill()
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.kept()} == {0o600}
    assert not any(b"the text of" in path.read_bytes() for path in place.kept())
    shutil.copytree(place.spool, place.root / "before")
    with serving(place.settings):
        await decided(place.settings)
        with agent(following, *place.given):
            await until(lambda: not place.kept(), seconds=SECONDS)
        assert place.events("execution.") == ["execution.executed"] * len(KINDS)
        # One that was killed before it could note that it had told this, tells it again, and it counts once.
        shutil.copytree(place.root / "before", place.spool, dirs_exist_ok=True)
        with agent(following, *place.given):
            await until(lambda: not place.kept(), seconds=SECONDS)
        assert place.events("execution.") == ["execution.executed"] * len(KINDS)
        assert place.events("incident.") == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_waits_is_told_when_the_control_plane_is_back(place: Place, kind: str) -> None:
    with serving(place.settings) as plane, contextlib.ExitStack() as running:
        await decided(place.settings)
        one = running.enter_context(agent(kind, *place.given))
        one.say("call T-1")
        one.expect("running")
        plane.kill()
        plane.wait(SECONDS)
        one.say("open")
        one.expect("done the text of T-1")
        with serving(place.settings):
            await until(lambda: not place.kept(), seconds=SECONDS)
            await decided(place.settings)
            assert place.events("execution.") == ["execution.executed"]
            one.say("call T-2")
            one.expect("running")
            one.say("open")
            one.expect("done the text of T-2")
            one.end()
            assert place.events("execution.") == ["execution.executed"] * 2
            assert [place.kept(), place.events("incident.")] == [[], []]


@pytest.mark.timeout(600)
async def test_a_disk_that_takes_nothing_is_told_of_and_costs_no_call_its_result(place: Place) -> None:
    with serving(place.settings) as plane, contextlib.ExitStack() as running:
        await decided(place.settings)
        agents = [running.enter_context(agent(kind, *place.given, full=True)) for kind in KINDS]
        for at, one in enumerate(agents):
            one.say(f"call T-{at}")
            one.expect("running")
        plane.kill()
        plane.wait(SECONDS)
        for at, one in enumerate(agents):
            one.say("open")
            one.expect(f"done the text of T-{at}")
        assert place.kept() == []
        with serving(place.settings):
            await decided(place.settings)
            # What no disk took is told for as long as its process lives.
            await until(lambda: len(place.events("execution.")) == len(KINDS), seconds=SECONDS)
            assert place.events("incident.") == []
        for one in agents:
            said = one.said()
            assert "was made, and what came of it is in memory only, lost if this process ends" in said
            assert "File too large" in said
