"""The process is killed while it rotates a key, again and again: the log says which key signs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from aisecops_server.domain.log.grant_keys import ROTATED
from aisecops_server.domain.log.key_rotation import KeyUse

from tests.fault.rounds import rounds
from tests.scenes.grants.key_rotations import rotating
from tests.scenes.grants.signing_keys import signing

ROOT = Path(__file__).parents[2]
ROUNDS = rounds(8, of_many=50)


def killed_after(place: Path, count: int, rotator: str) -> list[list[str]]:
    """Start a rotator, kill it at its ``count``-th acknowledgement, and return all that it said."""
    command = [sys.executable, "-m", f"tests.fault.{rotator}", str(place)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        lines = [process.stdout.readline() for _ in range(count)]
        process.kill()
        lines += process.stdout.readlines()
    return [line.decode().split() for line in lines if line.endswith(b"\n")]


@pytest.mark.asyncio
async def test_a_killed_process_leaves_the_key_that_the_log_names(tmp_path: Path) -> None:
    for round_ in range(ROUNDS):
        said, public, token = killed_after(tmp_path, 1 + round_ % 7, "grant_key_rotator")[-1]
        number = int(said)
        async with rotating(tmp_path) as desk:
            assert desk.keys.chain.number in (number, number + 1)
            assert len(await desk.shop.events(ROTATED)) == desk.keys.chain.number
            if desk.keys.chain.number == number:
                assert desk.current.hex() == public
            else:
                assert desk.keys.chain.earlier[-1].public.hex() == public
            # What was granted right before the last rotation that was acknowledged is good, by the key of then.
            desk.keys.ring.read(token)
            current = f"grants.{desk.keys.chain.number}.pem"
            following = f"grants.{desk.keys.chain.number + 1}.pem"
            assert current in desk.names()
            assert set(desk.names()) <= {current, following}
            [signed] = await desk.shop.granted()
            await desk.shop.redeem(signed)


@pytest.mark.asyncio
async def test_a_killed_process_leaves_the_evidence_key_that_the_log_names(tmp_path: Path) -> None:
    for round_ in range(ROUNDS):
        said, public = killed_after(tmp_path, 1 + round_ % 7, "evidence_key_rotator")[-1]
        number = int(said)
        async with signing(tmp_path, KeyUse.EVIDENCE) as desk:
            chain = desk.keys.chain
            assert chain.number in (number, number + 1)
            assert len(await desk.told()) == chain.number
            assert public == (desk.current if chain.number == number else chain.earlier[-1].public).hex()
            current, following = f"evidence.{chain.number}.pem", f"evidence.{chain.number + 1}.pem"
            assert current in desk.names()
            assert set(desk.names()) <= {current, following}
