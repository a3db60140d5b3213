"""The drill of who keeps a log: an old copy is put back, keys are handed over, a witness is lost.

What an old copy lacks is known to the witness only; the control plane holds itself against it and stops. The same copy
without a witness goes on, which is what a witness is for.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aisecops_client import AsyncClient, FaultError
from aisecops_client.answers import Answer
from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.adapters.sqlite.witness_store import SqliteWitnessStore
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.formats.signed_note import KeyKind, NoteKey, opened
from aisecops_server.domain.log.checkpoint import proof_text, read_checkpoint
from aisecops_server.entrypoints.witness.app import listening
from aisecops_server.settings import Settings
from aisecops_server.usecases.evidence.export_evidence import EvidenceRequest
from aisecops_server.usecases.log.witness import Cosign
from aisecops_verify import Trust, check_proof, verify

from tests.fakes.clock import FakeClock
from tests.fault.test_no_engine import plan
from tests.integration.api.real import running, settings_in

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]
AUDITOR = Principal(PrincipalId("auditor@corp.example"), "token", frozenset({Role.AUDITOR}))


@dataclass(frozen=True)
class WitnessFolder:
    """Where a witness keeps its key and what it signed; ``log`` is the key that it knows the log by."""

    folder: Path
    log: NoteKey

    @property
    def key(self) -> NoteKey:
        return NoteKey(f"{self.folder.name}.example", KeyKind.WITNESS, open_key(self.folder, "witness").public_raw)

    @contextlib.asynccontextmanager
    async def watching(self, settings: Settings) -> AsyncIterator[Settings]:
        """Run it; yield settings of a control plane that it watches."""
        store, signer = SqliteWitnessStore(self.folder / "witness.db"), open_key(self.folder, "witness")
        cosign = Cosign(self.key.name, signer, {self.log.name: self.log}, store, FakeClock(), verifies_ed25519)
        async with listening(cosign, "127.0.0.1:0") as port:
            yield settings.model_copy(update={"witnesses": (f"http://127.0.0.1:{port} {self.key.text()}",)})
        store.close()


@dataclass(frozen=True)
class Kept:
    """What an auditor kept of one decision, and the key of the log that they know."""

    log_key: str
    receipt: str
    proof: str
    package: bytes

    def require_proved(self) -> None:
        """Require that it is proof by itself, whatever became of the log since."""
        assert "is in the log" in check_proof(self.receipt, self.proof, self.log_key).checks[0]
        assert verify(self.package, Trust(self.log_key, receipts=(self.receipt,))).checks


async def kept(plane: ControlPlane, answer: Answer) -> Kept:
    note, index = await plane.publish(), answer.receipt.log_index
    path = await plane.publish.log.inclusion(index, size=read_checkpoint(note.text).head.size)
    package = await plane.export(EvidenceRequest([answer.decision.trace_id]), principal=AUDITOR)
    key = plane.publish.keys.public.text()
    return Kept(key, answer.receipt.signed, proof_text(index, path, note), package.content)


async def decided(client: AsyncClient) -> Answer:
    answer = await client.decide(plan())
    assert answer.allowed
    return answer


async def copied(settings: Settings, folder: Path) -> Settings:
    """Copy what a control plane that stands still has on its disk."""
    await asyncio.to_thread(
        shutil.copytree, settings.state_dir, folder, ignore=shutil.ignore_patterns("run", "*.sock", "*.lock")
    )
    return settings.model_copy(update={"state_dir": folder})


async def rotated(plane: ControlPlane) -> None:
    await plane.rotate(principal="operator@corp.example", reason="the yearly drill")


@dataclass(frozen=True)
class Drill:
    """A log that a witness watches, a copy of it from before ``lacks`` was decided, and what was kept of both times."""

    settings: Settings
    copy: Settings
    witness: WitnessFolder
    before: Kept
    lacks: Kept


async def prepared(root: Path, *, rotates: bool) -> Drill:
    """Decide, copy the disk, hand the key over where ``rotates``, and decide on."""
    settings = settings_in(root)
    async with running(settings) as (plane, _):
        witness = WitnessFolder(root / "witness", plane.publish.keys.public)
    async with witness.watching(settings) as watched:
        async with running(watched) as (plane, client):
            before = await kept(plane, await decided(client))
        copy = await copied(settings, root / "copy")
        async with running(watched) as (plane, client):
            if rotates:
                await rotated(plane)
            lacks = await kept(plane, await decided(client))
            assert witness.key.name in opened(await plane.publish(), [witness.key], verifies_ed25519)
    return Drill(settings, copy, witness, before, lacks)


@pytest.mark.parametrize("rotates", [False, True])
async def test_an_old_copy_that_is_put_back_is_sealed_by_the_witness(tmp_path: Path, *, rotates: bool) -> None:
    drill = await prepared(tmp_path, rotates=rotates)
    async with drill.witness.watching(drill.copy) as watched, running(watched) as (plane, client):
        await plane.publish()
        assert "witness" in plane.log.sealed
        with pytest.raises(FaultError, match="SEALED"):
            await client.decide(plan())
        # What is there can be read, and what was kept proves what it lacks.
        assert (await plane.log.verify()).ok
    drill.lacks.require_proved()


async def test_an_old_copy_that_nobody_else_remembers_goes_on(tmp_path: Path) -> None:
    """The twin of the test above: without its witness the same copy is taken for the log."""
    drill = await prepared(tmp_path, rotates=False)
    async with running(drill.copy) as (plane, client):
        await plane.publish()
        assert plane.log.sealed == ""
        await decided(client)


async def test_old_proofs_hold_across_handed_over_keys_and_a_lost_witness(tmp_path: Path) -> None:
    drill = await prepared(tmp_path, rotates=True)
    settings = drill.settings.model_copy(update={"witnesses": (f"http://127.0.0.1:9 {drill.witness.key.text()}",)})
    async with running(settings) as (plane, client):
        # The witness is gone: that is said, and holds up nobody.
        after = await kept(plane, await decided(client))
        assert "cannot be reached" in plane.publish.problems[drill.witness.key.name]
        assert plane.log.sealed == ""
    other = WitnessFolder(tmp_path / "other", drill.witness.log)
    async with other.watching(drill.settings) as watched, running(watched) as (plane, client):
        # Another one in its place knows the first key only, and is led to the one of now.
        assert other.key.name in opened(await plane.publish(), [other.key], verifies_ed25519)
        await rotated(plane)
        await decided(client)
        assert other.key.name in opened(await plane.publish(), [other.key], verifies_ed25519)
        for one in (drill.before, drill.lacks, after):
            one.require_proved()
        # Who knows only the first key follows it to the package of now.
        latest = await kept(plane, await decided(client))
        assert any(
            "was followed by another" in said for said in verify(latest.package, Trust(drill.before.log_key)).checks
        )
