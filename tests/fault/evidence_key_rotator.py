"""A process that rotates the key of evidence packages as fast as it can, and says what was acknowledged, until killed.

python -m tests.fault.evidence_key_rotator PLACE
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from aisecops_server.domain.log.key_rotation import KeyUse

from tests.scenes.grants.signing_keys import signing


async def rotate(place: Path) -> None:
    async with signing(place, KeyUse.EVIDENCE) as desk:
        os.write(1, b"ready\n")
        while True:
            rotated = await desk.rotate()
            # One unbuffered write: whoever reads the line has it, whatever happens to this process next.
            os.write(1, f"{rotated.number} {desk.current.hex()}\n".encode())


if __name__ == "__main__":
    asyncio.run(rotate(Path(sys.argv[1])))
