"""A Python of its own in which nothing is installed but one distribution and what it needs, made without a network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement


def bare_environment(folder: Path, name: str) -> Path:
    """Make an environment with ``name`` in it, linked from the one that runs the tests, and return its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=300)
    python = folder / "bin" / "python"
    [packages] = folder.glob("lib/python*/site-packages")
    for needed in {part.metadata["Name"]: part for part in _needed(name)}.values():
        for file in needed.files or ():
            target = packages / file.parts[0]
            if file.parts[0] not in ("..", "__pycache__") and not target.exists():
                target.symlink_to(Path(str(needed.locate_file(file.parts[0]))))
    return python


def installed(python: Path) -> set[str]:
    """Return the names of what an interpreter has installed."""
    told = "import importlib.metadata as m; print(*[d.metadata['Name'] for d in m.distributions()])"
    done = subprocess.run([str(python), "-I", "-c", told], check=True, capture_output=True, text=True, timeout=120)
    return set(done.stdout.split())


def _needed(name: str) -> Iterator[Distribution]:
    found = distribution(name)
    yield found
    for requirement in map(Requirement, found.requires or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield from _needed(requirement.name)
