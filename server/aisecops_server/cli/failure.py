"""A failure as people and programs are told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aisecops_server.cli.exit_codes import ExitCode

UNREACHABLE_HINT = "Start it with 'aisecops serve', or say where it is with --server or --state-dir"


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
