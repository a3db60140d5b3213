"""The keys that sign bundles and evidence packages are rotated: what a stop at any moment leaves, who rotates when."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.domain.errors import (
    ContendedError,
    IntegrityError,
    InvalidRequestError,
    SigningKeyMissingError,
)
from aisecops_server.domain.events.event import Event
from aisecops_server.domain.log.key_rotation import KeyUse, RotateKey, chain_of, read_rotation, rotated_event
from aisecops_server.domain.log.record import ChangeRecord

from tests.scenes.grants.granting import IDS
from tests.scenes.grants.key_rotations import STEPS, Stopped
from tests.scenes.grants.signing_keys import signing

pytestmark = pytest.mark.asyncio
USES = (KeyUse.EVIDENCE, KeyUse.BUNDLE)


def copied(event: Event, use: KeyUse) -> Event:
    signed = read_rotation(event.details(), verifies_ed25519, use)
    return rotated_event(signed, id=IDS.event_id(), now_ns=event.occurred_at_ns, principal="p", reason="r")


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("step", STEPS)
async def test_a_stop_at_any_step_leaves_the_key_that_the_log_names(tmp_path: Path, step: str, use: KeyUse) -> None:
    async with signing(tmp_path, use) as desk:
        old = desk.current
        desk.stops.at = step
        with pytest.raises(Stopped):
            await desk.rotate()
    is_recorded = step in STEPS[STEPS.index("recorded") :]
    async with signing(tmp_path, use) as desk:
        assert len(await desk.told()) == int(is_recorded)
        assert (desk.current != old) == is_recorded
        assert desk.keys.ring.problem == ""
        first, second = f"{use.value}.1.pem", f"{use.value}.pem"
        assert desk.names() == ([first] if is_recorded else [first, second] if step != "prepare" else [second])
        prepared = open_key(desk.files.directory, f"{use.value}.{1 + is_recorded}").public_raw
        await desk.rotate()
        assert desk.current == prepared
        assert len(await desk.told()) == 1 + is_recorded


async def test_each_key_goes_its_own_way_and_one_rotation_follows_the_other(tmp_path: Path) -> None:
    async with signing(tmp_path, KeyUse.EVIDENCE) as desk:
        made = await asyncio.gather(*(desk.rotate() for _ in range(3)))
        assert [rotated.number for rotated in made] == [1, 2, 3]
        assert desk.names() == ["evidence.3.pem"]
        chain = desk.keys.chain
        assert [key.index for key in chain.earlier] == [rotated.log_index for rotated in made]
    async with signing(tmp_path, KeyUse.BUNDLE) as desk:
        assert desk.names() == ["bundle.pem"]
        assert (await desk.rotate()).number == 1


async def test_of_two_that_rotate_at_once_one_is_told_to_look_again(tmp_path: Path) -> None:
    async with signing(tmp_path, KeyUse.EVIDENCE) as desk:
        stale = desk.keys.chain
        await desk.rotate()
        [event] = await desk.told()
        again = copied(event.event, KeyUse.EVIDENCE)
        with pytest.raises(ContendedError):
            await desk.log.append_change(ChangeRecord((again,), (RotateKey(KeyUse.EVIDENCE, stale.last),)))
        # Two that come into one commit do not both pass either; what is another key's goes beside.
        change = RotateKey(KeyUse.EVIDENCE, desk.keys.chain.last)
        events = [copied(event.event, KeyUse.EVIDENCE) for _ in range(2)]
        both = await asyncio.gather(
            *(desk.log.append_change(ChangeRecord((one,), (change,))) for one in events), return_exceptions=True
        )
        assert sum(isinstance(result, ContendedError) for result in both) == 1


async def test_an_old_rotation_that_is_played_again_changes_nothing(tmp_path: Path) -> None:
    async with signing(tmp_path, KeyUse.EVIDENCE) as desk:
        await desk.rotate()
        [first] = await desk.told()
        await desk.rotate()
        chain = chain_of([first, first], verifies_ed25519, KeyUse.EVIDENCE)
        assert chain.number == 1
        # Who could write into the log and has no key of now hands nothing over: it is found out, and nothing starts.
        await desk.log.append_event(copied(first.event, KeyUse.EVIDENCE))
        with pytest.raises(IntegrityError, match="does not go on from the key that signed evidence packages"):
            await desk.keys()
    with pytest.raises(IntegrityError, match="does not go on"):
        async with signing(tmp_path, KeyUse.EVIDENCE):
            pass


async def test_what_one_of_the_keys_did_not_sign_is_no_rotation_and_none_of_another_key(tmp_path: Path) -> None:
    async with signing(tmp_path, KeyUse.EVIDENCE) as desk:
        await desk.rotate()
        [event] = await desk.told()
    told = event.event.details()
    read_rotation(told, verifies_ed25519, KeyUse.EVIDENCE)
    other = open_key(tmp_path, "other").public_raw.hex()
    for changed in ({"by_old": told["by_new"]}, {"grace": False}, {"number": 2}, {"new": other}):
        with pytest.raises(IntegrityError, match="not signed by both keys"):
            read_rotation({**told, **changed}, verifies_ed25519, KeyUse.EVIDENCE)
    for use in (KeyUse.BUNDLE, KeyUse.GRANT):
        with pytest.raises(IntegrityError, match="not signed by both keys"):
            read_rotation(told, verifies_ed25519, use)


async def test_a_key_that_is_not_here_is_waited_for_and_nothing_is_signed_with_another(tmp_path: Path) -> None:
    async with signing(tmp_path, KeyUse.EVIDENCE) as desk:
        await desk.rotate()
        public, file = desk.current, desk.files.directory / "evidence.1.pem"
    away = file.rename(tmp_path / "away.pem")
    async with signing(tmp_path, KeyUse.EVIDENCE) as desk:
        with pytest.raises(SigningKeyMissingError, match=r"evidence\.1\.pem is missing"):
            _ = desk.keys.ring.signer
        with pytest.raises(SigningKeyMissingError):
            await desk.rotate()
        assert desk.keys.ring.public == public
        assert desk.names() == []
        away.rename(file)
        assert await desk.keys() == 1
        assert (desk.current, desk.keys.ring.problem) == (public, "")


async def test_a_rotation_needs_a_reason_and_a_new_key(tmp_path: Path) -> None:
    async with signing(tmp_path, KeyUse.EVIDENCE) as desk:
        with pytest.raises(InvalidRequestError):
            await desk.rotate(reason="")
        kept = (desk.files.directory / "evidence.pem").read_bytes()
        prepared = desk.files.directory / "evidence.1.pem"
        prepared.write_bytes(kept)
        prepared.chmod(0o600)
        with pytest.raises(IntegrityError, match="signed evidence packages before"):
            await desk.rotate()
        assert await desk.told() == []
