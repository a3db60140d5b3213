"""Backups of a control plane that runs: whole, found out when touched, and restored with nothing open in them."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from aisecops_client.plan import PlanBuilder
from aisecops_server.adapters.backup.folder import copy_state, stage
from aisecops_server.adapters.sqlite.event_log import open_log, open_log_read_only
from aisecops_server.adapters.sqlite.online_copy import copy_database
from aisecops_server.bootstrap.backups import RestoreOrder, make_backup, restore_backup, verify_backup
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.main import run
from aisecops_server.domain.approvals.approval import ApprovalState
from aisecops_server.domain.callers.identity import Principal, PrincipalId
from aisecops_server.domain.errors import AisecopsError, IntegrityError, InvalidRequestError, LogUnavailableError
from aisecops_server.domain.grants.grant import GrantState
from aisecops_server.domain.log.record import LogHead

from tests.integration.api.real import running, settings_in
from tests.scenes.approvals.approval_scene import approval_scene
from tests.scenes.grants.key_rotations import rotating

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

OPERATOR = Principal(PrincipalId("local:omar"), "operating system", frozenset())
MADE = {"folder", "madeAtSeconds", "log", "files"}
ORDER = RestoreOrder(OPERATOR, "the disk failed")


def told(_done: int, _of: int) -> None:
    """Tell nobody."""


def plan(number: int) -> PlanBuilder:
    made = PlanBuilder(intent="summarise a ticket", environment="production")
    prompt = made.source("user_prompt", f"Please summarise ticket T-{number}.")
    made.step("tickets/read", {"ticket_id": f"T-{number}"}, influenced_by=[prompt])
    return made


def private(folder: Path) -> bool:
    """Say whether nobody else may read anything; a lock file holds a process id."""
    found = [path for path in (folder, *folder.rglob("*")) if path.suffix != ".lock"]
    return not [path for path in found if path.stat().st_mode & 0o077]


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def is_there(folder: Path) -> bool:
    return folder.exists()


def inode(folder: Path) -> int:
    return folder.stat().st_ino


async def head_of(state: Path) -> LogHead:
    log = open_log_read_only(state / "audit.db")
    try:
        return await log.head()
    finally:
        await log.close()


@pytest_asyncio.fixture
async def backup(tmp_path: Path) -> AsyncIterator[Path]:
    """A backup that was made while a control plane decided, and knows nothing of what came later."""
    settings = settings_in(tmp_path)
    async with running(settings) as (_plane, client):
        for number in range(3):
            await client.decide(plan(number))
        deciding = asyncio.gather(*(client.decide(plan(number)) for number in range(10, 40)))
        await make_backup(settings.state_dir, tmp_path / "b", told=told)
        await deciding
    yield tmp_path / "b"


async def test_what_was_acknowledged_before_is_in_it_while_more_is_decided(tmp_path: Path, backup: Path) -> None:
    found = await verify_backup(backup, told=told)
    live = await head_of(tmp_path / "s")
    assert 0 < found.head.size <= live.size
    assert {"audit.db", "checkpoint.db", "activation.db", "keys/log.pem", "keys/grants.pem"} <= set(found.files)
    assert private(backup)
    # The live log still begins with what was backed up.
    assert (await verify_backup(backup, told=told, kept=found.head)) == found


async def test_a_restored_state_verifies_says_so_and_decides_again(tmp_path: Path, backup: Path) -> None:
    settings = settings_in(tmp_path / "again").model_copy(update={"repository": str(tmp_path / "policy")})
    found, done = await restore_backup(backup, settings.state_dir, ORDER, told=told)
    async with running(settings) as (plane, client):
        assert (await plane.log.verify()).ok
        events = [item async for item in plane.log.events(from_index=done.log_index, follow=False, trace_id="")]
        assert events[0].event.type == "log.restored"
        details = events[0].event.details()
        assert (details["principal"], details["reason"]) == (OPERATOR.id, ORDER.reason)
        assert (details["backup_size"], details["entries_missing_at_least"]) == (found.head.size, 0)
        assert (await client.decide(plan(99))).decision.decision_id


async def test_what_was_open_is_taken_back(tmp_path: Path) -> None:
    async with approval_scene(tmp_path / "s") as scene:
        granted, asked = await scene.granted(), await scene.asked(arguments=b"{}")
    state = next(path.parent for path in (tmp_path / "s").rglob("*.db"))
    if not (state / "audit.db").exists():
        next(state.glob("*.db")).rename(state / "audit.db")
    await make_backup(state, tmp_path / "b", told=told)
    _, done = await restore_backup(tmp_path / "b", tmp_path / "r", ORDER, told=told)
    log = open_log(tmp_path / "r" / "audit.db")
    try:
        found = [(await log.approvals.approval(each)).state for each in (granted, asked)]
        grants = await log.grants.overdue_grants(now_seconds=2**53, limit=100)
        assert found == [ApprovalState.WITHDRAWN, ApprovalState.WITHDRAWN]
        assert done.approvals == 2
        assert [grant for grant in grants if grant.state is GrantState.ISSUED and not grant.revoked] == []
        assert (await log.verify()).ok
    finally:
        await log.close()


@pytest.mark.parametrize("name", ["audit.db", "keys/log.pem", "activation.db"])
async def test_a_file_that_was_touched_is_found_and_nothing_is_restored(
    tmp_path: Path, backup: Path, name: str
) -> None:
    content = bytearray((backup / name).read_bytes())
    content[len(content) // 2] ^= 1
    (backup / name).write_bytes(content)
    with pytest.raises(IntegrityError, match=f"{name} is not what was backed up"):
        await restore_backup(backup, tmp_path / "r", ORDER, told=told)
    assert not (tmp_path / "r").exists()


async def test_what_is_missing_added_linked_or_unfinished_is_no_backup(tmp_path: Path, backup: Path) -> None:
    async def refused(change: str, match: str) -> None:
        copy = tmp_path / change
        shutil.copytree(backup, copy)
        if change == "missing":
            (copy / "keys" / "log.pem").unlink()
        elif change == "added":
            (copy / "keys" / "mine.pem").write_text("mine")
        elif change == "linked":
            (copy / "keys" / "log.pem").unlink()
            (copy / "keys" / "log.pem").symlink_to("/etc/hostname")
        elif change == "unfinished":
            (copy / "backup.json").unlink()
        else:
            (copy / "backup.json").write_text('{"format": 2}')
        with pytest.raises(IntegrityError, match=match):
            await verify_backup(copy, told=told)

    await refused("missing", "is not what was backed up")
    await refused("added", "is not what was backed up")
    await refused("linked", "is not a plain file")
    await refused("unfinished", "is no whole backup")
    await refused("of another format", "is not the manifest of a backup")


async def test_a_manifest_that_fits_a_shorter_log_does_not_fit_the_head_that_was_kept(
    tmp_path: Path, backup: Path
) -> None:
    found = await verify_backup(backup, told=told)
    other = LogHead(found.head.size - 1, b"\0" * 32)
    with pytest.raises(IntegrityError, match="are not those of the head that was kept"):
        await restore_backup(backup, tmp_path / "r", replace(ORDER, kept=other), told=told)
    with pytest.raises(IntegrityError, match="are not those of the head that was kept"):
        # Accepting a loss accepts no other history.
        await restore_backup(backup, tmp_path / "r", replace(ORDER, kept=other, accepts_loss=True), told=told)


async def test_a_backup_that_is_older_than_what_was_seen_is_restored_only_knowingly(
    tmp_path: Path, backup: Path
) -> None:
    found = await verify_backup(backup, told=told)
    newer = LogHead(found.head.size + 7, b"\1" * 32)
    with pytest.raises(InvalidRequestError, match="misses at least 7 entries"):
        await restore_backup(backup, tmp_path / "r", replace(ORDER, kept=newer), told=told)
    assert not (tmp_path / "r").exists()
    _, done = await restore_backup(backup, tmp_path / "r", replace(ORDER, kept=newer, accepts_loss=True), told=told)
    log = open_log_read_only(tmp_path / "r" / "audit.db")
    try:
        [event] = [item async for item in log.events(from_index=done.log_index, follow=False, trace_id="")]
        assert event.event.details()["entries_missing_at_least"] == 7
    finally:
        await log.close()


async def test_a_restore_that_is_cut_off_serves_nothing_and_can_be_made_again(tmp_path: Path, backup: Path) -> None:
    state = tmp_path / "r"
    found = await verify_backup(backup, told=told)
    stage(backup, state, found.files)
    with pytest.raises(LogUnavailableError, match="was cut off"):
        open_log(state / "audit.db")
    await restore_backup(backup, state, ORDER, told=told)
    log = open_log(state / "audit.db")
    assert log.sealed == ""
    await log.close()


async def test_a_restore_that_cannot_take_back_what_is_open_leaves_nothing(tmp_path: Path, backup: Path) -> None:
    by = replace(OPERATOR, id=PrincipalId("\ud800"))
    with pytest.raises(Exception, match="no canonical form"):
        await restore_backup(backup, tmp_path / "r", replace(ORDER, by=by), told=told)
    assert list(entries(tmp_path / "r")) == []


async def test_a_directory_that_is_a_file_system_of_its_own_is_restored_into(tmp_path: Path, backup: Path) -> None:
    (tmp_path / "r" / "lost+found").mkdir(parents=True)
    before = inode(tmp_path / "r")
    await restore_backup(backup, tmp_path / "r", ORDER, told=told)
    assert inode(tmp_path / "r") == before
    assert ".restoring" not in entries(tmp_path / "r")


async def test_a_backup_that_changes_between_two_looks_is_not_restored(tmp_path: Path, backup: Path) -> None:
    found = await verify_backup(backup, told=told)
    (backup / "keys" / "log.pem").write_bytes((backup / "keys" / "grants.pem").read_bytes())
    with pytest.raises(IntegrityError, match="changed while"):
        stage(backup, tmp_path / "r", found.files)


@pytest.mark.parametrize("reason", ["", " ", "a\udcff", "x" * 100_000])
async def test_nothing_is_restored_without_a_reason_that_can_be_read(tmp_path: Path, backup: Path, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match="reason"):
        await restore_backup(backup, tmp_path / "r", replace(ORDER, reason=reason), told=told)
    assert not is_there(tmp_path / "r")


async def test_nothing_is_written_over(tmp_path: Path, backup: Path) -> None:
    with pytest.raises(InvalidRequestError, match="already"):
        await make_backup(tmp_path / "s", backup, told=told)
    with pytest.raises(InvalidRequestError, match="already"):
        await restore_backup(backup, tmp_path / "s", ORDER, told=told)
    with pytest.raises(InvalidRequestError, match="in the state directory itself"):
        await make_backup(tmp_path / "s", tmp_path / "s" / "keys" / "b", told=told)
    with pytest.raises(LogUnavailableError, match="there is no log"):
        await make_backup(tmp_path / "nothing", tmp_path / "b2", told=told)


@pytest.mark.usefixtures("backup")
async def test_a_backup_that_was_cut_off_is_none_and_the_next_one_is_whole(tmp_path: Path) -> None:
    class CutOffError(Exception):
        """The power went."""

    def cut(_done: int, _of: int) -> None:
        raise CutOffError

    with pytest.raises(CutOffError):
        await make_backup(tmp_path / "s", tmp_path / "half", told=cut)
    with pytest.raises(AisecopsError, match="no whole backup"):
        await verify_backup(tmp_path / "half", told=told)
    await make_backup(tmp_path / "s", tmp_path / "whole", told=told)
    assert (await verify_backup(tmp_path / "whole", told=told)).head == await head_of(tmp_path / "s")


async def test_the_commands_say_what_they_did(tmp_path: Path, backup: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def asked(*line: str) -> int:
        return await asyncio.to_thread(run, [*line, "-o", "json"])

    assert await asked("log", "head", "--state-dir", str(tmp_path / "s")) == ExitCode.OK
    (tmp_path / "head.json").write_text(capsys.readouterr().out)
    newest = ("--against", str(tmp_path / "head.json"))
    missing = (await head_of(tmp_path / "s")).size - (await verify_backup(backup, told=told)).head.size
    expected = ExitCode.UNVERIFIED if missing else ExitCode.OK
    assert await asked("backup", "verify", str(backup), *newest) == expected
    verified = json.loads(capsys.readouterr().out)
    assert (verified["missing"], set(verified)) == (missing, {*MADE, "missing"})
    again = str(tmp_path / "b2")
    assert await asked("backup", "make", again, "--state-dir", str(tmp_path / "s")) == ExitCode.OK
    made = json.loads(capsys.readouterr().out)
    assert (made["folder"], set(made)) == (again, MADE)
    line = ("backup", "restore", again, "--state-dir", str(tmp_path / "r"), "--reason", "a drill", *newest)
    assert await asked(*line) == ExitCode.OK
    done = json.loads(capsys.readouterr().out)
    assert done["logIndex"] > 0
    assert set(done) == {*MADE, "approvals", "grants", "logIndex"}
    assert await asked("log", "verify", "--state-dir", str(tmp_path / "r")) == ExitCode.OK
    assert private(tmp_path / "r")


async def test_a_key_that_is_rotated_while_it_is_copied_fits_the_log_and_the_old_one_is_not_kept(
    tmp_path: Path,
) -> None:
    async with rotating(tmp_path / "s") as desk:
        [signed] = await desk.shop.granted()
        loop, copies = asyncio.get_running_loop(), 0

        def copy(source: Path, target: Path, said: Callable[[int, int], None]) -> None:
            nonlocal copies
            copies += 1
            copy_database(source, target, said)
            if copies == 1:
                asyncio.run_coroutine_threadsafe(desk.rotate(), loop).result()

        await asyncio.to_thread(copy_state, tmp_path / "s", tmp_path / "b", copy, told)
        assert copies == 2
        current = desk.current
    async with rotating(tmp_path / "b") as desk:
        assert desk.names() == ["grants.1.pem"]
        assert desk.current == current
        desk.keys.ring.read(signed.token)
