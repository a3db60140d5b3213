"""Public MCP servers from the registries, at the versions that the tests know, installed beside this environment."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NPM = {
    "@modelcontextprotocol/server-everything": "2026.8.31",
    "@modelcontextprotocol/server-filesystem": "2026.8.31",
    "@modelcontextprotocol/server-memory": "2026.8.31",
}
PYPI = {"mcp-server-fetch": "2026.10.24", "mcp-server-git": "2026.10.19", "mcp-server-time": "2026.10.19"}
_PLACE = Path(sys.prefix)
_SECONDS = 300


def npm_server(name: str) -> tuple[str, ...]:
    """Return the command of a server from npm; without Node or its registry, skip."""
    place = _PLACE / "mcp-npm"

    def install() -> None:
        packages = [f"{package}@{version}" for package, version in NPM.items()]
        _run("npm", "install", "--no-audit", "--no-fund", "--prefix", str(place), *packages)

    _install(place, install)
    return (str(place / "node_modules" / ".bin" / f"mcp-server-{name}"),)


def pypi_server(name: str) -> tuple[str, ...]:
    """Return the command of a server from PyPI; without its registry, skip."""
    place = _PLACE / "mcp-pypi"

    def install() -> None:
        _run(sys.executable, "-m", "venv", str(place))
        packages = [f"{package}=={version}" for package, version in PYPI.items()]
        _run(str(place / "bin" / "pip"), "install", "--quiet", *packages)

    _install(place, install)
    return (str(place / "bin" / f"mcp-server-{name}"),)


def _run(program: str, *words: str) -> None:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"public MCP servers are not tested: {program} is not installed here")
    try:
        done = subprocess.run([found, *words], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"public MCP servers are not tested: {program} took more than {_SECONDS} s")
    if done.returncode:
        pytest.skip(f"public MCP servers are not tested: {program} could not install them: {done.stderr[-300:]}")


def _install(place: Path, install: Callable[[], None]) -> None:
    with _alone(place):
        marker = place / f".whole-{'-'.join(sorted({*NPM.values(), *PYPI.values()}))}"
        if not marker.exists():
            install()
            marker.touch()


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
