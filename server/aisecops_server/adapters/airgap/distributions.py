"""Which distributions this installation is made of, and wheels of exactly those.

What is installed here is what is packed: the versions that were tried, not the newest that satisfy somebody.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from aisecops_server.domain.errors import InvalidRequestError

OURS = "aisecops"
EXTRAS = ("server", "ui", "mcp")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_SECONDS = 900


def pinned() -> tuple[str, ...]:
    """Return ``name==version`` of everything that this installation needs but itself, sorted.

    Raises:
        InvalidRequestError: something that is needed is not installed.
    """
    found: dict[str, str] = {}
    waiting = [(OURS, frozenset(EXTRAS))]
    while waiting:
        name, extras = waiting.pop()
        for requirement in metadata.requires(name) or ():
            needed = _needed(requirement, extras)
            if not needed or needed in found:
                continue
            if version := _installed(needed):
                found[needed] = version
                waiting.append((needed, frozenset(_extras_of(requirement))))
            elif name == OURS:
                raise _refused(f"{needed} is not installed here, and what is packed would lack it")
    return tuple(sorted(f"{name}=={version}" for name, version in found.items()))


def fetch_wheels(requirements: Path, into: Path) -> None:
    """Get the wheels of ``requirements`` for this Python and system, and one of ourselves.

    Raises:
        InvalidRequestError: one cannot be had.
    """
    exact = ["--no-deps", "--only-binary", ":all:", "--requirement", str(requirements)]
    _pip("download", "--quiet", "--dest", str(into), *exact)
    source = _source()
    if source is not None and (lock := source / "requirements" / "server.lock").is_file():
        _require_locked(into, lock.read_text("utf-8"))
    if source is not None:
        _pip("wheel", "--quiet", "--no-deps", "--wheel-dir", str(into), str(source))
    else:
        _pip("download", "--quiet", "--no-deps", "--dest", str(into), f"{OURS}=={metadata.version(OURS)}")


def _require_locked(wheels: Path, lock: str) -> None:
    """Check what arrived by the digests that are locked in our own tree.

    Raises:
        InvalidRequestError: a wheel is another.
    """
    known = set(re.findall(r"sha256:([0-9a-f]{64})", lock))
    for wheel in sorted(wheels.glob("*.whl")):
        with wheel.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() not in known:
                raise _refused(f"{wheel.name} is not the one that is locked")


def _source() -> Path | None:
    """Return the tree that we are installed from in place, if so."""
    told = metadata.distribution(OURS).read_text("direct_url.json")
    url = urlsplit(json.loads(told)["url"]) if told else None
    return (
        Path(unquote(url.path))
        if url is not None and url.scheme == "file" and Path(unquote(url.path)).is_dir()
        else None
    )


def _needed(requirement: str, extras: frozenset[str]) -> str:
    """Return the name that a requirement needs, or nothing when it is of an extra that nobody asked for."""
    wanted = _EXTRA.search(requirement)
    if wanted and wanted.group(1) not in extras:
        return ""
    name = _NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", name.group()).lower() if name else ""


def _extras_of(requirement: str) -> Sequence[str]:
    found = re.match(r"[A-Za-z0-9._-]+\s*\[([^\]]*)\]", requirement)
    return [part.strip() for part in found.group(1).split(",")] if found else ()


def _installed(name: str) -> str:
    """Return the version that is installed, or nothing: what is only for other systems is not."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _pip(*arguments: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, and no shell
            [sys.executable, "-m", "pip", *arguments], capture_output=True, check=False, text=True, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _refused(str(error)) from error
    if done.returncode:
        raise _refused(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "pip says nothing")


def _refused(why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"the wheels cannot be had: {why}",
        hint="Pack where packages can be reached, with the Python and system that the other side has",
        field="file",
    )
