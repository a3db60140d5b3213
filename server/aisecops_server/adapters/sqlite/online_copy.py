"""Copies a database of a control plane that writes it, as it was at one moment, into one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw

from aisecops_server.adapters.sqlite.database import open_for_reading, translated

_PAGES = 2_000


def copy_database(source: Path, target: Path, told: Callable[[int, int], None] = lambda _done, _of: None) -> None:
    """Copy ``source``; ``told`` is called with the pages done and all of them.

    A read transaction is held meanwhile, so what is committed after its begin is not in the copy and restarts nothing.

    Raises:
        IntegrityError: the source is damaged.
        LogUnavailableError: it cannot be read, or the copy cannot be written.
    """
    reading = open_for_reading(source)
    try:
        with translated(f"copying {source.name}"):
            target.touch(mode=0o600)
            writing = apsw.Connection(str(target))
            try:
                reading.execute("BEGIN")
                reading.execute("SELECT count(*) FROM sqlite_master").fetchall()
                with writing.backup("main", reading, "main") as copying:
                    while not copying.done:
                        copying.step(_PAGES)
                        told(copying.page_count - copying.remaining, copying.page_count)
                # One file, without what a write-ahead log would add.
                writing.pragma("journal_mode", "delete")
                writing.pragma("synchronous", "full")
            finally:
                writing.close()
    finally:
        reading.close()
