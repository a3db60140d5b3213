"""A process that appends as fast as it can and says on its output what was acknowledged, until it is killed.

python -m tests.fault.log_writer DATABASE ROUND [CLIENTS]
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path

from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log

from tests.records import Records

CLIENTS = 32


async def write(database: Path, prefix: str, clients: int) -> None:
    log = open_log(database, LogOptions(minimum_free_bytes=0))
    make, numbers = Records(prefix), itertools.count()

    async def client() -> None:
        while True:
            key = f"{prefix}-{next(numbers)}"
            record = make.record(key=key, document=b"x" * 2000 + key.encode())
            receipt = await log.append(record)
            # One unbuffered write: whoever reads the line has it, whatever happens to this process next.
            os.write(1, f"{key} {record.decision.id} {receipt.log_index} {receipt.leaf_hash.hex()}\n".encode())

    os.write(1, b"ready\n")
    await asyncio.gather(*(client() for _ in range(clients)))


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if sys.argv[3:] else CLIENTS))
