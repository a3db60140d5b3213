"""How an engine process is run: its command line, configuration, environment, limits and private directory.

One place says what the child may do. It holds no state and starts nothing. The bundle is a start-up bundle with
an explicit verification key, key id and algorithm: OPA verifies the signature and every file before it opens
its socket, and refuses to start otherwise. (Its ``keys`` configuration knows no EdDSA, so a configured bundle
could not be verified with an Ed25519 key.) The bundle's file is called ``aisecops``, which is therefore its
name in the provenance of every answer.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.adapters.opa.binary import EngineBinary
from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.errors import EngineUnavailableError

BUNDLE_NAME = "aisecops"
KEY_ID = "aisecops"
SOCKET_NAME = "s"
SOCKET_PATH_BYTES = 100
MEBIBYTE = 1 << 20
_LAUNCHER = Path(__file__).with_name("launch.py")
_STANDARD_INPUT = "/dev/stdin"
_PROBE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What one engine may use.

    ``body_bytes`` holds the largest input document (a plan of a few hundred KiB with the grounding derived from it)
    and a batch of smaller ones; ``memory_bytes`` bounds the child's data segment, and its collector starts to
    work hard at three quarters of it, and before when garbage is ``garbage_percent`` of what lives. ``niceness`` lets
    others go first. After ``crashes`` within ``crash_window_seconds`` it is given up.
    """

    body_bytes: int = 4 * MEBIBYTE
    reply_bytes: int = 8 * MEBIBYTE
    explanation_bytes: int = 64 * MEBIBYTE
    memory_bytes: int = 1024 * MEBIBYTE
    connections: int = 16
    start_seconds: float = 10.0
    niceness: int = 0
    garbage_percent: int = 400
    crashes: int = 5
    crash_window_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose bundles an engine loads: the Ed25519 public key (PEM) and the signature's scope, if one is used."""

    public_key: str
    scope: str = ""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """An engine's private directory (0700): bundle, key, configuration, socket."""

    path: Path

    @property
    def socket(self) -> Path:
        """Return where the engine listens."""
        return self.path / SOCKET_NAME

    def put(self, bundle: Bundle) -> bytes:
        """Put a copy of a bundle in its place, whole or not at all, and return its bytes.

        Raises:
            EngineUnavailableError: it cannot be read or written.
        """
        draft = self.path / f"{BUNDLE_NAME}.draft"
        try:
            shutil.copyfile(bundle.archive, draft)
            content = draft.read_bytes()
            draft.replace(self.path / BUNDLE_NAME)
        except OSError as error:
            raise _unusable(self.path.parent, error) from error
        return content

    def remove(self) -> None:
        """Remove the directory; what is already gone is fine."""
        shutil.rmtree(self.path, ignore_errors=True)


def prepare(bundle: Bundle | None, *, trust: Trust, limits: EngineLimits, parent: Path) -> RunDirectory:
    """Make the private directory of one engine, with its own copy of the bundle.

    Without a bundle, what stands in its place is the engine's standard input.

    A Unix socket's path is short by nature: when ``parent`` is too deep, the system's temporary directory serves.

    Raises:
        EngineUnavailableError: no directory with a short enough path can be made.
    """
    directory = None
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = RunDirectory(Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=_short(parent))))
        _fill(directory, bundle, trust=trust, limits=limits)
    except OSError as error:
        if directory is not None:
            directory.remove()
        raise _unusable(parent, error) from error
    return directory


def _unusable(parent: Path, error: OSError) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"no run directory can be made under {parent}: {error.strerror}",
        hint="Check that the bundle is there and the state directory's rights and length",
    )


