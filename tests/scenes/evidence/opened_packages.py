"""Evidence packages as their readers have them: made by a control plane, opened by the command, which serves them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from aisecops_server.domain.callers.identity import Role

from tests.scenes.planes.ui_scene import Scene


def made(scene: Scene, path: Path, traces: Collection[str] = ()) -> Path:
    """Have an auditor make the package of ``traces``, or of all that a scene names."""
    headers = {"Cookie": scene.cookie(Role.AUDITOR)}
    key = re.search(r'name="key" value="([^"]*)"', scene.ask("GET", "/evidence", headers=headers)[2].decode())
    assert key
    form = {"key": key[1], "traces": " ".join(traces or set(scene.traces.values()))}
    status, _, content = scene.ask("POST", "/evidence/export", headers=headers, form=form)
    assert status == 200
    path.write_bytes(content)
    return path


def started(package: Path, home: Path) -> subprocess.Popen[str]:
    """Start the command with nothing but its own interpreter and an empty home."""
    command = [sys.executable, "-m", "aisecops_server", "evidence", "open", str(package)]
    environment = {"HOME": str(home), "PATH": "", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        command, cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def opened(package: Path, home: Path) -> Iterator[str]:
    """Serve a package while the block runs; gives the link that the command printed."""
    process = started(package, home)
    try:
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        assert link.startswith("http://127.0.0.1:"), process.communicate()
        yield link
    finally:
        process.terminate()
        process.communicate(timeout=60)
