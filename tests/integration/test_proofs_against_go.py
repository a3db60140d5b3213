"""Our proofs and checkpoints before a judge that shares no line with us: Go's `sumdb/tlog` and `sumdb/note`.

Needs a Go toolchain, as building the engine does; where there is none the tests are skipped, and say so.
"""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aisecops_server.adapters.signing.keys import open_key
from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log
from aisecops_server.domain.events.event import make_event
from aisecops_server.domain.log.merkle import leaf_hash
from aisecops_server.usecases.log.checkpoint import CheckpointKeys

from tests.scenes.log.records import Records

HERE = Path(__file__).parent / "tlog_check"
EVENTS = 1200
PROOFS = 3000
GO = shutil.which("go")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(GO is None, reason="no Go toolchain: proofs are not held against Go's transparency log"),
]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("go") / "tlog_check"
    subprocess.run([str(GO), "build", "-o", str(program), "."], cwd=HERE, check=True)
    return program


def judged(judge: Path, claims: dict[str, Any]) -> tuple[str, list[str], list[str]]:
    """Return what Go says of the note, of each inclusion and of each consistency."""
    done = subprocess.run([str(judge)], input=json.dumps(claims), capture_output=True, check=True, text=True)
    note, *rest = done.stdout.splitlines()
    at = len(claims["inclusion"])
    assert len(rest) == at + len(claims["consistency"])
    return note, rest[:at], rest[at:]


def b64(node: bytes) -> str:
    return base64.b64encode(node).decode()


class Claims:
    """A log of many events and what it claims of them."""

    def __init__(self, leaves: Sequence[bytes], claims: dict[str, Any]) -> None:
        self.leaves = leaves
        self.claims = claims


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> Claims:
    folder = tmp_path_factory.mktemp("log")
    log = open_log(folder / "audit.db", LogOptions(minimum_free_bytes=0))
    make, chance = Records(), random.Random(20261125)
    template = make.record().events[0]
    leaves = []
    for number in range(EVENTS):
        event = make_event(
            id=f"evt-{number}",
            trace_id=template.trace_id,
            plan_id=template.plan_id,
            decision_id=template.decision_id,
            stage=template.stage,
            type="test.event",
            occurred_at_ns=template.occurred_at_ns,
            details={"number": number},
        )
        leaves.append(leaf_hash(event.body))
        await log.append_event(event)
    head = await log.head()
    keys = CheckpointKeys("example.org/log", open_key(folder, "log"))
    inclusion, consistency = [], []
    for _ in range(PROOFS):
        size = chance.randint(1, EVENTS)
        index, old = chance.randrange(size), chance.randint(1, size)
        root = b64((await log.head_at(size)).root)
        path = [b64(node) for node in await log.inclusion(index, size=size)]
        inclusion.append({"index": index, "size": size, "leaf": b64(leaves[index]), "root": root, "path": path})
        grown = [b64(node) for node in await log.consistency(old, size=size)]
        old_root = b64((await log.head_at(old)).root)
        consistency.append({"old": old, "old_root": old_root, "size": size, "root": root, "path": grown})
    await log.close()
    claims = {
        "key": keys.public.text(),
        "note": keys.signed(head).written(),
        "inclusion": inclusion,
        "consistency": consistency,
    }
    return Claims(leaves, claims)


def test_go_accepts_the_checkpoint_and_every_proof(judge: Path, made: Claims) -> None:
    note, inclusion, consistency = judged(judge, made.claims)
    assert note == "ok"
    assert set(inclusion) == {"ok"}
    assert set(consistency) == {"ok"}


def test_go_refuses_every_proof_that_was_tampered_with(judge: Path, made: Claims) -> None:
    forged = b64(leaf_hash(b"forged"))
    inclusion = [{**claim, "leaf": forged} for claim in made.claims["inclusion"]]
    consistency = [{**claim, "root": forged} for claim in made.claims["consistency"]]
    altered = made.claims["note"].replace(f"\n{EVENTS}\n", f"\n{EVENTS - 1}\n")
    note, refused, shrunk = judged(
        judge, {**made.claims, "note": altered, "inclusion": inclusion, "consistency": consistency}
    )
    assert note != "ok"
    assert "ok" not in refused
    assert "ok" not in shrunk
