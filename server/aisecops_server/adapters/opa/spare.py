"""An engine process before it has a bundle: started early and confined as any other, it waits to be given one.

It is run as every engine is, but its bundle's file is its own standard input, so that it loads nothing, does not listen
and cannot be asked until it is given a bundle; that one it verifies like any other before it opens its socket. It
is given one bundle, once. What is not given one is thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from aisecops_server.adapters.opa import profile
from aisecops_server.adapters.opa.binary import EngineBinary
from aisecops_server.adapters.opa.profile import EngineLimits, RunDirectory, Trust
from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.errors import EngineUnavailableError


async def launch(
    directory: RunDirectory, *, engine: EngineBinary, trust: Trust, limits: EngineLimits, waits: bool = False
) -> asyncio.subprocess.Process:
    """Start an engine's process, confined, in its directory; one that ``waits`` has a pipe as its standard input.

    Raises:
        EngineUnavailableError: it cannot be started, or its file is not the one that was pinned.
    """
    await asyncio.to_thread(engine.unchanged)
    network = await asyncio.to_thread(profile.network)
    try:
        return await asyncio.create_subprocess_exec(
            *profile.launch_command(engine, trust=trust, limits=limits, network=network),
            cwd=directory.path,
            stdin=asyncio.subprocess.PIPE if waits else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise EngineUnavailableError(
            f"the engine cannot be started: {error.strerror}", hint="Run 'aisecops doctor'"
        ) from error


def kill(child: asyncio.subprocess.Process) -> None:
    """Kill the child's whole process group; it keeps no state that a gentle end would save."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)


class Spare:
    """One engine process that waits for its bundle."""

    def __init__(self, directory: RunDirectory, child: asyncio.subprocess.Process) -> None:
        self.directory = directory
        self.child = child

    @classmethod
    async def start(cls, *, engine: EngineBinary, trust: Trust, limits: EngineLimits, parent: Path) -> Spare:
        """Start one.

        Raises:
            EngineUnavailableError: it cannot be started.
        """
        directory = await asyncio.to_thread(profile.prepare, None, trust=trust, limits=limits, parent=parent)
        try:
            return cls(directory, await launch(directory, engine=engine, trust=trust, limits=limits, waits=True))
        except BaseException:
            await asyncio.to_thread(directory.remove)
            raise

    async def give(self, bundle: Bundle) -> None:
        """Let it load a bundle. When it is started again, it finds its own copy in its directory.

        Raises:
            EngineUnavailableError: the bundle cannot be read.
        """
        content = await asyncio.to_thread(self.directory.put, bundle)
        if self.child.stdin is not None:
            # Whether it reads all of it shows in what it answers.
            self.child.stdin.write(content)
            self.child.stdin.close()

    @property
    def is_waiting(self) -> bool:
        """Return whether its process is there."""
        return self.child.returncode is None

    async def discard(self) -> None:
        """End it and remove what it left."""
        kill(self.child)
        if self.child.stdin is not None:
            self.child.stdin.close()
        await self.child.communicate()
        await asyncio.to_thread(self.directory.remove)
