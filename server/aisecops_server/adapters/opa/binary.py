"""The OPA binary: which one we run, that it is what it says it is, and that it has not changed since.

Owns the pinned version, the lock file beside an installed binary, and the checks that every start makes. It
never fetches anything (``install`` does). Order at every start: find the file, compare its SHA-256 with the
lock, only then run it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from aisecops_server.domain.errors import EngineUnavailableError

PINNED_VERSION = "1.22.2"
MINIMUM_VERSION = "1.22.2"
ENGINE_VARIABLE = "AISECOPS_ENGINE_PATH"
LOCK_NAME = "engine.json"
_RUN_SECONDS = 30.0

_PROBE_MODULE = """package probe

default decision := "deny"

decision := "allow" if input.answer == 42
"""
_PROBE_ANSWERS = {'{"answer": 42}': "allow", '{"answer": "42"}': "deny", "{}": "deny"}


@dataclass(frozen=True, slots=True)
class EngineBinary:
    """An OPA binary that was checked: where it is, what it is, and where it came from."""

    path: Path
    version: str
    sha256: str
    source: str

    def unchanged(self) -> None:
        """Check that the file still has the digest that it was pinned with.

        Raises:
            EngineUnavailableError: it is gone or was replaced.
        """
        if _sha256_of(self.path) != self.sha256:
            raise _changed(self.path)


@dataclass(frozen=True, slots=True)
class _Lock:
    version: str
    sha256: str
    source: str


def home(engine_directory: Path) -> Path:
    """Return where the pinned version is installed: its own folder, so that versions stand side by side."""
    return engine_directory.expanduser().absolute() / PINNED_VERSION


def locate(engine_directory: Path, *, given: Path | None = None) -> EngineBinary:
    """Return the engine that this machine has: the given path, then ``PATH``, then the engine directory.

    A given path is an instruction: when it cannot be used, nothing else is tried.

    Raises:
        EngineUnavailableError: there is no usable engine; the message lists each place and what was wrong there.
    """
    directory = home(engine_directory)
    if given is not None:
        return inspect(given, source="given path", directory=directory)
    tries: dict[str, str] = {}
    for place, path in (("PATH", shutil.which("opa")), ("cache", directory / "opa")):
        if path is None or not Path(path).exists():
            tries[place] = f"no opa {'in ' + str(directory) if place == 'cache' else 'on PATH'}"
            continue
        try:
            return inspect(Path(path), source=place, directory=directory)
        except EngineUnavailableError as error:
            tries[place] = error.message
    raise not_found(tries)


def list_engines(engine_directory: Path, *, given: Path | None = None) -> list[EngineBinary]:
    """Return every usable engine of this machine, in the order in which it would be chosen."""
    directory = home(engine_directory)
    found = [("given path", given), ("PATH", shutil.which("opa")), ("cache", directory / "opa")]
    engines = []
    for source, path in found:
        if path is not None:
            with contextlib.suppress(EngineUnavailableError):
                engines.append(inspect(Path(path), source=source, directory=directory))
    return engines


def inspect(path: Path, *, source: str, directory: Path) -> EngineBinary:
    """Check one binary: its lock, then its version, then its answers.

    Raises:
        EngineUnavailableError: the file is missing, differs from its lock, is too old, or decides wrongly.
    """
    path = _executable(path)
    lock = read_lock(path, directory)
    if lock is None and path.parent == directory.absolute():
        raise EngineUnavailableError(
            f"{path} has no lock beside it", hint="Remove it and run 'aisecops engine install'"
        )
    if lock is not None and lock.sha256 != _sha256_of(path):
        raise _changed(path)
    return examine(path, source=lock.source if lock else source)


def examine(path: Path, *, source: str) -> EngineBinary:
    """Check one binary that is not pinned yet: its version and its answers.

    Raises:
        EngineUnavailableError: the file is missing, is too old, or decides wrongly.
    """
    path = _executable(path)
    return EngineBinary(path=path, sha256=_sha256_of(path), version=check(path), source=source)


def check(path: Path) -> str:
    """Return the version of ``path`` after it proved that it is a recent enough OPA that decides.

    Raises:
        EngineUnavailableError: it does not run, is too old, or a known decision comes out wrong.
    """
    version = _version_of(path)
    if _ordered(version) < _ordered(MINIMUM_VERSION):
        raise EngineUnavailableError(
            f"{path} is OPA {version}; at least {MINIMUM_VERSION} is needed",
            hint="Run 'aisecops engine install'",
            version=version,
        )
    _check_decisions(path)
    return version


def write_lock(engine: EngineBinary, directory: Path) -> None:
    """Pin ``engine``: from now on a file with another digest at its path is refused.

    The lock of an engine that is not ours to write beside stands in the cache directory, under its path's digest.
    """
    target = _lock_path(engine.path, directory)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _Lock(version=engine.version, sha256=engine.sha256, source=engine.source)
    replacement = target.with_name(f".{target.name}.{os.getpid()}")
    replacement.write_text(json.dumps(asdict(lock), indent=2) + "\n", encoding="utf-8")
    replacement.replace(target)


def read_lock(path: Path, directory: Path) -> _Lock | None:
    """Return what ``path`` was pinned to, or None when it never was.

    Raises:
        EngineUnavailableError: the lock is there and cannot be understood.
    """
    target = _lock_path(path, directory)
    try:
        fields = json.loads(target.read_text(encoding="utf-8"))
        return _Lock(version=str(fields["version"]), sha256=str(fields["sha256"]), source=str(fields["source"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineUnavailableError(
            f"the engine's lock {target} cannot be read", hint="Run 'aisecops engine install' again"
        ) from error


def not_found(tries: Mapping[str, str]) -> EngineUnavailableError:
    """Return the one error that lists every way that was tried and why it failed."""
    listed = "; ".join(f"{place}: {why}" for place, why in tries.items())
    return EngineUnavailableError(
        f"no OPA {MINIMUM_VERSION} or newer is available ({listed})",
        hint=f"Run 'aisecops engine install', or set {ENGINE_VARIABLE} to an OPA binary",
    )


def run(command: list[str], *, environment: Mapping[str, str] | None = None, stdin: str = "") -> str:
    """Run an OPA command to its end and return its output; the environment is empty unless given.

    Raises:
        EngineUnavailableError: it cannot be run, fails, or takes too long.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the binary is the one that was checked
            command,
            env=dict(environment or {}),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_RUN_SECONDS,
            check=True,
        )
    except (OSError, UnicodeError, subprocess.SubprocessError) as error:
        raise EngineUnavailableError(
            f"{command[0]} does not run: {_reason(error)}", hint="Run 'aisecops engine install'"
        ) from error
    return done.stdout


