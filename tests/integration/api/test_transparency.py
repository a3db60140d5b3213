"""Checkpoints and proofs over the API, on a control plane of real parts: what an auditor would check, checked."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import grpc
import pytest
from aisecops.v1 import transparency_service_pb2 as api
from aisecops_client import AsyncClient, PlanBuilder
from aisecops_client.messages import bearer
from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.adapters.sqlite.witness_store import SqliteWitnessStore
from aisecops_server.bootstrap.control_plane import compose
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.formats.signed_note import KeyKind, NoteKey, opened, read_key, read_note
from aisecops_server.domain.log.checkpoint import read_checkpoint
from aisecops_server.domain.log.merkle import is_consistent, is_included, leaf_hash
from aisecops_server.domain.log.record import LogHead
from aisecops_server.entrypoints.witness.app import listening
from aisecops_server.settings import Settings
from aisecops_server.usecases.log.witness import Cosign

from tests.fakes.clock import FakeClock
from tests.integration.api.calls import reason_of
from tests.integration.api.real import running, settings_in

PLACE = "/aisecops.v1.TransparencyService"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


async def asked(client: AsyncClient, method: str, request: object) -> bytes:
    data = request.SerializeToString()
    return bytes(await client.channel.unary_unary(f"{PLACE}/{method}")(data, metadata=bearer(client.token), timeout=30))


async def checkpoint(client: AsyncClient) -> api.GetCheckpointResponse:
    return api.GetCheckpointResponse.FromString(await asked(client, "GetCheckpoint", api.GetCheckpointRequest()))


async def decide(client: AsyncClient) -> int:
    plan = PlanBuilder(intent="read a ticket", environment="production")
    plan.step("tickets/read", {"ticket_id": "T-1"})
    return (await client.decide(plan)).receipt.log_index


def head_of(note: str, key: str) -> LogHead:
    read = read_note(note)
    log = read_key(key)
    assert log.name in opened(read, [log], verifies_ed25519)
    found = read_checkpoint(read.text)
    assert found.origin == log.name
    return found.head


@pytest.mark.asyncio
async def test_a_receipt_is_proved_by_a_signed_checkpoint_and_the_log_only_grows(settings: Settings) -> None:
    async with running(settings, Role.AGENT, Role.AUDITOR) as (_, client):
        index = await decide(client)
        first = await checkpoint(client)
        before = head_of(first.note, first.log_key)
        request = api.ProveInclusionRequest(log_index=index)
        proved = api.ProveInclusionResponse.FromString(await asked(client, "ProveInclusion", request))
        opening, _, note = proved.proof.partition("\n\n")
        version, place, *hashes = opening.split("\n")
        assert (version, place) == ("c2sp.org/tlog-proof@v1", f"index {index}")
        head = head_of(note, first.log_key)
        path = [base64.b64decode(text) for text in hashes]
        leaf = leaf_hash(proved.body_json)
        assert is_included(leaf, index, size=head.size, root=head.root, proof=path)
        assert not is_included(leaf_hash(proved.body_json + b" "), index, size=head.size, root=head.root, proof=path)
        await decide(client)
        grown = api.ProveConsistencyResponse.FromString(
            await asked(client, "ProveConsistency", api.ProveConsistencyRequest(old_size=before.size))
        )
        after = head_of(grown.note, first.log_key)
        assert after.size == grown.size > before.size
        proof = [bytes.fromhex(text) for text in grown.hashes]
        assert is_consistent(
            old_size=before.size, old_root=before.root, new_size=after.size, new_root=after.root, proof=proof
        )


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "request_", "reason"),
    [
        ("ProveInclusion", api.ProveInclusionRequest(log_index=10_000), "NOT_FOUND"),
        ("ProveInclusion", api.ProveInclusionRequest(log_index=-1), "NOT_FOUND"),
        ("ProveConsistency", api.ProveConsistencyRequest(old_size=0), "INVALID_REQUEST"),
        ("ProveConsistency", api.ProveConsistencyRequest(old_size=1, size=10_000), "INVALID_REQUEST"),
        ("ProveConsistency", api.ProveConsistencyRequest(old_size=-5, size=-2), "INVALID_REQUEST"),
    ],
)
async def test_what_the_log_does_not_hold_is_told_so(
    settings: Settings, method: str, request_: object, reason: str
) -> None:
    async with running(settings, Role.AUDITOR, agent="auditor@corp.example") as (_, client):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await asked(client, method, request_)
    assert reason_of(refused.value) == reason


@pytest.mark.asyncio
async def test_an_older_copy_of_the_log_is_sealed_at_the_start_and_decides_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    async with running(settings) as (_, client):
        await decide(client)
    shutil.copyfile(settings.log_path, tmp_path / "older.db")
    async with running(settings) as (plane, client):
        await decide(client)
        await plane.publish()
    for stray in settings.state_dir.glob("audit.db-*"):
        stray.unlink()
    shutil.copyfile(tmp_path / "older.db", settings.log_path)
    async with compose(settings) as plane:
        assert "were committed to" in plane.log.sealed
        assert "sealed" in plane.problem()


@pytest.mark.asyncio
async def test_an_older_copy_of_the_whole_state_is_found_out_by_the_witness(settings: Settings, tmp_path: Path) -> None:
    keys = tmp_path / "elsewhere"
    signer = open_key(keys, "witness")
    key = NoteKey("witness.example", KeyKind.WITNESS, signer.public_raw)
    async with compose(settings) as plane:
        log_key = plane.publish.keys.public
    store = SqliteWitnessStore(tmp_path / "witness.db")
    cosign = Cosign(key.name, signer, {log_key.name: log_key}, store, FakeClock(), verifies_ed25519)
    async with listening(cosign, "127.0.0.1:0") as port:
        witnessed = settings.model_copy(update={"witnesses": (f"http://127.0.0.1:{port} {key.text()}",)})
        async with running(witnessed, Role.AGENT, Role.AUDITOR) as (_, client):
            await decide(client)
        shutil.copytree(settings.state_dir, tmp_path / "backup", ignore=shutil.ignore_patterns("run"))
        async with running(witnessed, Role.AGENT, Role.AUDITOR) as (_, client):
            await decide(client)
            signed = await checkpoint(client)
            assert [state.signed for state in signed.witnesses] == [True]
            assert key.name in opened(read_note(signed.note), [key], verifies_ed25519)
        shutil.rmtree(settings.state_dir)
        shutil.copytree(tmp_path / "backup", settings.state_dir)
        async with compose(witnessed) as plane:
            assert plane.log.sealed == ""
            await plane.publish()
            assert "refuses the log's history" in plane.log.sealed
    store.close()
