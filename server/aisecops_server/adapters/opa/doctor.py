"""Checks what the engine needs on this machine, and says what is missing and how to mend it. Changes nothing."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.adapters.opa import binary, profile
from aisecops_server.domain.errors import EngineUnavailableError

_SAMPLE_NAME = f"{os.getpid()}-12345678"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ``hint`` says what to do; a check that is not ``needed`` only weakens defences."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
    needed: bool = True


def doctor(engine_directory: Path, *, given: Path | None = None, run_directory: Path | None = None) -> list[Check]:
    """Return the state of everything that the engine needs, in the order in which it is needed."""
    return [
        *_engine_checks(given, engine_directory),
        _run_directory_check(run_directory),
        _network_check(),
        _parent_check(),
    ]


def _engine_checks(given: Path | None, engine_directory: Path) -> list[Check]:
    try:
        engine = binary.locate(engine_directory, given=given)
        lock = binary.read_lock(engine.path, binary.home(engine_directory))
    except EngineUnavailableError as error:
        return [Check("engine", ok=False, detail=error.message, hint=error.hint)]
    pinned = Check(
        "engine is pinned by digest",
        ok=lock is not None,
        detail=f"SHA-256 {engine.sha256}",
        hint="" if lock else "Run 'aisecops engine install' to pin it",
        needed=False,
    )
    found = Check(
        "engine", ok=True, detail=f"OPA {engine.version} at {engine.path} ({engine.source}); decides correctly"
    )
    return [found, pinned]


def _run_directory_check(run_directory: Path | None) -> Check:
    directory = run_directory or Path(tempfile.gettempdir())
    existing = next(parent for parent in (directory, *directory.absolute().parents) if parent.exists())
    name = "engine sockets"
    if not os.access(existing, os.W_OK | os.X_OK):
        return Check(name, ok=False, detail=f"{existing} is not writable", hint="Choose another state directory")
    length = len(os.fsencode((directory / _SAMPLE_NAME / profile.SOCKET_NAME).absolute()))
    where = (
        str(directory) if length <= profile.SOCKET_PATH_BYTES else f"{tempfile.gettempdir()} ({directory} is too long)"
    )
    return Check(name, ok=True, detail=f"private directories under {where}")


def _network_check() -> Check:
    isolated = profile.network() == "none"
    return Check(
        "engine has no network",
        ok=isolated,
        detail="an empty network namespace"
        if isolated
        else "this system gives none; policy is built without network functions",
        hint="" if isolated else "Allow user namespaces, or run the control plane where it has no route out",
        needed=False,
    )


def _parent_check() -> Check:
    bound = sys.platform == "linux"
    return Check(
        "engine ends with the control plane",
        ok=bound,
        detail="it is killed with its parent"
        if bound
        else "this system cannot do that; a killed control plane may leave engines",
        hint="" if bound else "Stop left-over engines by hand after a crash",
        needed=False,
    )
