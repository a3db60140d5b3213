"""Short runs of the OPA binary that check, describe and sign bundles.

Each run has an empty environment, a private working directory, a limit on memory, and a limit on time after which its
whole process group is killed. Complaints of the compiler become ``BundleRejectedError`` with the file and line in the
policy repository.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aisecops_server.adapters.bundles.layout import SIGNATURES, repository_path
from aisecops_server.domain.errors import BundleRejectedError, EngineUnavailableError

KEY_ID = "aisecops"

_SHOWN_ERRORS = 5
_MAX_OUTPUT_BYTES = 64 * 1024 * 1024
_MAX_CHARACTERS = 500
_MEMORY_KIBIBYTES = 1024 * 1024
# Where the system knows no such limit, the time limit remains.
_LIMITED = 'ulimit -d "$0" 2>/dev/null; exec "$@"'


@dataclass(frozen=True, slots=True)
class OpaCli:
    """The OPA binary. ``binary`` is asked for at each run: it may be installed after this was made."""

    binary: Callable[[], Path]
    timeout_seconds: float = 30.0

    async def check(self, directory: Path, *, capabilities: Path, schemas: Path) -> None:
        """Compile strictly, with types, and only with the built-ins of ``capabilities``.

        Raises:
            BundleRejectedError: it does not compile.
        """
        arguments = ["check", "--strict", "--bundle", ".", "--format", "json", "--capabilities", str(capabilities)]
        code, output, errors = await self._run(*arguments, "--schema", str(schemas), cwd=directory)
        if code != 0:
            raise _complaint(errors or output)

    async def inspect(self, directory: Path) -> Mapping[str, Any]:
        """Return the packages and annotations of the bundle in ``directory``, with their places.

        Raises:
            BundleRejectedError: it cannot be read.
        """
        code, output, errors = await self._run("inspect", "-a", "-f", "json", ".", cwd=directory)
        if code != 0:
            raise _complaint(errors or output)
        content: Mapping[str, Any] = json.loads(output)
        return content

    async def parse(self, directory: Path, file: str) -> Mapping[str, Any]:
        """Return the syntax tree of one file below ``directory``, with places.

        Raises:
            BundleRejectedError: it cannot be parsed.
        """
        arguments = ["parse", "--format", "json", "--json-include", "locations,-comments", file]
        code, output, errors = await self._run(*arguments, cwd=directory)
        if code != 0:
            raise _complaint(errors or output)
        content: Mapping[str, Any] = json.loads(output)
        return content

    async def sign(self, directory: Path, *, key: Path, claims: Path, output: Path) -> bytes:
        """Return the signatures file of the bundle in ``directory``.

        Raises:
            BundleRejectedError: it cannot be signed.
        """
        arguments = ["sign", "--bundle", ".", "--signing-alg", "EdDSA", "--signing-key", str(key)]
        arguments += ["--claims-file", str(claims), "--output-file-path", str(output)]
        code, printed, errors = await self._run(*arguments, cwd=directory)
        if code != 0:
            raise _complaint(errors or printed)
        return await asyncio.to_thread((output / SIGNATURES).read_bytes)

    async def _run(self, *arguments: str, cwd: Path) -> tuple[int, bytes, bytes]:
        try:
            process = await asyncio.create_subprocess_exec(
                *("/bin/sh", "-c", _LIMITED, str(_MEMORY_KIBIBYTES), str(self._present())),
                *arguments,
                cwd=cwd,
                env={},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise _cannot_start(error.strerror or "unknown reason") from error
        try:
            async with asyncio.timeout(self.timeout_seconds):
                output, errors = await process.communicate()
        except TimeoutError as error:
            raise BundleRejectedError(
                f"opa {arguments[0]} did not end within {self.timeout_seconds:g} s",
                hint="Activate the commit by hand to try again, or split what is so expensive to compile",
            ) from error
        finally:
            await _end(process)
        if len(output) > _MAX_OUTPUT_BYTES:
            raise BundleRejectedError(f"opa {arguments[0]} printed too much", hint="Make the policy smaller")
        return process.returncode or 0, output, errors

    def _present(self) -> Path:
        binary = self.binary()
        if not os.access(binary, os.X_OK):
            raise _cannot_start(f"{binary} is not a program")
        return binary


def _cannot_start(why: str) -> EngineUnavailableError:
    return EngineUnavailableError(f"OPA cannot be started: {why}", hint="'aisecops engine install' installs it")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _complaint(text: bytes) -> BundleRejectedError:
    try:
        errors = json.loads(text)["errors"]
    except (ValueError, KeyError, TypeError):
        return _plain_complaint(text)
    shown = "; ".join(_line(error) for error in errors[:_SHOWN_ERRORS])
    more = f" (and {len(errors) - _SHOWN_ERRORS} more)" if len(errors) > _SHOWN_ERRORS else ""
    file, row = _place(errors[0])
    return BundleRejectedError(
        shown + more,
        hint="Mend the policy and push a new commit; the last good revision stays live",
        file=file,
        line=row,
    )


def _line(error: Mapping[str, Any]) -> str:
    file, row = _place(error)
    message = str(error.get("message"))[:_MAX_CHARACTERS]
    return f"{file}:{row}: {message}" if file else message


def _place(error: Mapping[str, Any]) -> tuple[str, str]:
    location = error.get("location") or {}
    file = str(location.get("file", ""))
    return (repository_path(file), str(location.get("row", ""))) if file else ("", "")


def _plain_complaint(text: bytes) -> BundleRejectedError:
    shown = text.decode("utf-8", "replace").strip().removeprefix("error: ")[:_MAX_CHARACTERS]
    return BundleRejectedError(f"the policy does not compile: {shown}", hint="Mend the policy and push a new commit")
