"""A program for the test of interrupted replays: replays on main and says after each part how far it is."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from aisecops_server.bootstrap.replay import replaying
from aisecops_server.domain.replays.replay import Selection
from aisecops_server.usecases.replays.resolve_policy import WantedPolicy
from aisecops_server.usecases.replays.run_replays import ReplayCommand

from tests.scenes.replays.replays import settings_in


async def main(root: Path, part_decisions: int) -> None:
    """Replay all that is recorded, in small parts."""
    async with replaying(settings_in(root), part_decisions=part_decisions) as made:
        started = await made.runs.start(ReplayCommand(Selection(), WantedPolicy(revision="main"), "program"))
        async for record in made.runs.watch(started.id):
            sys.stdout.write(f"{record.progress.done}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
