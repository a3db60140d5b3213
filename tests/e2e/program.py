"""The program as a shell sees it: a line in; exit code, standard output and standard error back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import opa_binary

SECONDS = 240


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, slots=True)
class Terminal:
    """A shell's view of the installed program."""

    home: Path

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "AISECOPS_ENGINE_PATH": str(opa_binary()),
            "AISECOPS_POLL_SECONDS": "3600",
            "AISECOPS_DEADLINE_MILLISECONDS": "10000",
            "LC_ALL": "C.UTF-8",
            **more,
        }

    def run(self, *line: str, stdin: str = "", **environment: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "aisecops_server", *line],
            env=self.environment(**environment),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)
