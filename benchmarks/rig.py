"""Real processes to measure: the control plane, bare engines, and a load generator that costs the same for all.

Everything runs on this machine, over Unix sockets, in a temporary directory. Ratios are taken between targets that
were measured in the same rounds, in turns, because a shared machine is never the same twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
READY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Target:
    """Something that answers requests. ``path`` is a URL path or a gRPC method; ``unit`` is decisions a request.

    What answers over REST must have ``expect`` in each answer, or the answer counts as a failure.
    """

    name: str
    kind: str
    socket: Path
    path: str
    payloads: Path
    token: str = ""
    unit: int = 1
    expect: str = '"result"'


@dataclass(frozen=True, slots=True)
class Load:
    """What one round of one target gave; rates count decisions."""

    rate: float
    p50_us: float
    p99_us: float


class LoadFailedError(RuntimeError):
    """A target did not answer as it should, so its figures mean nothing."""


def build_loadgen(into: Path) -> Path:
    """Build the load generator and return it.

    Raises:
        LoadFailedError: there is no Go toolchain, or it does not build.
    """
    if shutil.which("go") is None:
        raise LoadFailedError("the load generator needs a Go toolchain on PATH")
    binary = into / "loadgen"
    subprocess.run(["go", "build", "-o", str(binary), "."], cwd=HERE / "loadgen", check=True)
    return binary


def write_payloads(path: Path, bodies: Sequence[bytes]) -> Path:
    """Write length-prefixed bodies and return the file."""
    with path.open("wb") as file:
        for body in bodies:
            file.write(struct.pack(">I", len(body)) + body)
    return path


def read_payloads(path: Path) -> list[bytes]:
    """Return the bodies of a file of payloads."""
    content, bodies, at = path.read_bytes(), [], 0
    while at < len(content):
        (size,) = struct.unpack_from(">I", content, at)
        bodies.append(content[at + 4 : at + 4 + size])
        at += 4 + size
    return bodies


def load(loadgen: Path, target: Target, *, clients: int, requests: int) -> Load:
    """Send requests in a closed loop and return what came of it.

    Raises:
        LoadFailedError: a request failed; a benchmark of failures would be worthless.
    """
    command = [str(loadgen), "-target", target.kind, "-socket", str(target.socket), "-path", target.path]
    command += ["-payloads", str(target.payloads), "-clients", str(clients), "-requests", str(requests)]
    command += ["-warmup", str(max(20, requests // 10)), "-token", target.token, "-expect", target.expect]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if answer["failures"]:
        raise LoadFailedError(f"{target.name}: {answer['failures']} failures, first: {answer['first_failure']}")
    return Load(answer["rate"] * target.unit, answer["p50_us"], answer["p99_us"])


def in_turns(
    loadgen: Path, targets: Sequence[Target], *, rounds: int, clients: int, requests: Mapping[str, int] | int
) -> dict[str, list[Load]]:
    """Measure every target once a round, starting with another one each round."""
    measured: dict[str, list[Load]] = {target.name: [] for target in targets}
    for at in range(rounds):
        shift = at % len(targets)
        for target in [*targets[shift:], *targets[:shift]]:
            count = requests if isinstance(requests, int) else requests[target.name]
            measured[target.name].append(load(loadgen, target, clients=clients, requests=count))
    return measured


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def ratios(measured: Mapping[str, Sequence[Load]], name: str, *, to: str, of: str) -> list[float]:
    """Return, round by round, the figure ``of`` one target over that of another."""
    return [getattr(one, of) / getattr(other, of) for one, other in zip(measured[name], measured[to], strict=True)]


@contextlib.contextmanager
def engine(opa: Path, directory: Path, name: str, *arguments: str) -> Iterator[Path]:
    """Run a bare OPA on a Unix socket and yield the socket."""
    path = directory / f"{name}.sock"
    command = [str(opa), "run", "--server", "--skip-version-check", "--log-level=error", "-a", f"unix://{path}"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "GOGC": "400"}
    with (directory / f"{name}.log").open("wb") as log, running([*command, *arguments], environment, log):
        wait_for_socket(path)
        yield path


@contextlib.contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], log: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process for the length of the block."""
    process = subprocess.Popen(command, env=dict(environment), stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_for_socket(path: Path) -> float:
    """Wait until somebody listens on ``path`` and return how long that took, in seconds.

    Raises:
        LoadFailedError: nobody does within five minutes.
    """
    began = time.perf_counter()
    while time.perf_counter() - began < READY_SECONDS:
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(path))
            return time.perf_counter() - began
        select_pause()
    raise LoadFailedError(f"nobody listens on {path}")


def select_pause() -> None:
    """Give the other process a moment."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nobody:
        nobody.settimeout(0.01)
        with contextlib.suppress(OSError):
            nobody.bind("")
            nobody.recv(1)


def resident_mebibytes(pid: int) -> float:
    """Return the resident memory of a process."""
    fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def machine() -> str:
    """Return what the figures were measured on, in one line."""
    facts = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in facts if "model name" in line)
    model = next(models, platform.machine())
    load_now = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}, Linux {platform.release()}, "
        f"load {load_now:.1f}, {time.strftime('%Y-%m-%d')}"
    )


def python(*arguments: str) -> list[str]:
    """Return a command line of this interpreter."""
    return [sys.executable, *arguments]
