"""Runs a page's console blocks the way a reader would, and compares what is shown with what came.

Rules: a block marked ``console`` is executed, in page order, in one folder with one shell state. Lines that begin
with ``$ `` are commands (a trailing backslash continues them), the lines below are the output to expect. ``…`` stands
for any text within a line, and on a line of its own for any lines. A command must end with 0. ``&`` at the end starts
a process that runs until the page ends; it is waited for until it has printed what is shown. "Save this as `NAME`:"
above a block writes that block to a file.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

PART = re.compile(r"(?:^Save this as `([^`]+)`:\n\n)?^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND_SECONDS = 240


@dataclass(frozen=True, slots=True)
class Shown:
    """A command with the output that the page shows for it."""

    command: str
    output: str


@dataclass(frozen=True, slots=True)
class Saved:
    """A file that the page tells the reader to write."""

    name: str
    content: str


def parts(page: str) -> Iterator[Shown | Saved]:
    """Yield what a page asks its reader to do, in order."""
    for name, language, body in PART.findall(page):
        if name:
            yield Saved(name, body)
        elif language == "console":
            for chunk in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                command, output = _split(chunk)
                yield Shown(command, output)


def _split(chunk: str) -> tuple[str, str]:
    lines = chunk.splitlines(keepends=True)
    end = next(at for at, line in enumerate(lines, start=1) if not line.rstrip("\n").endswith("\\"))
    return "".join(lines[:end]).rstrip("\n"), "".join(lines[end:])


def matches(expected: str, actual: str) -> bool:
    """Return whether ``actual`` holds ``expected`` from the beginning of some line on."""
    pattern = "".join(_pattern(line) for line in expected.rstrip().splitlines())
    return re.search("^" + pattern, actual.rstrip() + "\n", re.MULTILINE) is not None


def _pattern(line: str) -> str:
    if line.strip() == "…":
        return r"(?:.*\n)*?"
    return "[^\n]*?".join(re.escape(piece) for piece in line.rstrip().split("…")) + r"[ \t]*\n"


@dataclass(slots=True)
class Shell:
    """A folder and environment that persist from command to command."""

    folder: Path
    environment: Mapping[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, shown: Shown) -> tuple[int, str]:
        """Run one command and return its exit code and what it printed."""
        if shown.command.endswith(" &"):
            return self._start(shown.command.removesuffix(" &"), until=shown.output)
        keep = f"code=$?\n{{ export -p; echo cd \"'$PWD'\"; }} > {self._kept}\nexit $code"
        script = f"{self._resume()}\n{shown.command}\n{keep}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        return done.returncode, done.stdout.decode()

    def _start(self, command: str, *, until: str) -> tuple[int, str]:
        """Start a process and come back when it has printed what the page shows, or ended."""
        process = subprocess.Popen(
            ["bash", "-c", f"{self._resume()}\nexec {command}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started.append(process)
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line.decode()
            if matches(until, printed):
                break
        # What comes later is read so that the process never waits for a reader.
        Thread(target=process.stdout.read, daemon=True).start()
        return process.poll() or 0, printed

    @property
    def _kept(self) -> Path:
        return self.folder / ".shell"

    def _resume(self) -> str:
        return f"[ -f {self._kept} ] && . {self._kept}; set -a"

    def save(self, file: Saved) -> None:
        """Write a file into the folder that the reader is in."""
        code, here = self.run(Shown("pwd", ""))
        assert code == 0, here
        path = Path(here.strip()) / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content, encoding="utf-8")

    def stop(self) -> None:
        """Stop everything that was started."""
        for process in self.started:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=COMMAND_SECONDS)


@contextmanager
def shell(folder: Path, environment: Mapping[str, str]) -> Iterator[Shell]:
    """Give a shell and stop what it started."""
    made = Shell(folder, environment)
    try:
        yield made
    finally:
        made.stop()
