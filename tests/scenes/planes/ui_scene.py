"""A control plane of real parts and its UI in a thread of its own, with the demo's plans decided on it."""

from __future__ import annotations

import asyncio
import http.client
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from aisecops.v1.replay_pb2 import REPLAY_STATE_DONE, ReplayPolicy
from aisecops.v1.replay_service_pb2 import StartReplayRequest
from aisecops_client import AsyncClient, Client
from aisecops_client.replays import Replays
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.bootstrap.serving import serving
from aisecops_server.bootstrap.web import link, web
from aisecops_server.demo.scenario import Scenario, scenarios
from aisecops_server.domain.callers.identity import DEFAULT_TENANT, Role
from aisecops_server.settings import Settings

from tests.integration.api.real import settings_in

PEOPLE = (Role.SECURITY, Role.PLATFORM, Role.SECOPS, Role.APP, Role.AUDITOR)
PERSON = "noa.berg@corp.example"
_START_SECONDS = 60
_T = TypeVar("_T")


@dataclass(eq=False)
class Scene:
    """A UI that is served. ``traces`` are those of the demo's scenarios, by scenario."""

    settings: Settings
    loop: asyncio.AbstractEventLoop
    address: str = ""
    socket: str = ""
    plane: ControlPlane | None = None
    traces: dict[str, str] = field(default_factory=dict)
    decisions: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return f"http://{self.address}"

    def token(self, *roles: Role, subject: str = PERSON, seconds: int = 3600) -> str:
        return issuer(self.settings).mint(subject, roles or PEOPLE, seconds=seconds)

    def link(self, *roles: Role, subject: str = PERSON, to: str = "/") -> str:
        return link(self.settings, self.token(*roles, subject=subject), to=to, address=self.address)

    def run(self, work: Coroutine[Any, Any, _T], *, seconds: float = _START_SECONDS) -> _T:
        """Do something in the control plane's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=seconds)

    def get(
        self, path: str, *roles: Role, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask with a token, as a program does."""
        bearer = {"Authorization": f"Bearer {self.token(*roles)}"}
        return self.ask("GET", path, headers={**bearer, **(headers or {})})

    def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        body: str | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        sent = dict(headers or {}) | ({"Content-Type": "application/x-www-form-urlencoded"} if form is not None else {})
        try:
            connection.request(method, path, urlencode(form) if form is not None else body, sent)
            answer = connection.getresponse()
            found = answer.read()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, found
        finally:
            connection.close()

    def cookie(self, *roles: Role, subject: str = PERSON) -> str:
        """Sign in by a link and return the session's cookie."""
        split = urlsplit(self.link(*roles, subject=subject))
        code = split.query.partition("code=")[2].partition("&")[0]
        status, headers, _ = self.ask("POST", "/sign-in", form={"code": code, "next": "/"})
        assert status == 303
        return headers["set-cookie"].partition(";")[0]

    def replayed(self, *changes: str, revision: str = "") -> str:
        """Replay everything on ``revision`` with values of tables changed; return the replay's id when it is done."""

        asked = StartReplayRequest(candidate=ReplayPolicy(revision=revision, changes=changes))
        with Client.connect(self.socket, self.token()) as client:
            client.timeout_seconds = 60.0
            replays = Replays(client)
            replay = [*replays.watch(replays.start(asked).replay_id)][-1]
        assert replay.state == REPLAY_STATE_DONE, replay.problem
        return replay.replay_id

    async def decide(self, cast: Sequence[Scenario]) -> None:
        """Send the plans of scenarios, each as its agent."""
        for scenario in cast:
            async with self.client(Role.AGENT, subject=scenario.agent) as client:
                decision = (await client.decide(scenario.plan)).decision
            self.traces[scenario.id] = decision.trace_id
            self.decisions[scenario.id] = decision.decision_id

    def client(self, *roles: Role, subject: str = PERSON) -> AsyncClient:
        """Return a client; use it in the control plane's own loop."""
        client = AsyncClient.connect(self.socket, self.token(*roles, subject=subject))
        client.timeout_seconds = 60.0
        return client


@contextmanager
def ui_scene(
    *, populated: bool = True, prepare: Callable[[Settings], Settings] = lambda made: made, **changes: Any
) -> Iterator[Scene]:
    """Serve a control plane with its UI while the block runs; ``prepare`` returns the settings that it gets."""
    with tempfile.TemporaryDirectory(prefix="ui-", ignore_cleanup_errors=True) as folder:
        made = settings_in(Path(folder)).model_copy(update={"ui_address": "127.0.0.1:0", **changes})
        settings = prepare(made)
        loop, ready, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
        scene, failed = Scene(settings, loop), []

        async def serve() -> None:
            async with AsyncExitStack() as closing:
                plane, running = await closing.enter_async_context(serving(settings))
                scene.address = await closing.enter_async_context(web(settings, {DEFAULT_TENANT: plane}, running))
                scene.plane, scene.socket = plane, f"unix:{running.socket}"
                if populated:
                    await scene.decide(scenarios())
                ready.set()
                await over.wait()

        def body() -> None:
            try:
                loop.run_until_complete(serve())
            except BaseException as error:  # noqa: BLE001 - told to whoever waits
                failed.append(error)
            finally:
                ready.set()

        thread = threading.Thread(target=body, name="a control plane")
        thread.start()
        try:
            assert ready.wait(_START_SECONDS), "the control plane did not start"
            if failed:
                raise failed[0]
            yield scene
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join(_START_SECONDS)
            loop.close()
