"""The processes that this one started and that still run, whatever its threads do meanwhile."""

from __future__ import annotations

from pathlib import Path

_THREADS = Path("/proc/self/task")


def children() -> set[int]:
    """Return them; they stand with the thread that started them, and with another one as soon as that ends."""
    while True:
        threads = sorted(_THREADS.iterdir())
        try:
            found = {int(pid) for one in threads for pid in (one / "children").read_text(encoding="ascii").split()}
        except (FileNotFoundError, ProcessLookupError):
            # A thread ended while it was looked at, and what it started stands elsewhere by now.
            continue
        if sorted(_THREADS.iterdir()) == threads:
            return found
