"""Receipts, and a log whose key is followed by another: what verifiers, witnesses and packages make of both."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from aisecops_client import AsyncClient, PlanBuilder
from aisecops_client.answers import Answer
from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.adapters.sqlite.witness_store import SqliteWitnessStore
from aisecops_server.bootstrap.control_plane import ControlPlane, compose
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.errors import IntegrityError, NotPermittedError
from aisecops_server.domain.events.event import EventId
from aisecops_server.domain.formats.signed_note import KeyKind, Note, NoteKey, opened, read_note
from aisecops_server.domain.log.checkpoint import proof_text, read_checkpoint
from aisecops_server.domain.log.log_keys import read_rotation
from aisecops_server.domain.log.record import Receipt
from aisecops_server.domain.log.witnessing import Refused
from aisecops_server.entrypoints.witness.app import listening
from aisecops_server.usecases.evidence.export_evidence import EvidenceRequest
from aisecops_server.usecases.log.checkpoint import CheckpointKeys
from aisecops_server.usecases.log.witness import Cosign
from aisecops_verify import EvidenceError, Trust, check_proof, verify

from tests.fakes.clock import FakeClock
from tests.integration.api.real import running, settings_in

AUDITOR = Principal(PrincipalId("auditor@corp.example"), "token", frozenset({Role.AUDITOR}))


async def decide(client: AsyncClient) -> Answer:
    plan = PlanBuilder(intent="read a ticket", environment="production")
    plan.step("tickets/read", {"ticket_id": "T-1"})
    return await client.decide(plan)


async def proof(plane: ControlPlane, index: int) -> str:
    note = await plane.publish()
    return proof_text(index, await plane.publish.log.inclusion(index, size=read_checkpoint(note.text).head.size), note)


async def rotate(plane: ControlPlane) -> NoteKey:
    key, _ = await plane.rotate(principal="operator@corp.example", reason="yearly")
    return key


@pytest.mark.asyncio
async def test_a_receipt_holds_the_log_to_what_it_acknowledged(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as (plane, client):
        answer = await decide(client)
        answer.keep_receipt(tmp_path / "receipt.note")
        receipt, log_key = (tmp_path / "receipt.note").read_text("utf-8"), plane.publish.keys.public.text()
        index = answer.receipt.log_index
        assert "is in the log" in check_proof(receipt, await proof(plane, index), log_key).checks[0]
        for place in (f"index 0{index}", f"index +{index}", f"index {index} ", f"{index}"):
            with pytest.raises(EvidenceError, match="no tlog-proof"):
                check_proof(receipt, (await proof(plane, index)).replace(f"\nindex {index}\n", f"\n{place}\n"), log_key)
        package = await plane.export(EvidenceRequest([answer.decision.trace_id]), principal=AUDITOR)
        trust = Trust(log_key, receipts=(receipt,))
        assert f"event {index} is the one that the log acknowledged" in verify(package.content, trust).checks
        other = Receipt(EventId("e"), index, b"\x07" * 32)
        lost = plane.publish.receipt(other)
        with pytest.raises(EvidenceError, match="was lost"):
            verify(package.content, Trust(log_key, receipts=(lost,)))
        with pytest.raises(EvidenceError, match="does not hold the event"):
            check_proof(lost, await proof(plane, index), log_key)
        with pytest.raises(EvidenceError, match="signature of the receipt"):
            check_proof(receipt.replace(f"\n{index}\n", f"\n{index + 1}\n"), await proof(plane, index), log_key)
        with pytest.raises(EvidenceError, match=r"none of a log|none of this log"):
            check_proof((await plane.publish()).written(), await proof(plane, index), log_key)
        with pytest.raises(EvidenceError, match="checkpoint"):
            check_proof(receipt, f"c2sp.org/tlog-proof@v1\nindex {index}\n\n{receipt}", log_key)


@pytest.mark.asyncio
async def test_who_knows_an_earlier_key_goes_on_from_it(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as (plane, client):
        first = plane.publish.keys.public.text()
        before = await decide(client)
        await rotate(plane)
        await decide(client)
        latest = await rotate(plane)
        after = await decide(client)
        assert not (settings.state_dir / "keys" / "log.pem").exists()
        assert sorted(path.name for path in (settings.state_dir / "keys").glob("log*.pem")) == ["log.2.pem"]
        package = await plane.export(EvidenceRequest([after.decision.trace_id]), principal=AUDITOR)
    # A restart reads the chain from the log.
    async with running(settings) as (plane, client):
        assert plane.publish.keys.public == latest
        assert plane.log.sealed == ""
        await decide(client)
        await plane.publish()
    for known in (first, latest.text(), ""):
        report = verify(package.content, Trust(known, receipts=(before.receipt.signed,) if known == first else ()))
        assert any("signed by" in check for check in report.checks)
    assert sum("was followed by another" in check for check in verify(package.content, Trust(first)).checks) == 2
    stranger = NoteKey(latest.name, KeyKind.LOG, b"k" * 32).text()
    with pytest.raises(EvidenceError, match="another log key"):
        verify(package.content, Trust(stranger))


@pytest.mark.asyncio
async def test_what_an_old_key_signs_after_its_end_is_named(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as (plane, client):
        await decide(client)
        stolen = tmp_path / "stolen"
        stolen.mkdir()
        shutil.copyfile(settings.state_dir / "keys" / "log.pem", stolen / "log.pem")
        (stolen / "log.pem").chmod(0o600)
        first = plane.publish.keys.public.text()
        await rotate(plane)
        answer = await decide(client)
        end = plane.publish.keys.earlier[0].end
        thief = CheckpointKeys(plane.publish.keys.origin, open_key(stolen, "log"))
        index = answer.receipt.log_index
        forged = thief.acknowledged(Receipt(EventId("e"), index, bytes.fromhex(answer.receipt.leaf_hash))).written()
        package = await plane.export(EvidenceRequest([answer.decision.trace_id]), principal=AUDITOR)
        with pytest.raises(EvidenceError, match=f"retired in event {end}"):
            verify(package.content, Trust(first, receipts=(forged,)))
        head = await plane.publish.log.head()
        await plane.publish.store.save(thief.signed(head))
        with pytest.raises(IntegrityError, match=f"retired in event {end}"):
            await plane.publish()


@pytest.mark.asyncio
async def test_a_witness_follows_the_key_and_refuses_the_old_one(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with compose(settings) as plane:
        given = plane.publish.keys.public
    signer = open_key(tmp_path / "elsewhere", "witness")
    key = NoteKey("witness.example", KeyKind.WITNESS, signer.public_raw)
    store = SqliteWitnessStore(tmp_path / "witness.db")
    cosign = Cosign(key.name, signer, {given.name: given}, store, FakeClock(), verifies_ed25519)
    async with listening(cosign, "127.0.0.1:0") as port:
        witnessed = settings.model_copy(update={"witnesses": (f"http://127.0.0.1:{port} {key.text()}",)})
        async with running(witnessed) as (plane, client):
            await decide(client)
            old = plane.publish.keys
            await plane.publish()
            await rotate(plane)
            second = plane.publish.keys.signer
            await rotate(plane)
            note, head = await plane.publish(), await plane.publish.log.head()
            assert key.name in opened(note, [key], verifies_ed25519)
            assert plane.log.sealed == ""
            for retired in (old, replace(old, signer=second)):
                assert isinstance(await cosign(retired.signed(head), old_size=0, proof=()), Refused)
            with pytest.raises(NotPermittedError):
                await cosign(replace(old, signer=signer).signed(head), old_size=0, proof=())
            rotations = [earlier.note for earlier in plane.publish.keys.earlier]
            with pytest.raises(NotPermittedError, match="another key"):
                await cosign.follow(rotations[0])
    assert await store.key_of(given) == plane.publish.keys.public
    store.close()


@pytest.mark.asyncio
async def test_a_handing_over_that_one_of_the_keys_did_not_sign_is_none(tmp_path: Path) -> None:
    async with compose(settings_in(tmp_path)) as plane:
        await rotate(plane)
        note = read_note(plane.publish.keys.earlier[0].note)
        assert [key.kind for key in read_rotation(note.written(), verifies_ed25519)] == [KeyKind.LOG, KeyKind.LOG]
        for signature in note.signatures:
            with pytest.raises(IntegrityError):
                read_rotation(Note(note.text, (signature,)).written(), verifies_ed25519)
        with pytest.raises(IntegrityError):
            read_rotation(note.written().replace("yearly", "weekly").replace("\n\n", "\nmore\n\n"), verifies_ed25519)


@pytest.mark.asyncio
async def test_without_its_key_a_rotated_log_does_not_start_with_another(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with compose(settings) as plane:
        await rotate(plane)
    (settings.state_dir / "keys" / "log.1.pem").rename(tmp_path / "away.pem")
    with pytest.raises(IntegrityError, match="missing"):
        async with compose(settings):
            pass
    open_key(settings.state_dir / "keys", "log.1")
    with pytest.raises(IntegrityError, match="not the key"):
        async with compose(settings):
            pass
