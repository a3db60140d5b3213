"""Engines for replay: one pool a binary, so that history is asked on the version that decided, or on the next one.

An engine's name is its version; a binary that was given by its path has the start of its digest in its name, because
two builds may claim one version. Only what is installed here, or was given by whoever composes this, is ever run: a
name is looked up and never a path.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path

from aisecops_server.adapters.opa import binary
from aisecops_server.adapters.opa.binary import EngineBinary
from aisecops_server.adapters.opa.engine import OpaEngine
from aisecops_server.adapters.opa.pool import OpaEnginePool
from aisecops_server.adapters.opa.profile import EngineLimits, Trust
from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.errors import EngineUnavailableError

# Decisions that somebody waits for come first.
NICENESS = 10
_GARBAGE_PERCENT = 800
_VERSION = re.compile(r"\d{1,4}\.\d{1,4}\.\d{1,4}")
_SHOWN_DIGEST = 12


class OpaEngines:
    """Implements ``Engines``."""

    def __init__(
        self,
        *,
        default: EngineBinary,
        engine_directory: Path,
        trust: Trust,
        run_directory: Path,
        capacity: int,
        niceness: int = NICENESS,
    ) -> None:
        self._directory = engine_directory
        self._trust = trust
        self._run_directory = run_directory
        self._capacity = capacity
        # Batches of documents make much garbage and little that stays.
        self._limits = EngineLimits(niceness=niceness, garbage_percent=_GARBAGE_PERCENT)
        self._binaries = {default.version: default}
        self._pools: dict[str, OpaEnginePool] = {}
        self._default = default.version

    @property
    def engine(self) -> str:
        """Return the name of the engine that is used unless another one is asked for."""
        return self._default

    def add(self, given: EngineBinary) -> str:
        """Let a binary that was given by its path be used, and return its name."""
        known = self._binaries.get(given.version)
        if known is not None and known.sha256 == given.sha256:
            return given.version
        name = f"{given.version}@{given.sha256[:_SHOWN_DIGEST]}"
        self._binaries[name] = given
        return name

    def named(self, name: str) -> str:
        """Return the full name of an engine that is asked for by version or full name.

        Raises:
            EngineUnavailableError: it is not installed.
        """
        if name and name not in self._binaries:
            self._binaries[name] = self._installed(name)
        return name or self._default

    async def acquire(self, bundle: Bundle, *, engine: str) -> OpaEngine:
        """Return a ready engine for ``bundle``, of the named kind.

        Raises:
            BundleRejectedError: the engine refuses the bundle.
            EngineUnavailableError: no such engine could be started.
        """
        name = await asyncio.to_thread(self.named, engine)
        if name not in self._pools:
            self._pools[name] = OpaEnginePool(
                engine=self._binaries[name],
                trust=self._trust,
                run_directory=self._run_directory,
                limits=self._limits,
                capacity=self._capacity,
            )
        return await self._pools[name].acquire(bundle)

    async def close(self) -> None:
        """Stop every engine."""
        for pool in self._pools.values():
            await pool.close()

    def _installed(self, version: str) -> EngineBinary:
        path = self._directory.expanduser().absolute() / version / "opa"
        if _VERSION.fullmatch(version):
            with contextlib.suppress(EngineUnavailableError):
                found = binary.inspect(path, source="engine directory", directory=binary.home(self._directory))
                if found.version == version:
                    return found
        raise EngineUnavailableError(
            f"OPA {version[:40]} is not installed",
            hint=f"Put that version at {path.parent.parent}/VERSION/opa; 'aisecops engine list' shows what there is",
            version=version[:40],
        )