def _fill(directory: RunDirectory, bundle: Bundle | None, *, trust: Trust, limits: EngineLimits) -> None:
    if len(os.fsencode(directory.socket)) > SOCKET_PATH_BYTES:
        raise OSError(errno.ENAMETOOLONG, f"socket paths end at {SOCKET_PATH_BYTES} bytes")
    if bundle is None:
        (directory.path / BUNDLE_NAME).symlink_to(_STANDARD_INPUT)
    else:
        shutil.copyfile(bundle.archive, directory.path / BUNDLE_NAME)
    (directory.path / "key.pem").write_text(trust.public_key, encoding="ascii")
    (directory.path / "config.json").write_text(configuration(limits), encoding="ascii")


def sweep(parent: Path) -> None:
    """Remove run directories whose control plane is gone."""
    for directory, is_running in _owned(parent):
        if not is_running:
            shutil.rmtree(directory, ignore_errors=True)


def running_sockets(parent: Path) -> list[Path]:
    """Return where engines listen whose control plane still runs."""
    return sorted(directory / SOCKET_NAME for directory, is_running in _owned(parent) if is_running)


def _owned(parent: Path) -> Iterator[tuple[Path, bool]]:
    """Yield each run directory, and whether the control plane that made it still runs."""
    for directory in parent.glob("*-*"):
        owner = directory.name.partition("-")[0]
        if owner.isdigit():
            yield directory, _is_running(int(owner))


def configuration(limits: EngineLimits) -> str:
    """Return the engine's configuration file: capped bodies, capped gzip, our authorization decision."""
    decoding = {"max_length": limits.body_bytes, "gzip": {"max_length": limits.body_bytes}}
    return json.dumps({"server": {"decoding": decoding}, "default_authorization_decision": "/system/authz/allow"})


def command(engine: EngineBinary, trust: Trust) -> list[str]:
    """Return the engine's command line; paths are relative to the run directory."""
    arguments = [str(engine.path), "run", "--server", "--addr", f"unix://{SOCKET_NAME}", "--unix-socket-perm", "600"]
    arguments += ["--authorization", "basic", "--skip-version-check", "--config-file", "config.json"]
    arguments += ["--log-level", "error", "--shutdown-grace-period", "1", "--bundle", BUNDLE_NAME]
    arguments += ["--verification-key", "key.pem", "--verification-key-id", KEY_ID, "--signing-alg", "EdDSA"]
    return [*arguments, "--scope", trust.scope] if trust.scope else arguments


def environment(limits: EngineLimits) -> dict[str, str]:
    """Return the engine's whole environment: two settings of its garbage collector."""
    return {"GOGC": str(limits.garbage_percent), "GOMEMLIMIT": str(limits.memory_bytes * 3 // 4)}


def launch_command(engine: EngineBinary, *, trust: Trust, limits: EngineLimits, network: str) -> list[str]:
    """Return the command that confines itself and then becomes the engine."""
    order = {
        "argv": command(engine, trust),
        "environment": environment(limits),
        "parent": os.getpid(),
        "memory_bytes": limits.memory_bytes,
        "niceness": limits.niceness,
        "network": network,
    }
    return [sys.executable, "-I", "-S", str(_LAUNCHER), json.dumps(order)]


@functools.cache
def network() -> str:
    """Return ``none`` when this system lets a child have an empty network namespace, else ``host``."""
    order = {"argv": [shutil.which("true") or "/bin/true"], "environment": {}, "parent": os.getpid(), "memory_bytes": 0}
    probe = [sys.executable, "-I", "-S", str(_LAUNCHER), json.dumps(order | {"network": "none"})]
    try:
        done = subprocess.run(probe, capture_output=True, timeout=_PROBE_SECONDS, check=False)  # noqa: S603 - our own
    except (OSError, subprocess.SubprocessError):
        return "host"
    return "none" if done.returncode == 0 else "host"


def _short(parent: Path) -> Path:
    sample = parent / f"{os.getpid()}-12345678" / SOCKET_NAME
    return parent if len(os.fsencode(sample.absolute())) <= SOCKET_PATH_BYTES else Path(tempfile.gettempdir())


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
