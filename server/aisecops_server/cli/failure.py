"""A failure as people and programs are told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import current

_UNREACHABLE_HINT = "Start it with 'aisecops serve', or say where it is with --server or --state-dir"
_INSTEAD = {
    "--local": "--local reads the log of the state directory",
    "--corpus": "--corpus a file that 'policy corpus export' wrote",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong and what to do about it."""

    reason: str
    message: str
    hint: str
    exit_code: ExitCode
    metadata: Mapping[str, str] = field(default_factory=dict)


class ServerUnreachableError(Exception):
    """Nobody listens where a control plane was looked for."""

    def __init__(self, address: str) -> None:
        super().__init__(f"no control plane answers at {address}")


def unreachable_hint(where: str = _UNREACHABLE_HINT) -> str:
    """Return what to do when no control plane answers: also by what the running command does without one."""
    instead = " and ".join(_INSTEAD[name] for name in current().instead)
    return f"{where}. Without one, {instead}" if instead else where
