"""Runs the git CLI the only way this control plane runs it; GitPython starts the process and does nothing else.

Owns the hardening: no variable of the caller reaches git, no configuration but ours is read, no hook, filter,
submodule, credential helper or protocol helper can start, every run has a time limit that kills the whole process
group, a limit on what it may print and a limit on the files it may write. It knows no command; ``mirror`` does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from aisecops_server.domain.errors import RepositoryUnavailableError

# What an operator may hand through: how to reach a remote, never what git does.
PASSABLE = frozenset(
    {"SSH_AUTH_SOCK", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"}
)

_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/dev/null",
    "XDG_CONFIG_HOME": "/dev/null",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
    "GIT_ALLOW_PROTOCOL": "file:https:ssh",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oStrictHostKeyChecking=yes -oPermitLocalCommand=no",
}

_CONFIGURATION = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.bigFileThreshold=8m",
    "credential.helper=",
    "fetch.fsckObjects=true",
    "transfer.fsckObjects=true",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    # Everything arrives as one pack, so that the limit on file size bounds a fetch.
    "fetch.unpackLimit=1",
    "fetch.bundleURI=",
    "transfer.bundleURI=false",
    "protocol.allow=never",
    "protocol.file.allow=always",
    "protocol.https.allow=always",
    "protocol.ssh.allow=always",
    "protocol.ext.allow=never",
    "http.followRedirects=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "log.showSignature=false",
)

_BLOCK_BYTES = 512
_STDERR_TAIL = 4096
_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one run of git may use."""

    seconds: float
    output_bytes: int = 1024 * 1024
    file_bytes: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Finished:
    """One ended run. ``complaint`` is the last line git wrote to its error stream, made printable."""

    code: int
    output: bytes
    complaint: str


class OutputTooLongError(Exception):
    """A run was killed because it printed more than it may."""


class HardenedGit:
    """Runs git against one bare repository."""

    def __init__(self, directory: Path, *, environment: Mapping[str, str]) -> None:
        self._directory = directory
        passed = {name: value for name, value in environment.items() if name in PASSABLE}
        self._environment = {**_ENVIRONMENT, **passed}

    def run(self, *arguments: str, bounds: Bounds, stdin: bytes = b"") -> Finished:
        """Run git with ``arguments`` and return how it ended.

        Raises:
            RepositoryUnavailableError: git is missing or did not end in time.
            OutputTooLongError: it printed more than ``bounds`` let it.
        """
        with tempfile.TemporaryFile() as source:
            source.write(stdin)
            source.seek(0)
            process = self._start(arguments, bounds, source)
            return _finish(process, bounds)

    def _start(self, arguments: tuple[str, ...], bounds: Bounds, stdin: BinaryIO) -> subprocess.Popen[bytes]:
        git = _git_class()
        interrupt = git(str(self._directory)).execute(
            self._command(arguments, bounds), istream=stdin, as_process=True, shell=False, start_new_session=True
        )
        process: subprocess.Popen[bytes] = interrupt.proc
        # From here the process is ours to end; the wrapper would end it behind our back when collected.
        interrupt.proc = None
        return process

    def _command(self, arguments: tuple[str, ...], bounds: Bounds) -> list[str]:
        settings = [part for item in _CONFIGURATION for part in ("-c", item)]
        return [
            "/usr/bin/env",
            "-i",
            *(f"{name}={value}" for name, value in self._environment.items()),
            "/bin/sh",
            "-c",
            'ulimit -f "$0" && exec "$@"',
            str(max(1, bounds.file_bytes // _BLOCK_BYTES)),
            _git_binary(),
            f"--git-dir={self._directory}",
            "--no-pager",
            *settings,
            *arguments,
        ]


def _finish(process: subprocess.Popen[bytes], bounds: Bounds) -> Finished:
    late = threading.Event()

    def end() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(bounds.seconds, end)
    tail = _Tail(process.stderr)
    timer.start()
    try:
        output = _read(process, bounds.output_bytes)
        code = process.wait()
    finally:
        _kill(process)
        timer.cancel()
        tail.join()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    if late.is_set():
        raise RepositoryUnavailableError(
            f"git did not end within {bounds.seconds:g} s and was killed",
            hint="Check that the policy repository's host answers; the last good revision stays live",
        )
    return Finished(code, output, tail.last_line())


def _read(process: subprocess.Popen[bytes], limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while process.stdout is not None and (part := process.stdout.read1(_CHUNK)):  # type: ignore[attr-defined]
        size += len(part)
        if size > limit:
            raise OutputTooLongError
        parts.append(part)
    return b"".join(parts)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: git's own children must not outlive it."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _Tail(threading.Thread):
    """Drains an error stream and keeps its end, so that a talkative remote can neither block nor fill memory."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._kept = b""
        self.start()

    def run(self) -> None:
        """Read until the stream ends."""
        while self._stream is not None and (part := self._stream.read1(_CHUNK)):  # type: ignore[attr-defined]
            self._kept = (self._kept + part)[-_STDERR_TAIL:]

    def last_line(self) -> str:
        """Return the last line that says something, printable and short."""
        lines = [line for line in self._kept.decode("utf-8", "replace").splitlines() if line.strip()]
        telling = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines
        return printable(telling[0])[:300] if telling else ""


def printable(text: str) -> str:
    """Return ``text`` with every character that could steer a terminal or a log replaced."""
    return "".join(character if character.isprintable() else "�" for character in text).strip()


def _git_binary() -> str:
    found = shutil.which("git", path=_ENVIRONMENT["PATH"]) or shutil.which("git")
    if found is None:
        raise RepositoryUnavailableError("git is not installed", hint="Install git 2.39.4, 2.45.1 or newer")
    return found


def _git_class() -> type:
    _git_binary()
    # GitPython looks for git when it is imported, so it is imported when git is needed and known to be there.
    from git.cmd import Git  # noqa: PLC0415

    return Git
