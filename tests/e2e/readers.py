"""The machine of somebody who reads a page: our commands on the path, a home of their own, and nothing else."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.support import opa_binary


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a reader whose home is ``home``."""
    binaries = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return {
        "PATH": binaries,
        "HOME": str(home),
        "AISECOPS_ENGINE_PATH": str(opa_binary()),
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "LC_ALL": "C.UTF-8",
        "GIT_AUTHOR_NAME": "Reader",
        "GIT_AUTHOR_EMAIL": "reader@example.org",
        "GIT_COMMITTER_NAME": "Reader",
        "GIT_COMMITTER_EMAIL": "reader@example.org",
    }
