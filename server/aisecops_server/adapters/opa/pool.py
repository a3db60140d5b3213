"""Engines by bundle digest: a revision is a process.

A new revision starts beside the live one and takes over only when it is ready; the previous one stays warm for an
instant rollback. An engine stays up while somebody holds it, while it is retained, and otherwise until newer
ones crowd it out. Nothing is ever swapped inside a running engine. Who is about to have a new bundle may say so: a
process is then started before there is one, and thrown away when none comes.

"Holding" is holding the ``PolicyEngine`` that ``acquire`` returned: the pool keeps the process and only a weak
reference to what it handed out, so there is nothing to give back and nothing to forget to give back.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aisecops_server.adapters.opa import profile
from aisecops_server.adapters.opa.binary import EngineBinary
from aisecops_server.adapters.opa.engine import OpaEngine
from aisecops_server.adapters.opa.process import OpaProcess, State
from aisecops_server.adapters.opa.profile import EngineLimits, Trust
from aisecops_server.adapters.opa.spare import Spare
from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.errors import EngineUnavailableError

CAPACITY = 4


@dataclass(slots=True)
class _Entry:
    process: OpaProcess
    starting: asyncio.Task[None]
    engine: weakref.ref[OpaEngine] | None = field(default=None)

    def hand_out(self) -> OpaEngine:
        engine = self.engine() if self.engine is not None else None
        if engine is None:
            engine = OpaEngine(self.process)
            self.engine = weakref.ref(engine)
        return engine

    @property
    def is_held(self) -> bool:
        return not self.starting.done() or (self.engine is not None and self.engine() is not None)


class OpaEnginePool:
    """Engine processes of this control plane, least recently used first."""

    def __init__(
        self,
        *,
        engine: EngineBinary,
        trust: Trust,
        run_directory: Path,
        limits: EngineLimits | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        self._engine = engine
        self._trust = trust
        self._run_directory = run_directory
        self._limits = limits or EngineLimits()
        self._capacity = capacity
        self._entries: dict[str, _Entry] = {}
        self._spares: list[asyncio.Task[Spare]] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._retained: frozenset[str] = frozenset()
        self._closed = False
        profile.sweep(run_directory)

    async def acquire(self, bundle: Bundle) -> OpaEngine:
        """Return a ready engine for ``bundle``, starting one if none is warm; callers for one bundle share it.

        Raises:
            BundleRejectedError: the engine refuses the bundle.
            EngineUnavailableError: no engine could be started, or the pool is closed.
        """
        if self._closed:
            raise EngineUnavailableError("the engines are stopped", hint="Restart the control plane")
        entry = self._entries.pop(bundle.digest, None) or self._started(bundle)
        self._entries[bundle.digest] = entry  # the most recently used is last
        try:
            await asyncio.shield(entry.starting)
        except BaseException:
            if entry.starting.done() and self._entries.get(bundle.digest) is entry:
                del self._entries[bundle.digest]
            raise
        if entry.process.state is State.FAILED:
            entry.process.require_serving()
        engine = entry.hand_out()
        self._shrink()
        return engine

    @contextlib.asynccontextmanager
    async def anticipated(self) -> AsyncIterator[None]:
        """Start a process for a bundle that is still being made; what nobody has taken at the end is thrown away."""
        if self._closed:
            yield
            return
        self._shrink(coming=1)
        starting = asyncio.create_task(
            Spare.start(engine=self._engine, trust=self._trust, limits=self._limits, parent=self._run_directory),
            name="start a spare engine",
        )
        self._spares.append(starting)
        try:
            yield
        finally:
            if starting in self._spares:
                self._spares.remove(starting)
                self._in_background(_discard(starting))

    async def retain(self, digests: Sequence[str]) -> None:
        """Keep exactly these bundles warm for sure; others may be stopped once idle.

        An engine that was given up and is not retained is forgotten, so that its bundle may be tried again.
        """
        self._retained = frozenset(digests)
        for digest, entry in list(self._entries.items()):
            if entry.process.state is State.FAILED and digest not in self._retained:
                self._stop(digest)
        self._shrink()

    async def close(self) -> None:
        """Stop every engine."""
        self._closed = True
        entries, self._entries = list(self._entries.values()), {}
        for entry in entries:
            entry.starting.cancel()
        await asyncio.gather(*(entry.starting for entry in entries), return_exceptions=True)
        await asyncio.gather(*(entry.process.stop() for entry in entries))
        spares, self._spares = self._spares, []
        await asyncio.gather(*map(_discard, spares), *self._ending)

    def processes(self) -> list[OpaProcess]:
        """Return the processes that are up, least recently used first."""
        return [entry.process for entry in self._entries.values()]

    def _started(self, bundle: Bundle) -> _Entry:
        process = OpaProcess(
            bundle, engine=self._engine, trust=self._trust, limits=self._limits, parent=self._run_directory
        )
        return _Entry(process, asyncio.create_task(self._begin(process), name=f"start {bundle.revision[:12]}"))

    async def _begin(self, process: OpaProcess) -> None:
        spare = None
        if self._spares:
            waiting = self._spares.pop(0)
            try:
                # What keeps a spare from starting keeps the engine from it too, which says so.
                with contextlib.suppress(EngineUnavailableError):
                    spare = await waiting
            except asyncio.CancelledError:
                with contextlib.suppress(asyncio.CancelledError):
                    await _discard(waiting)
                raise
        await process.start(spare)

    def _shrink(self, *, coming: int = 0) -> None:
        """Stop idle engines beyond the number that may stay beside those to come, the least recently used first."""
        idle = [digest for digest, entry in self._entries.items() if digest not in self._retained and not entry.is_held]
        for digest in idle[: max(0, len(self._entries) + coming - self._capacity)]:
            self._stop(digest)

    def _stop(self, digest: str) -> None:
        # Nobody has it any more, so nobody waits until it is gone.
        self._in_background(self._entries.pop(digest).process.stop())

    def _in_background(self, ending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(ending, name="end an engine")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


async def _discard(starting: asyncio.Task[Spare]) -> None:
    with contextlib.suppress(EngineUnavailableError):
        await (await starting).discard()
