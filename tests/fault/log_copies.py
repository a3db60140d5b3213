"""Copies of a log to be changed, and what the check says of them."""

from __future__ import annotations

import shutil
from pathlib import Path

from aisecops_server.adapters.sqlite.event_log import open_log_read_only
from aisecops_server.domain.log.record import LogReport


def copied(original: Path, folder: Path, name: str) -> Path:
    return Path(shutil.copyfile(original, folder / f"{name}.db"))


async def verified(database: Path) -> LogReport:
    log = open_log_read_only(database)
    try:
        return await log.verify()
    finally:
        await log.close()
