"""What many tests need: the pinned engine, found the way the product finds it."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path


@functools.cache
def opa_binary() -> Path:
    """Return the engine that the tests run; `make test` installs it first."""
    for candidate in (os.environ.get("AISECOPS_OPA"), shutil.which("opa")):
        if candidate:
            return Path(candidate)
    raise AssertionError("no OPA found: run 'make engine' or set AISECOPS_OPA to the binary")
