"""The key that signs grants is rotated: what counts when, and what a stop at any moment leaves in force."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from aisecops_grant.verifier import GrantKeys, GrantVerifier
from aisecops_server.adapters.signing.key_files import KeyFiles
from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.domain.errors import (
    ContendedError,
    GrantKeyMissingError,
    GrantNotUsableError,
    IntegrityError,
    InvalidRequestError,
)
from aisecops_server.domain.events.event import Event
from aisecops_server.domain.log.grant_keys import ROTATED
from aisecops_server.domain.log.key_rotation import KeyUse, RotateKey, chain_of, read_rotation, rotated_event
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.usecases.grants.issue_grants import SignedGrant
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.clock import FakeClock
from tests.scenes.grants.grant_keys import grant_key
from tests.scenes.grants.granting import IDS, details
from tests.scenes.grants.key_rotations import STEPS, Rotating, Stopped, rotating
from tests.scenes.planes.engines import until

pytestmark = pytest.mark.asyncio


async def refused(desk: Rotating, signed: SignedGrant) -> str:
    with pytest.raises(GrantNotUsableError) as raised:
        await desk.shop.redeem(signed)
    return str(raised.value.metadata()["why"])


def published(desk: Rotating) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = json.loads(desk.keys.ring.key_set())["keys"]
    return keys


async def test_what_was_granted_before_is_redeemed_and_what_comes_after_is_signed_anew(tmp_path: Path) -> None:
    async with rotating(tmp_path) as desk:
        [before] = await desk.shop.granted()
        old = desk.current
        rotated = await desk.rotate()
        [after] = await desk.shop.granted()
        assert desk.current != old
        for signed in (before, after):
            await desk.shop.redeem(signed)
        assert desk.names() == ["grants.1.pem"]
        current, retired = published(desk)
        assert "retired_at" not in current
        assert retired["retired_at"] == desk.shop.clock.now_ns() // 10**9
        assert json.loads(desk.keys.ring.key_set())["keys"] == [current, retired]
        [event] = await desk.shop.events(ROTATED)
        assert (event.index, rotated.number) == (rotated.log_index, 1)
        told = details(event)
        assert (told["principal"], told["reason"], told["grace"]) == ("dana@corp.example", "yearly", True)
        assert (bytes.fromhex(told["old"]), bytes.fromhex(told["new"])) == (old, desk.current)


async def test_the_old_key_leaves_after_its_last_grant_could_have_ended(tmp_path: Path) -> None:
    async with rotating(tmp_path) as desk:
        [before] = await desk.shop.granted()
        await desk.rotate()
        desk.shop.clock.advance(304.9)
        assert len(published(desk)) == 2
        assert desk.keys.ring.read(before.token) == before.grant
        # Whoever sets the wall clock back makes nothing count for longer.
        desk.shop.clock.set_back(200)
        desk.shop.clock.advance(0.1)
        assert len(published(desk)) == 1
        with pytest.raises(GrantNotUsableError):
            desk.keys.ring.read(before.token)


async def test_a_thief_of_the_old_key_dates_nothing_behind_the_rotation(tmp_path: Path) -> None:
    async with rotating(tmp_path) as desk:
        stolen = grant_key(desk.files.directory)
        [first] = await desk.shop.granted()
        await desk.rotate()
        forged = {}
        for seconds in (-1, 0, 5, 6, 60):
            issued = first.grant.issued_at_seconds + seconds
            for life in (300, 301):
                grant = _dated(first, issued, issued + life)
                forged[seconds, life] = _reads(desk, stolen.sign(grant))
        # What is dated before it may have been signed before it; who redeems it has to be who it was granted to.
        assert forged == {
            (seconds, life): seconds <= 5 and life <= 300 for seconds in (-1, 0, 5, 6, 60) for life in (300, 301)
        }


def _dated(signed: SignedGrant, issued: int, expires: int) -> Any:
    return replace(signed.grant, issued_at_seconds=issued, expires_at_seconds=expires)


def _reads(desk: Rotating, token: str) -> bool:
    try:
        desk.keys.ring.read(token)
    except GrantNotUsableError:
        return False
    return True


async def test_a_revoked_key_and_those_before_it_count_for_nothing_at_once(tmp_path: Path) -> None:
    clock = FakeClock()
    async with rotating(tmp_path, clock) as desk:
        [first] = await desk.shop.granted()
        await desk.rotate()
        [second] = await desk.shop.granted()
        await desk.rotate(revoke=True, reason="the old one was seen elsewhere")
        [third] = await desk.shop.granted()
        assert [await refused(desk, signed) for signed in (first, second)] == ["forged", "forged"]
        assert await desk.shop.incidents() == ["grant_forged", "grant_forged"]
        await desk.shop.redeem(third)
        assert len(published(desk)) == 1
        assert desk.names() == ["grants.2.pem"]
    async with rotating(tmp_path, clock) as desk:
        assert [await refused(desk, signed) for signed in (first, second)] == ["forged", "forged"]
        await desk.rotate()
        assert len(published(desk)) == 2


async def test_after_a_restart_the_log_says_what_counts_and_how_long(tmp_path: Path) -> None:
    clock = FakeClock()
    async with rotating(tmp_path, clock) as desk:
        [before] = await desk.shop.granted()
        await desk.rotate()
    clock.advance(20)
    async with rotating(tmp_path, clock) as desk:
        await desk.shop.redeem(before)
        clock.advance(284.9)
        assert len(published(desk)) == 2
        clock.advance(0.1)
        assert len(published(desk)) == 1
        # The newest event says how late it was, whatever the wall clock says then.
        await desk.shop.granted()
    clock.set_back(250)
    async with rotating(tmp_path, clock) as desk:
        assert len(published(desk)) == 1


async def test_a_tool_server_with_the_published_keys_verifies_both_and_no_later_one(tmp_path: Path) -> None:
    async with rotating(tmp_path) as desk:
        stolen = grant_key(desk.files.directory)
        [before] = await desk.shop.granted()
        await desk.rotate()
        [after] = await desk.shop.granted()
        verifier = GrantVerifier(
            GrantKeys(desk.keys.ring.key_set(), clock=lambda: desk.shop.clock.now_ns() / 1e9),
            server="mail",
            clock=lambda: desk.shop.clock.now_ns() / 1e9,
        )
        for signed in (before, after):
            claims = verifier.verify(
                signed.token, tool="mail/send", arguments={"to": "ada"}, agent_id=signed.grant.agent_id
            )
            assert claims.id == signed.grant.id
        late = _dated(before, before.grant.issued_at_seconds + 6, before.grant.issued_at_seconds + 36)
        with pytest.raises(Exception, match="signs no more"):
            verifier.keys.read(stolen.sign(late))
        desk.shop.clock.advance(305)
        with pytest.raises(Exception, match="signs no more"):
            verifier.keys.read(before.token)
        verifier.keys.read(after.token)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("revoke", [False, True])
async def test_a_stop_at_any_step_leaves_the_key_that_the_log_names(tmp_path: Path, step: str, *, revoke: bool) -> None:
    async with rotating(tmp_path) as desk:
        old = desk.current
        [before] = await desk.shop.granted()
        desk.stops.at = step
        with pytest.raises(Stopped):
            await desk.rotate(revoke=revoke)
    is_recorded = step in STEPS[STEPS.index("recorded") :]
    async with rotating(tmp_path) as desk:
        assert len(await desk.shop.events(ROTATED)) == int(is_recorded)
        assert (desk.current != old) == is_recorded
        assert desk.names() == (
            ["grants.1.pem"] if is_recorded else ["grants.1.pem", "grants.pem"] if step != "prepare" else ["grants.pem"]
        )
        if is_recorded and revoke:
            assert await refused(desk, before) == "forged"
        else:
            await desk.shop.redeem(before)
        # And it can be rotated from there.
        prepared = open_key(desk.files.directory, f"grants.{1 + is_recorded}").public_raw
        await desk.rotate()
        assert desk.current == prepared
        assert len(await desk.shop.events(ROTATED)) == 1 + is_recorded


OPERATIONS = st.one_of(
    st.just(("grant", "")),
    st.just(("restart", "")),
    st.tuples(st.sampled_from(["rotate", "revoke"]), st.sampled_from(["", *STEPS])),
    st.tuples(st.just("pass"), st.sampled_from(["1", "29", "200", "305"])),
)


@given(st.lists(OPERATIONS, max_size=14))
@settings(max_examples=60, deadline=None)
async def test_whatever_happens_in_which_order_exactly_what_should_count_does(
    operations: Sequence[tuple[str, str]],
) -> None:
    with TemporaryDirectory() as directory:
        await _follow(Path(directory), operations)


async def _follow(place: Path, operations: Sequence[tuple[str, str]]) -> None:
    """Do it, and hold what counts against a model that knows nothing but times and what was revoked."""
    clock = FakeClock()
    # Each token with the number of its key; of each replaced key when it was, and what was revoked.
    tokens: list[tuple[SignedGrant, int]] = []
    ended: list[int] = []
    revoked = 0
    todo = list(operations)
    while todo or not ended:
        async with rotating(place, clock) as desk:
            assert desk.keys.chain.number == len(ended)
            while todo:
                what, argument = todo.pop(0)
                if what == "restart":
                    break
                if what == "grant":
                    tokens += [(signed, len(ended)) for signed in await desk.shop.granted()]
                elif what == "pass":
                    clock.advance(int(argument))
                else:
                    desk.stops.at = argument
                    is_stopped = await _stopped(desk, revoke=what == "revoke")
                    if not argument or argument in STEPS[STEPS.index("recorded") :]:
                        ended.append(clock.now_ns())
                        revoked = len(ended) if what == "revoke" else revoked
                    if is_stopped:
                        break
                for signed, number in tokens:
                    counts = number == len(ended) or (
                        number >= revoked and clock.now_ns() - ended[number] < 305 * 10**9
                    )
                    assert _reads(desk, signed.token) == counts
            else:
                return


async def _stopped(desk: Rotating, *, revoke: bool) -> bool:
    try:
        await desk.rotate(revoke=revoke)
    except Stopped:
        return True
    return False


async def test_who_leaves_while_the_key_is_rotated_leaves_it_rotated(tmp_path: Path) -> None:
    async with rotating(tmp_path) as desk:
        old = desk.current
        caller = asyncio.ensure_future(desk.rotate())
        async with desk.keys.apart():
            await asyncio.sleep(0)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
        await until(lambda: desk.current != old and desk.names() == ["grants.1.pem"])
        assert len(await desk.shop.events(ROTATED)) == 1


async def test_many_who_rotate_at_once_rotate_one_after_the_other(tmp_path: Path) -> None:
    async with rotating(tmp_path) as desk:
        made = await asyncio.gather(*(desk.rotate() for _ in range(4)))
        assert [rotated.number for rotated in made] == [1, 2, 3, 4]
        assert len(published(desk)) == 5
        assert desk.names() == ["grants.4.pem"]


async def test_a_rotation_that_another_control_plane_made_first_is_refused_and_taken_up(tmp_path: Path) -> None:
    async with rotating(tmp_path) as desk:
        stale = desk.keys.chain
        await desk.rotate()
        [event] = await desk.shop.events(ROTATED)
        again = ChangeRecord((_copy(event.event),), (RotateKey(KeyUse.GRANT, stale.last),))
        with pytest.raises(ContendedError):
            await desk.shop.log.append_change(again)
        # Two that come into one commit do not both pass either.
        change = RotateKey(KeyUse.GRANT, desk.keys.chain.last)
        both = await asyncio.gather(
            *(desk.shop.log.append_change(ChangeRecord((_copy(event.event),), (change,))) for _ in range(2)),
            return_exceptions=True,
        )
        assert sum(isinstance(result, ContendedError) for result in both) == 1


def _copy(event: Event) -> Event:
    return rotated_event(
        read_rotation(event.details(), verifies_ed25519),
        id=IDS.event_id(),
        now_ns=event.occurred_at_ns,
        principal="p",
        reason="r",
    )


async def test_an_event_that_is_told_twice_is_one_rotation(tmp_path: Path) -> None:
    async with rotating(tmp_path) as desk:
        await desk.rotate()
        [event] = await desk.shop.events(ROTATED)
        chain = chain_of([event, event], verifies_ed25519)
        assert (chain.number, chain.current) == (1, desk.current)


async def test_a_broken_prepared_file_stops_the_rotation_and_not_the_start(tmp_path: Path) -> None:
    async with rotating(tmp_path) as desk:
        old = desk.current
        broken = desk.files.directory / "grants.1.pem"
        broken.write_text("no key")
        broken.chmod(0o600)
        with pytest.raises(IntegrityError, match=r"grants\.1\.pem is not a private key"):
            await desk.rotate()
        [signed] = await desk.shop.granted()
        await desk.shop.redeem(signed)
    async with rotating(tmp_path) as desk:
        assert desk.current == old
        broken.unlink()
        await desk.rotate()
        assert desk.current != old


async def test_a_prepared_file_that_is_a_key_of_before_stops_the_rotation(tmp_path: Path) -> None:
    async with rotating(tmp_path) as desk:
        kept = (desk.files.directory / "grants.pem").read_bytes()
        for name in ("grants.1.pem", "grants.2.pem"):
            prepared = desk.files.directory / name
            prepared.write_bytes(kept)
            prepared.chmod(0o600)
            with pytest.raises(IntegrityError, match="signed grants before"):
                await desk.rotate()
            prepared.unlink()
            await desk.rotate()


async def test_without_the_key_that_the_log_names_nothing_starts_with_another(tmp_path: Path) -> None:
    async with rotating(tmp_path) as desk:
        await desk.rotate()
        file = desk.files.directory / "grants.1.pem"
    away = file.rename(tmp_path / "away.pem")
    with pytest.raises(IntegrityError, match=r"grants\.1\.pem is missing.*rotation 1") as raised:
        async with rotating(tmp_path):
            pass
    assert "restore it from a backup" in raised.value.hint
    open_key(file.parent, "grants.1")
    with pytest.raises(IntegrityError, match="not the key that the log names"):
        async with rotating(tmp_path):
            pass
    away.rename(file)
    async with rotating(tmp_path) as desk:
        assert desk.keys.chain.number == 1


async def test_a_rotation_needs_a_reason(tmp_path: Path) -> None:
    async with rotating(tmp_path) as desk:
        with pytest.raises(InvalidRequestError):
            await desk.rotate(reason="")
        assert await desk.shop.events(ROTATED) == []


async def test_what_one_of_the_keys_did_not_sign_is_no_rotation(tmp_path: Path) -> None:
    async with rotating(tmp_path) as desk:
        await desk.rotate()
        [event] = await desk.shop.events(ROTATED)
    told = details(event)
    read_rotation(told, verifies_ed25519)
    other = open_key(tmp_path, "other").public_raw.hex()
    for changed in (
        {"by_old": told["by_new"]},
        {"by_new": told["by_old"]},
        {"grace": False},
        {"number": 2},
        {"new": other},
    ):
        with pytest.raises(IntegrityError, match="both keys"):
            read_rotation({**told, **changed}, verifies_ed25519)
    for changed in ({"number": "1"}, {"old": "zz"}, {"new": None}, {"grace": 1}):
        with pytest.raises(IntegrityError, match="cannot be read"):
            read_rotation({**told, **changed}, verifies_ed25519)


async def test_who_has_not_the_new_key_signs_nothing_until_it_is_copied_in(tmp_path: Path) -> None:
    # Another control plane on the same log, with files of its own.
    async with rotating(tmp_path) as desk:
        [before] = await desk.shop.granted()
        files = KeyFiles(tmp_path / "elsewhere", KeyUse.GRANT)
        files.directory.mkdir(mode=0o700)
        kept = files.directory / "grants.pem"
        kept.write_bytes((desk.files.directory / "grants.pem").read_bytes())
        kept.chmod(0o600)
        clock = desk.shop.clock
        other = type(desk.keys)(
            KeyUse.GRANT, desk.keys.log, files, type(desk.keys.ring)(clock), clock, verifies_ed25519
        )
        await other.open()
        await desk.rotate()
        [after] = await desk.shop.granted()
        assert await other() == 0
        with pytest.raises(GrantKeyMissingError, match=r"grants\.1\.pem is missing"):
            other.ring.sign(before.grant)
        assert "grants.1.pem is missing" in other.ring.problem
        # What it had signs no more, with or without the key that came after it.
        assert not kept.exists()
        # What was signed is known again all the same, and published.
        assert other.ring.read(before.token) == before.grant
        assert other.ring.read(after.token) == after.grant
        assert other.ring.key_set() == desk.keys.ring.key_set()
        # Half a file is none yet.
        copied = files.directory / "grants.1.pem"
        content = (desk.files.directory / "grants.1.pem").read_bytes()
        copied.write_bytes(content[:40])
        copied.chmod(0o600)
        assert await other() == 0
        assert "not a private key" in other.ring.problem
        copied.write_bytes(content)
        assert await other() == 1
        assert other.ring.problem == ""
        assert other.ring.sign(after.grant) == after.token
        assert await other() == 0


async def test_an_old_key_that_cannot_be_deleted_is_told_and_deleted_at_the_next_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with rotating(tmp_path) as desk:
        kept = desk.files.directory / "grants.pem"
        # A folder of that name cannot be unlinked, whoever tries.
        kept.rename(tmp_path / "away.pem")
        kept.mkdir()
        rotated = await desk.rotate()
        assert rotated.number == 1
        assert "cannot be deleted" in caplog.text
        [signed] = await desk.shop.granted()
        await desk.shop.redeem(signed)
        kept.rmdir()
        (tmp_path / "away.pem").rename(kept)
    async with rotating(tmp_path) as desk:
        assert desk.names() == ["grants.1.pem"]
