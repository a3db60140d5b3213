"""Short runs of a program of ours on files that others wrote, within bounds.

Each run has an environment of its own with no more in it than it is given, a working directory of its own, a limit on
memory, a limit on what it may print, and a limit on time after which its whole process group is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.domain.errors import BundleRejectedError, EngineUnavailableError

_MAX_OUTPUT_BYTES = 64 * 1024 * 1024
MEMORY_BYTES = 1024 * 1024 * 1024
# Where the system knows no such limit, the time limit remains.
_LIMITED = 'ulimit -d "$0" 2>/dev/null; exec "$@"'


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run left: its exit code, its output, and what it complained of."""

    code: int
    output: bytes
    errors: bytes


async def run_bounded(
    program: Path, *arguments: str, cwd: Path, seconds: float, environment: Mapping[str, str]
) -> Finished:
    """Run ``program`` to its end; ``environment`` is all of its environment.

    Raises:
        BundleRejectedError: it did not end within ``seconds``, or printed too much.
        EngineUnavailableError: it cannot be started.
    """
    name = program.name
    if not os.access(program, os.X_OK):
        raise _cannot_start(name, f"{program} is not a program")
    try:
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", _LIMITED, str(MEMORY_BYTES // 1024), str(program)),
            *arguments,
            cwd=cwd,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise _cannot_start(name, error.strerror or "unknown reason") from error
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate()
    except TimeoutError as error:
        raise BundleRejectedError(
            f"{name} {arguments[0]} did not end within {seconds:g} s",
            hint="Try it again, or split what is so expensive to compile",
        ) from error
    finally:
        await _end(process)
    if len(output) > _MAX_OUTPUT_BYTES:
        raise BundleRejectedError(f"{name} {arguments[0]} printed too much", hint="Make the policy smaller")
    return Finished(process.returncode or 0, output, errors)


def _cannot_start(name: str, why: str) -> EngineUnavailableError:
    shown = "OPA" if name.startswith("opa") else name
    return EngineUnavailableError(f"{shown} cannot be started: {why}", hint="'aisecops engine install' installs it")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
