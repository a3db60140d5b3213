"""One supervised engine process: started confined, proved ready, restarted when it dies, given up when it keeps dying.

Ready means that a probe over the socket was answered by the wanted revision: the process verified the bundle
before it listened, and the answer's provenance says which bundle answered. States: starting → serving ⇄
restarting → failed | stopped. Only ``serving`` answers; everything else refuses at once.

The child dies with the thread that started it (a rule of the operating system), so start engines from the
thread that runs the event loop for the life of the control plane.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import time
from enum import StrEnum
from pathlib import Path

from aisecops_server.adapters.opa import profile
from aisecops_server.adapters.opa import reply as replies
from aisecops_server.adapters.opa.binary import EngineBinary
from aisecops_server.adapters.opa.client import Client
from aisecops_server.adapters.opa.launch import CONFINEMENT_FAILED, NOT_STARTED
from aisecops_server.adapters.opa.profile import EngineLimits, RunDirectory, Trust
from aisecops_server.adapters.opa.spare import Spare, kill, launch
from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.errors import AisecopsError, BundleRejectedError, EngineUnavailableError, NoDecisionError

_PROBE = (b"/v1/data/aisecops/batch/decisions?provenance=true", (b'{"input":{"items":[]}}',))
_PROBE_SECONDS = 2.0
_POLL_SECONDS = 0.002
_OUTPUT_LINES = 20
_OUTPUT_LINE_BYTES = 500
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 1.0
_logger = logging.getLogger(__name__)


class State(StrEnum):
    """What an engine process is doing."""

    STARTING = "starting"
    SERVING = "serving"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"


class OpaProcess:
    """The engine process of one bundle."""

    def __init__(
        self, bundle: Bundle, *, engine: EngineBinary, trust: Trust, limits: EngineLimits, parent: Path
    ) -> None:
        self.bundle = bundle
        self.limits = limits
        self.state = State.STARTING
        self._engine = engine
        self._trust = trust
        self._parent = parent
        self._directory: RunDirectory | None = None
        self._client: Client | None = None
        self._prober: Client | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._output: collections.deque[str] = collections.deque(maxlen=_OUTPUT_LINES)
        self._crashes: collections.deque[float] = collections.deque()
        self._supervision: asyncio.Task[None] | None = None
        self._suspicion: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def client(self) -> Client:
        """Return the connection to the engine.

        Raises:
            EngineUnavailableError: it was not started.
        """
        if self._client is None:
            raise self._unavailable()
        return self._client

    @property
    def socket(self) -> Path:
        """Return where the engine listens.

        Raises:
            EngineUnavailableError: it was not started.
        """
        if self._directory is None:
            raise self._unavailable()
        return self._directory.socket

    @property
    def pid(self) -> int:
        """Return the process id of the running child, or 0."""
        return self._child.pid if self._child is not None and self._child.returncode is None else 0

    def require_serving(self) -> None:
        """Refuse at once unless the engine serves.

        Raises:
            EngineUnavailableError: it does not.
        """
        if self.state is not State.SERVING:
            raise self._unavailable()

    async def start(self, spare: Spare | None = None) -> None:
        """Start the engine and supervise it from then on; a ``spare`` that waits becomes it.

        Raises:
            BundleRejectedError: the engine refuses the bundle.
            EngineUnavailableError: the engine cannot be started, or does not become ready in time.
        """
        if spare is not None and not spare.is_waiting:
            await spare.discard()
            spare = None
        self._directory = (
            spare.directory
            if spare is not None
            else await asyncio.to_thread(
                profile.prepare, self.bundle, trust=self._trust, limits=self.limits, parent=self._parent
            )
        )
        self._client = Client(self._directory.socket, connections=self.limits.connections)
        self._prober = Client(self._directory.socket, connections=1)  # never waits behind decisions
        try:
            await (self._launch() if spare is None else self._continue(spare))
        except BaseException:
            await self.stop()
            raise
        self.state = State.SERVING
        self._supervision = asyncio.create_task(self._supervise(), name=f"engine {self.bundle.revision[:12]}")

    async def stop(self) -> None:
        """Stop the engine and remove what it left. Stopping twice is fine."""
        self.state = State.STOPPED
        for task in (self._supervision, self._suspicion):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self._end_child()
        for client in (self._client, self._prober):
            if client is not None:
                client.close()
        if self._directory is not None:
            await asyncio.to_thread(self._directory.remove)

    def suspect(self) -> None:
        """Look into an engine that missed a deadline: one that does not answer a probe either is killed."""
        if self.state is State.SERVING and (self._suspicion is None or self._suspicion.done()):
            self._suspicion = asyncio.create_task(self._examine())

    async def _examine(self) -> None:
        child = self._child
        try:
            await self._probe()
        except AisecopsError:
            if child is not None and child is self._child and child.returncode is None and self.state is State.SERVING:
                _logger.warning("engine %s does not answer; killing it", self.bundle.revision)
                kill(child)

    async def _supervise(self) -> None:
        while self.state is not State.FAILED and self._child is not None:
            status = await self._child.wait()
            self.state = State.RESTARTING
            _logger.error("engine %s ended with status %s: %s", self.bundle.revision, status, self._last_words())
            await self._restart()

    async def _restart(self) -> None:
        while self.state is State.RESTARTING:
            if self._count_crash() >= self.limits.crashes:
                self.state = State.FAILED
                _logger.critical("engine %s is given up", self.bundle.revision)
                return
            await asyncio.sleep(self._pause())
            try:
                await self._launch()
            except AisecopsError as error:
                _logger.warning("engine %s did not come back: %s", self.bundle.revision, error.message)
            else:
                self.state = State.SERVING

    def _count_crash(self) -> int:
        now = time.monotonic()
        self._crashes.append(now)
        while self._crashes[0] < now - self.limits.crash_window_seconds:
            self._crashes.popleft()
        return len(self._crashes)

    def _pause(self) -> float:
        """Return how long to wait before the next start: not at all at first, then twice as long each time."""
        earlier = len(self._crashes) - 1
        return 0.0 if earlier == 0 else min(_FIRST_PAUSE_SECONDS * 2 ** (earlier - 1), _LONGEST_PAUSE_SECONDS)

    async def _launch(self) -> None:
        directory = self._require_directory()
        directory.socket.unlink(missing_ok=True)
        await self._begun(await launch(directory, engine=self._engine, trust=self._trust, limits=self.limits))

    async def _continue(self, spare: Spare) -> None:
        self._child = spare.child
        await spare.give(self.bundle)
        await self._begun(spare.child)

    async def _begun(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self._reading = asyncio.create_task(self._read_output(child))
        try:
            await self._become_ready(child)
        except BaseException:
            await self._end_child()
            raise

    async def _become_ready(self, child: asyncio.subprocess.Process) -> None:
        ending = asyncio.create_task(child.wait())
        probing = asyncio.create_task(self._probe_until_answered())
        try:
            await asyncio.wait(
                {ending, probing}, timeout=self.limits.start_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if probing.done():
                probing.result()
            elif ending.done():
                raise await self._ended_early(ending.result())
            else:
                raise EngineUnavailableError(
                    f"the engine was not ready within {self.limits.start_seconds:.0f} s", hint="Run 'aisecops doctor'"
                )
        finally:
            await _cancel(ending, probing)

    async def _probe_until_answered(self) -> None:
        socket = self._require_directory().socket
        while True:
            if socket.exists():
                with contextlib.suppress(EngineUnavailableError):
                    return await self._probe()
            await asyncio.sleep(_POLL_SECONDS)

    async def _probe(self) -> None:
        """Ask for the decisions on nothing: whatever the policy, the answer's provenance names the bundle."""
        if self._prober is None:
            raise self._unavailable()
        target, parts = _PROBE
        answer = await self._prober.post(target, parts, deadline_seconds=_PROBE_SECONDS, limit=self.limits.reply_bytes)
        try:
            revision = replies.revision_of(answer)
        except NoDecisionError as error:
            raise self._rejected(f"it does not let itself be asked ({error.message})") from error
        if revision != self.bundle.revision:
            raise self._rejected(f"it calls itself revision {revision}")

    async def _ended_early(self, status: int) -> AisecopsError:
        if self._reading is not None:
            await self._reading
        if status < 0 or status in (CONFINEMENT_FAILED, NOT_STARTED):
            how = f"signal {-status}" if status < 0 else f"status {status}"
            return EngineUnavailableError(f"the engine ended with {how} as it started", hint="Run 'aisecops doctor'")
        return self._rejected(self._last_words())

    async def _read_output(self, child: asyncio.subprocess.Process) -> None:
        if child.stdout is None:
            return
        while data := await child.stdout.read(_OUTPUT_LINE_BYTES):
            self._output.extend(data.decode("utf-8", "replace").splitlines())

    def _last_words(self) -> str:
        return "; ".join(line.strip()[:_OUTPUT_LINE_BYTES] for line in self._output if line.strip())[
            -_OUTPUT_LINE_BYTES:
        ]

    async def _end_child(self) -> None:
        if self._child is not None:
            kill(self._child)
            await self._child.wait()
        if self._reading is not None:
            await self._reading

    def _require_directory(self) -> RunDirectory:
        if self._directory is None:
            raise self._unavailable()
        return self._directory

    def _rejected(self, why: str) -> BundleRejectedError:
        return BundleRejectedError(
            f"the engine refuses bundle {self.bundle.revision}: {why}",
            hint="Build it again; the revision that was live before stays live",
            revision=self.bundle.revision,
        )

    def _unavailable(self) -> EngineUnavailableError:
        if self.state is State.FAILED:
            return EngineUnavailableError(
                f"the engine of revision {self.bundle.revision} is sealed: it ended {self.limits.crashes} times "
                f"within {self.limits.crash_window_seconds:.0f} s",
                hint="Roll back with 'aisecops bundle rollback', or restart the control plane",
                why="sealed",
            )
        return EngineUnavailableError(
            f"the engine is {self.state.value}", hint="Retry in a second", why=self.state.value
        )


async def _cancel(*tasks: asyncio.Task[int] | asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
