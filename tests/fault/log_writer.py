"""A process that appends as fast as it can and says on its output what was acknowledged, until it is killed.

python -m tests.fault.log_writer DATABASE ROUND [CLIENTS]
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log
from aisecops_server.domain.log.record import DecisionRecord

from tests.scenes.log.records import Records

CLIENTS = 32


def records(prefix: str) -> Iterator[tuple[str, DecisionRecord]]:
    """Yield records without end, each with its idempotency key."""
    make = Records(prefix)
    for number in itertools.count():
        key = f"{prefix}-{number}"
        yield key, make.record(key=key, document=b"x" * 2000 + key.encode())


async def write(database: Path, prefix: str, clients: int) -> None:
    more = records(prefix)
    # Made before the first is sent, so that all are in flight together and none waits for the next to be made.
    firsts = list(itertools.islice(more, clients))
    log = open_log(database, LogOptions(minimum_free_bytes=0))

    async def client(first: tuple[str, DecisionRecord]) -> None:
        for key, record in itertools.chain([first], more):
            receipt = await log.append(record)
            # One unbuffered write: whoever reads the line has it, whatever happens to this process next.
            os.write(1, f"{key} {record.decision.id} {receipt.log_index} {receipt.leaf_hash.hex()}\n".encode())

    os.write(1, b"ready\n")
    await asyncio.gather(*map(client, firsts))


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if sys.argv[3:] else CLIENTS))
