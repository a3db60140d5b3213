"""A real witness behind real HTTP, its store on disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.adapters.sqlite.witness_store import SqliteWitnessStore
from aisecops_server.adapters.witness.http_witness import HttpWitness, read_witness
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.signed_note import KeyKind, NoteKey, opened
from aisecops_server.domain.log.record import LogHead
from aisecops_server.domain.log.witnessing import Behind, Silent
from aisecops_server.entrypoints.witness.app import listening
from aisecops_server.usecases.log.checkpoint import PublishCheckpoint
from aisecops_server.usecases.log.witness import Cosign

from tests.fakes.checkpoints import ORIGIN, MemoryCheckpointStore, publishing
from tests.fakes.clock import FakeClock
from tests.fakes.event_log import MemoryEventLog
from tests.scenes.log.records import Records

NAME = "witness.example"


class Rig:
    """A log, its key, and a folder for a witness."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = MemoryEventLog()
        self.make = Records()
        self.store = MemoryCheckpointStore()
        self.log_key = publishing(folder, self.log).keys.public
        self.witness_key = NoteKey(NAME, KeyKind.WITNESS, open_key(folder, "witness").public_raw)

    @contextlib.asynccontextmanager
    async def witness(self) -> AsyncIterator[HttpWitness]:
        store = SqliteWitnessStore(self.folder / "witness.db")
        signer = open_key(self.folder, "witness")
        cosign = Cosign(NAME, signer, {ORIGIN: self.log_key}, store, FakeClock(), verifies_ed25519)
        async with listening(cosign, "127.0.0.1:0") as port:
            yield HttpWitness(f"http://127.0.0.1:{port}", self.witness_key)
        store.close()

    def publish(self, witness: HttpWitness, log: MemoryEventLog | None = None) -> PublishCheckpoint:
        return publishing(self.folder, log or self.log, store=self.store, witnesses=[witness])

    async def grow(self) -> None:
        await self.log.append(self.make.record())


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> Rig:
    made = Rig(tmp_path)
    await made.grow()
    return made


async def posted(witness: HttpWitness, body: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.post(f"{witness.url}/add-checkpoint", data=body) as answer:
        return answer.status, answer.content_type, await answer.text()


@pytest.mark.asyncio
async def test_it_signs_a_log_that_grows_and_remembers_over_a_restart(rig: Rig) -> None:
    for _ in range(3):
        async with rig.witness() as witness:
            note = await rig.publish(witness)()
            assert NAME in opened(note, [rig.witness_key], verifies_ed25519)
        await rig.grow()
    async with rig.witness() as witness:
        assert await witness.cosign(note, old_size=0, proof=()) == Behind(18)


@pytest.mark.asyncio
async def test_it_refuses_a_fork_made_with_the_logs_own_key_and_the_forger_seals_itself(rig: Rig) -> None:
    async with rig.witness() as witness:
        await rig.publish(witness)()
        forged = MemoryEventLog()
        await forged.append(Records("forged").record())
        rig.store.note = None
        publish = rig.publish(witness, forged)
        await publish()
        assert "refuses the log's history" in forged.sealed
        status, kind, _ = await posted(witness, f"old 6\n\n{(await publish()).written()}")
        assert (status, kind) == (422, "text/plain")


@pytest.mark.asyncio
async def test_of_requests_that_race_one_moves_it_forward(rig: Rig) -> None:
    async with rig.witness() as witness:
        note = await publishing(rig.folder, rig.log)()
        answers = await asyncio.gather(*(witness.cosign(note, old_size=0, proof=()) for _ in range(16)))
        assert sum(answer != Behind(6) for answer in answers) == 1


@pytest.mark.asyncio
async def test_a_log_that_it_does_not_watch_and_a_key_that_is_not_the_logs_get_nothing(rig: Rig) -> None:
    async with rig.witness() as witness:
        stranger = await publishing(rig.folder, rig.log, origin="example.org/other")()
        assert (await posted(witness, f"old 0\n\n{stranger.written()}"))[0] == 404
        impostor = await publishing(rig.folder / "impostor", rig.log)()
        assert (await posted(witness, f"old 0\n\n{impostor.written()}"))[0] == 403
        assert isinstance(await witness.cosign(impostor, old_size=0, proof=()), Silent)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "body",
    [
        "",
        "old 0",
        "old 00\n\n{note}",
        "old -1\n\n{note}",
        "old 7\n\n{note}",
        "old 0\nAAAA\n\n{note}",
        "old 0\n" + "A" * 43 + "=\n\n{note}",
        "old 0\n%%%%\n\n{note}",
        "old 0\n\nno note\n",
        "old 0\n" + ("A" * 43 + "=\n") * 64 + "\n{note}",
    ],
)
async def test_what_makes_no_sense_is_told_so(rig: Rig, body: str) -> None:
    async with rig.witness() as witness:
        note = await publishing(rig.folder, rig.log)()
        assert (await posted(witness, body.replace("{note}", note.written())))[0] == 400


def test_a_witness_is_set_by_its_url_and_key(rig_key: str) -> None:
    assert read_witness(f"https://witness.example/ {rig_key}").url == "https://witness.example"
    assert read_witness(f"http://127.0.0.1:8475 {rig_key}").key.name == NAME


@pytest.mark.parametrize("url", ["http://witness.example", "ftp://127.0.0.1", "https://", "127.0.0.1:8475", ""])
def test_a_url_on_which_somebody_could_forge_a_refusal_is_not_accepted(rig_key: str, url: str) -> None:
    with pytest.raises(InvalidRequestError):
        read_witness(f"{url} {rig_key}")


@pytest.fixture
def rig_key(tmp_path: Path) -> str:
    return NoteKey(NAME, KeyKind.WITNESS, open_key(tmp_path, "witness").public_raw).text()


@pytest.mark.asyncio
async def test_the_store_moves_only_from_what_it_holds(tmp_path: Path) -> None:
    store = SqliteWitnessStore(tmp_path / "witness.db")
    first, second = LogHead(3, b"a" * 32), LogHead(9, b"b" * 32)
    assert await store.latest("log") is None
    assert not await store.advance("log", first, after=2)
    assert await store.advance("log", first, after=0)
    assert not await store.advance("log", second, after=0)
    assert await store.advance("log", second, after=3)
    assert await store.latest("log") == second
    assert await store.latest("another") is None
    store.close()


@pytest.mark.asyncio
async def test_an_answer_that_counts_for_nothing_is_silence(rig: Rig) -> None:
    async with rig.witness() as witness:
        note = await publishing(rig.folder, rig.log)()
        other = NoteKey(NAME, KeyKind.WITNESS, b"k" * 32)
        assert isinstance(await HttpWitness(witness.url, other).cosign(note, old_size=0, proof=()), Silent)
        assert isinstance(await HttpWitness(f"{witness.url}/x", other).cosign(note, old_size=0, proof=()), Silent)
    assert isinstance(await witness.cosign(note, old_size=0, proof=()), Silent)
