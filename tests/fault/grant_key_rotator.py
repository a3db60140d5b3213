"""A process that rotates the key of grants as fast as it can, and says what was acknowledged, until it is killed.

python -m tests.fault.grant_key_rotator PLACE
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.scenes.grants.key_rotations import rotating


async def rotate(place: Path) -> None:
    async with rotating(place) as desk:
        os.write(1, b"ready\n")
        while True:
            [signed] = await desk.shop.granted()
            rotated = await desk.rotate()
            # One unbuffered write: whoever reads the line has it, whatever happens to this process next.
            os.write(1, f"{rotated.number} {desk.current.hex()} {signed.token}\n".encode())


if __name__ == "__main__":
    asyncio.run(rotate(Path(sys.argv[1])))
