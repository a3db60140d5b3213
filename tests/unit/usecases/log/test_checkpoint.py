"""Committing to a log, and finding out that it is another one than it was."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.domain.errors import IntegrityError, LogUnavailableError
from aisecops_server.domain.formats.signed_note import Note, NoteKey, opened
from aisecops_server.domain.log.checkpoint import read_checkpoint
from aisecops_server.domain.log.witnessing import Behind, Refused, Silent, WitnessAnswer
from aisecops_server.usecases.log.checkpoint import Committer
from aisecops_server.usecases.log.witness import Cosign

from tests.fakes.checkpoints import ORIGIN, MemoryCheckpointStore, MemoryWitnessStore, publishing
from tests.fakes.clock import FakeClock
from tests.fakes.event_log import MemoryEventLog
from tests.scenes.log.records import Records


@dataclass
class NearWitness:
    """The real witness, without a network in between."""

    cosigning: Cosign
    said: list[WitnessAnswer] = field(default_factory=list)
    answer: WitnessAnswer | None = None

    @property
    def key(self) -> NoteKey:
        return self.cosigning.key

    async def introduce(self, rotations: Sequence[str]) -> None:
        for written in rotations:
            await self.cosigning.follow(written)

    async def cosign(self, note: Note, *, old_size: int, proof: Sequence[bytes]) -> WitnessAnswer:
        said = self.answer or await self.cosigning(note, old_size=old_size, proof=proof)
        self.said.append(said)
        return said


@dataclass
class BrokenStore(MemoryCheckpointStore):
    """Fails as it is told, once for each word; an empty one is a success, and after the last it is over."""

    said: list[str] = field(default_factory=list)

    async def latest(self) -> Note | None:
        if not self.said:
            raise asyncio.CancelledError
        if problem := self.said.pop(0):
            raise LogUnavailableError(problem, hint="mend it")
        return await super().latest()


@pytest.fixture
def log() -> MemoryEventLog:
    return MemoryEventLog()


def witness_of(keys: Path) -> NearWitness:
    key = publishing(keys, MemoryEventLog()).keys.public
    signer = open_key(keys, "witness")
    return NearWitness(
        Cosign("witness.example", signer, {ORIGIN: key}, MemoryWitnessStore(), FakeClock(), verifies_ed25519)
    )


async def grow(log: MemoryEventLog, make: Records, decisions: int = 1) -> None:
    for _ in range(decisions):
        await log.append(make.record())


@pytest.mark.asyncio
async def test_a_checkpoint_commits_to_what_the_log_holds_and_is_made_anew_only_when_it_grew(
    tmp_path: Path, log: MemoryEventLog
) -> None:
    publish, make = publishing(tmp_path, log), Records()
    await grow(log, make)
    first = await publish()
    assert read_checkpoint(first.text).head == await log.head()
    assert opened(first, [publish.keys.public], verifies_ed25519) == {ORIGIN: 0}
    assert await publish() == first
    await grow(log, make)
    assert read_checkpoint((await publish()).text).head.size == 12


@pytest.mark.asyncio
async def test_a_log_that_only_grew_passes(tmp_path: Path, log: MemoryEventLog) -> None:
    publish, make = publishing(tmp_path, log), Records()
    await publish.check()
    await grow(log, make, 3)
    await publish()
    await grow(log, make, 2)
    await publish.check()
    assert log.sealed == ""


@pytest.mark.asyncio
async def test_an_older_copy_of_the_log_is_sealed(tmp_path: Path, log: MemoryEventLog) -> None:
    publish, make = publishing(tmp_path, log), Records()
    await grow(log, make, 2)
    await publish()
    del log.stored[6:]
    with pytest.raises(IntegrityError, match="it holds 6 events, and 12 were committed to"):
        await publish.check()
    assert "12 were committed to" in log.sealed


@pytest.mark.asyncio
async def test_a_log_with_another_past_is_sealed(tmp_path: Path, log: MemoryEventLog) -> None:
    publish = publishing(tmp_path, log)
    await grow(log, Records("a"), 2)
    await publish()
    log.stored.clear()
    await grow(log, Records("b"), 3)
    with pytest.raises(IntegrityError, match="first 12 events are not those"):
        await publish.check()
    assert log.sealed


@pytest.mark.asyncio
async def test_a_checkpoint_of_another_key_or_log_is_not_ours(tmp_path: Path, log: MemoryEventLog) -> None:
    store = MemoryCheckpointStore()
    await grow(log, Records())
    await publishing(tmp_path / "theirs", log, store=store)()
    with pytest.raises(IntegrityError, match="not signed with the log's key"):
        await publishing(tmp_path / "ours", log, store=store).check()
    assert log.sealed


@pytest.mark.asyncio
async def test_a_witness_signs_each_checkpoint_that_extends_the_last_one(tmp_path: Path, log: MemoryEventLog) -> None:
    witness, make = witness_of(tmp_path), Records()
    publish = publishing(tmp_path, log, witnesses=[witness])
    for _ in range(3):
        await grow(log, make)
        note = await publish()
        assert opened(note, [witness.key], verifies_ed25519) == {"witness.example": FakeClock().now_ns() // 10**9}
    assert sum(isinstance(said, Behind) for said in witness.said) == 2
    assert publish.problems == {}


@pytest.mark.asyncio
async def test_a_log_that_was_rewritten_with_its_own_key_is_refused_by_the_witness_and_sealed(
    tmp_path: Path, log: MemoryEventLog
) -> None:
    witness = witness_of(tmp_path)
    await grow(log, Records("a"), 2)
    await publishing(tmp_path, log, witnesses=[witness])()
    forged = MemoryEventLog()
    await grow(forged, Records("b"), 3)
    forger = publishing(tmp_path, forged, witnesses=[witness])
    note = await forger()
    assert opened(note, [witness.key], verifies_ed25519) == {}
    assert "refuses the log's history" in forged.sealed
    assert "does not extend" in forger.problems["witness.example"]


@pytest.mark.asyncio
async def test_an_older_copy_with_an_older_checkpoint_is_found_out_by_the_witness(
    tmp_path: Path, log: MemoryEventLog
) -> None:
    witness, store, make = witness_of(tmp_path), MemoryCheckpointStore(), Records()
    publish = publishing(tmp_path, log, store=store, witnesses=[witness])
    await grow(log, make)
    older = await publish()
    await grow(log, make)
    await publish()
    del log.stored[6:]
    store.note = Note(older.text, older.signatures[:1])
    await publish.check()
    await publish()
    assert "refuses the log's history" in log.sealed
    assert "has signed 12 events of this log, which holds 6" in publish.problems["witness.example"]


@pytest.mark.asyncio
@pytest.mark.parametrize("answer", [Silent("it cannot be reached"), Behind(3)])
async def test_a_witness_that_gives_no_signature_stops_nothing_and_is_asked_again(
    tmp_path: Path, log: MemoryEventLog, answer: WitnessAnswer
) -> None:
    witness = witness_of(tmp_path)
    publish = publishing(tmp_path, log, witnesses=[witness])
    await grow(log, Records())
    witness.answer = answer
    await publish()
    assert log.sealed == ""
    assert publish.problems["witness.example"]
    witness.answer = None
    assert "witness.example" in opened(await publish(), [witness.key], verifies_ed25519)
    assert publish.problems == {}


@pytest.mark.asyncio
async def test_a_signature_that_is_not_the_witness_own_counts_for_nothing(tmp_path: Path, log: MemoryEventLog) -> None:
    witness, other = witness_of(tmp_path), witness_of(tmp_path / "other")
    publish = publishing(tmp_path, log, witnesses=[witness])
    await grow(log, Records())
    note = await publishing(tmp_path, log)()
    forged = await witness_of(tmp_path).cosigning(note, old_size=0, proof=())
    assert not isinstance(forged, Behind | Refused)
    witness.answer = type(forged)(forged.name, forged.key_id, forged.signature[:-1] + b"x")
    await publish()
    assert log.sealed == ""
    assert "does not verify" in publish.problems["witness.example"]
    assert other.said == []


@pytest.mark.asyncio
async def test_what_stands_against_a_checkpoint_is_told_once_until_it_is_something_else(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, log: MemoryEventLog
) -> None:
    store = BrokenStore(said=["the disk failed", "the disk failed", "", "the disk failed", "the disk is full"])
    publish = publishing(tmp_path, log, store=store)
    await grow(log, Records())
    with pytest.raises(asyncio.CancelledError):
        await Committer(publish, interval_seconds=0).run()
    assert [record.getMessage().partition(": ")[2].partition(".")[0] for record in caplog.records] == [
        "the disk failed",
        "the disk failed",
        "the disk is full",
    ]
