"""Engines by bundle digest: a revision is a process.

A new revision starts beside the live one and takes over only when it is ready; the previous one stays warm for an
instant rollback. An engine stays up while somebody holds it, while it is retained, and otherwise until newer
ones crowd it out. Nothing is ever swapped inside a running engine.

"Holding" is holding the ``PolicyEngine`` that ``acquire`` returned: the pool keeps the process and only a weak
reference to what it handed out, so there is nothing to give back and nothing to forget to give back.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aisecops_server.adapters.opa import profile
from aisecops_server.adapters.opa.binary import EngineBinary
from aisecops_server.adapters.opa.engine import OpaEngine
from aisecops_server.adapters.opa.process import OpaProcess, State
from aisecops_server.adapters.opa.profile import EngineLimits, Trust
from aisecops_server.domain.bundle import Bundle
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
        await self._shrink()
        return engine

    async def retain(self, digests: Sequence[str]) -> None:
        """Keep exactly these bundles warm for sure; others may be stopped once idle.

        An engine that was given up and is not retained is forgotten, so that its bundle may be tried again.
        """
        self._retained = frozenset(digests)
        for digest, entry in list(self._entries.items()):
            if entry.process.state is State.FAILED and digest not in self._retained:
                await self._stop(digest)
        await self._shrink()

    async def close(self) -> None:
        """Stop every engine."""
        self._closed = True
        entries, self._entries = list(self._entries.values()), {}
        for entry in entries:
            entry.starting.cancel()
        await asyncio.gather(*(entry.starting for entry in entries), return_exceptions=True)
        await asyncio.gather(*(entry.process.stop() for entry in entries))

    def processes(self) -> list[OpaProcess]:
        """Return the processes that are up, least recently used first."""
        return [entry.process for entry in self._entries.values()]

    def _started(self, bundle: Bundle) -> _Entry:
        process = OpaProcess(
            bundle, engine=self._engine, trust=self._trust, limits=self._limits, parent=self._run_directory
        )
        return _Entry(process, asyncio.create_task(process.start(), name=f"start {bundle.revision[:12]}"))

    async def _shrink(self) -> None:
        """Stop idle engines beyond the number that may stay, the least recently used first."""
        idle = [digest for digest, entry in self._entries.items() if digest not in self._retained and not entry.is_held]
        for digest in idle[: max(0, len(self._entries) - self._capacity)]:
            await self._stop(digest)

    async def _stop(self, digest: str) -> None:
        entry = self._entries.pop(digest)
        await entry.process.stop()