def _executable(path: Path) -> Path:
    path = path.expanduser().absolute()
    if not path.is_file() or not os.access(path, os.X_OK):
        raise EngineUnavailableError(
            f"{path} is not an executable file", hint=f"Correct {ENGINE_VARIABLE} or run 'aisecops engine install'"
        )
    return path


def _check_decisions(path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="aisecops-") as directory:
        module = Path(directory) / "probe.rego"
        module.write_text(_PROBE_MODULE, encoding="utf-8")
        for document, expected in _PROBE_ANSWERS.items():
            command = [
                str(path),
                "eval",
                "--format",
                "raw",
                "--data",
                str(module),
                "--stdin-input",
                "data.probe.decision",
            ]
            answer = run(command, stdin=document).strip()
            if answer != expected:
                raise EngineUnavailableError(
                    f"{path} decided {answer[:40]!r} where {expected!r} is known to be right",
                    hint="It is not a stock OPA: run 'aisecops engine install'",
                )


def _version_of(path: Path) -> str:
    match = re.search(r"^Version: (\d+\.\d+\.\d+)$", run([str(path), "version"]), re.MULTILINE)
    if match is None:
        raise EngineUnavailableError(
            f"{path} does not say which version of OPA it is", hint="Run 'aisecops engine install'"
        )
    return match.group(1)


def _ordered(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _sha256_of(path: Path) -> str:
    try:
        seen = path.stat()
        return _hashed(path, (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns))
    except OSError as error:
        raise EngineUnavailableError(f"{path} cannot be read", hint="Run 'aisecops engine install'") from error


@functools.lru_cache(maxsize=8)
def _hashed(path: Path, _identity: tuple[int, ...]) -> str:
    """Hash a file once for as long as the system says that it is the same one: a restart has no time to waste."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lock_path(path: Path, directory: Path) -> Path:
    if path.absolute().parent == directory.absolute():
        return directory / LOCK_NAME
    return directory / "adopted" / f"{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]}.json"


def _changed(path: Path) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"{path} is not the file that was pinned: its SHA-256 changed",
        hint="If you replaced it yourself, run 'aisecops engine install' to pin it again; if not, do not run it",
    )


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        last = (error.stderr or error.stdout or "").strip().splitlines()[-1:]
        return f"exit status {error.returncode}{': ' + last[0][:200] if last else ''}"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no end after {error.timeout:.0f} s"
    return str(error)
