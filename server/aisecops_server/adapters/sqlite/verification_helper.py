"""A process that does tasks of a verification: one a line in, its answer a line out, until its input ends.

    python -m aisecops_server.adapters.sqlite.verification_helper FILE NICENESS

It reads the file and writes nothing. When it cannot do a task it ends, and whoever asked does the task.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import apsw
import orjson

from aisecops_server.adapters.sqlite.database import open_for_reading
from aisecops_server.adapters.sqlite.verification_tasks import run_task


def main() -> None:
    """Answer tasks."""
    _, path, niceness = sys.argv
    os.nice(int(niceness))
    with contextlib.closing(open_for_reading(Path(path))) as connection:
        for line in sys.stdin.buffer:
            sys.stdout.buffer.write(orjson.dumps(run_task(connection, orjson.loads(line))) + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    with contextlib.suppress(apsw.Error, BrokenPipeError):
        main()
