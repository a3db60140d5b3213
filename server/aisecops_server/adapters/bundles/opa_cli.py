"""Short runs of the OPA binary that check and describe bundles.

Each run has an environment that only sets its garbage collector, as a serving engine's does, a private working
directory, a limit on memory, and a limit on time after which its whole process group is killed. Complaints of the
compiler become ``BundleRejectedError`` with the file and line in the policy repository.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aisecops_server.adapters.bundles.bounded_run import MEMORY_BYTES, run_bounded
from aisecops_server.adapters.bundles.layout import repository_path
from aisecops_server.domain.errors import BundleRejectedError

# A run is short: what the collector would free is given back at its end, unless memory becomes scarce before.
_COLLECTOR = {"GOGC": "400", "GOMEMLIMIT": str(MEMORY_BYTES * 3 // 4)}
_SHOWN_ERRORS = 5
_MAX_CHARACTERS = 500


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
        code, output, errors = await self.run(*arguments, "--schema", str(schemas), cwd=directory)
        if code != 0:
            raise _complaint(errors or output)

    async def inspect(self, directory: Path) -> Mapping[str, Any]:
        """Return the packages and annotations of the bundle in ``directory``, with their places.

        Raises:
            BundleRejectedError: it cannot be read.
        """
        code, output, errors = await self.run("inspect", "-a", "-f", "json", ".", cwd=directory)
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
        code, output, errors = await self.run(*arguments, cwd=directory)
        if code != 0:
            raise _complaint(errors or output)
        content: Mapping[str, Any] = json.loads(output)
        return content

    async def run(self, *arguments: str, cwd: Path, cores: int = 0) -> tuple[int, bytes, bytes]:
        """Return the exit code, the output and the complaints of one run, on so many ``cores`` if it is said how many.

        Raises:
            BundleRejectedError: it did not end in time, or printed too much.
            EngineUnavailableError: it cannot be started.
        """
        environment = {**_COLLECTOR, **({"GOMAXPROCS": str(cores)} if cores else {})}
        finished = await run_bounded(
            self.binary(), *arguments, cwd=cwd, seconds=self.timeout_seconds, environment=environment
        )
        return finished.code, finished.output, finished.errors


def compiler_errors(text: bytes) -> list[Mapping[str, Any]]:
    """Return what the compiler complains of, each with its ``message`` and ``location``; nothing when it is no JSON."""
    try:
        return list(json.loads(text)["errors"])
    except (ValueError, KeyError, TypeError):
        return []


def _complaint(text: bytes) -> BundleRejectedError:
    errors = compiler_errors(text)
    if not errors:
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
    if not file:
        return "", ""
    # A working copy is parsed as it lies; of a bundle only what is below this folder is there.
    return file if file.startswith("rego/") else repository_path(file), str(location.get("row", ""))


def _plain_complaint(text: bytes) -> BundleRejectedError:
    shown = text.decode("utf-8", "replace").strip().removeprefix("error: ")[:_MAX_CHARACTERS]
    return BundleRejectedError(f"the policy does not compile: {shown}", hint="Mend the policy and push a new commit")
