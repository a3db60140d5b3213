"""A replay of the log's partitions, where there is no log: it says what a replay of the log says, or nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aisecops_server.adapters.sqlite.history import open_history
from aisecops_server.bootstrap.control_plane import compose
from aisecops_server.bootstrap.partitions import export_partitions, indexed_partitions
from aisecops_server.bootstrap.replay import replaying
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.domain.decisions.decision import Outcome
from aisecops_server.domain.errors import AisecopsError, IntegrityError, InvalidRequestError
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.replays.replay import ReplayRecord, Selection
from aisecops_server.settings import Settings
from aisecops_server.usecases.replays.resolve_policy import WantedPolicy

from tests.scenes.replays.replays import Recorded, classes, open_replaying, program, record, replayed

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("pyarrow") is None, reason="the extra 'partitions' (pyarrow) is not installed"
    ),
    pytest.mark.timeout(280),
]
MAIN = WantedPolicy(revision="main")
ONLY = ("answer-ticket", "refund-lost-parcel", "release")


def told(_done: int, _of: int | None) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Exported:
    """A history, its partitions, and the key that signed their checkpoint."""

    recorded: Recorded
    folder: Path
    key: str

    def elsewhere(self, name: str) -> Settings:
        """Return the settings of a machine that has the policy repository and no log."""
        return self.recorded.settings.model_copy(update={"state_dir": self.recorded.root / name})

    def index(self, name: str, *, key: str | None = None) -> AbstractContextManager[Path]:
        log_key = self.key if key is None else key
        return indexed_partitions(self.elsewhere(name), self.folder, log_key=log_key, progress=told)

    async def replayed(self, name: str, selection: Selection) -> ReplayRecord:
        with self.index(name) as index:
            async with replaying(self.elsewhere(name), instead=open_history(index)) as made:
                return await replayed(made, MAIN, selection=selection)


async def _exported(root: Path, *, size: int = 8) -> Exported:
    recorded = await record(root / "r", times=2, only=ONLY)
    async with compose(recorded.settings) as plane:
        await plane.publish()
        key = plane.publish.keys.public.text()
    await export_partitions(recorded.settings, root / "out", size=size, progress=told)
    recorded.edit_limits()
    return Exported(recorded, root / "out", key)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return asyncio.run(_exported(tmp_path_factory.mktemp("partitions")))


@pytest.mark.parametrize(
    "selection",
    [
        Selection(),
        Selection(outcome=Outcome.REQUIRE_APPROVAL.value),
        Selection(tool="crm/issue_refund"),
        Selection(rule="approval.tool_requires_approval"),
    ],
    ids=["all", "outcome", "tool", "rule"],
)
def test_it_says_what_a_replay_of_the_log_says_byte_by_byte(exported: Exported, selection: Selection) -> None:
    async def both() -> tuple[ReplayRecord, ReplayRecord]:
        async with open_replaying(exported.recorded) as made:
            of_log = await replayed(made, MAIN, selection=selection)
        return of_log, await exported.replayed("elsewhere", selection)

    of_log, of_partitions = asyncio.run(both())
    assert sum(classes(of_log).values()) > 0
    assert of_partitions.id == of_log.id
    assert canonical_bytes(of_partitions.report) == canonical_bytes(of_log.report)
    assert canonical_bytes(of_partitions.early) == canonical_bytes(of_log.early)


def test_what_was_erased_is_told_as_the_log_tells_it(tmp_path: Path) -> None:
    async def both() -> tuple[ReplayRecord, ReplayRecord]:
        made = await _exported(tmp_path)
        async with compose(made.recorded.settings) as plane:
            trace = str(made.recorded.decided["release"].details["trace_id"])
            await plane.retention.erase(trace, principal="dpo@corp.example", reason="asked for")
            await plane.publish()
        await export_partitions(made.recorded.settings, made.folder, size=8, progress=told)
        async with open_replaying(made.recorded) as here:
            of_log = await replayed(here, MAIN)
        return of_log, await made.replayed("elsewhere", Selection())

    of_log, of_partitions = asyncio.run(both())
    assert classes(of_log)["INDETERMINATE"] == 1
    assert canonical_bytes(of_partitions.report) == canonical_bytes(of_log.report)


def _manifest(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    told_ = json.loads((folder / "manifest.json").read_text())
    change(told_)
    (folder / "manifest.json").write_text(json.dumps(told_))


def _flip(folder: Path) -> None:
    path = sorted(folder.glob("*.parquet"))[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _rewrite(folder: Path, change: Callable[[dict[str, list[object]]], None]) -> None:
    """Change the rows of the first file and let the manifest name the file as it is now."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    path = min(folder.glob("*.parquet"))
    table = parquet.read_table(path)
    rows = table.to_pydict()
    change(rows)
    parquet.write_table(pa.Table.from_pydict(rows, schema=table.schema), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    _manifest(folder, lambda manifest: manifest["partitions"][0].update(sha256=digest))  # type: ignore[index]


def _first_decision(rows: dict[str, list[object]]) -> int:
    return next(at for at, body in enumerate(rows["body"]) if body is not None)


def _renumbered(rows: dict[str, list[object]]) -> None:
    rows["trace"][_first_decision(rows)] = 77


def _other_document(rows: dict[str, list[object]]) -> None:
    at = _first_decision(rows)
    rows["document"][at] = b"{}"
    rows["document_digest"][at] = hashlib.sha256(b"{}").digest()


def _other_body(rows: dict[str, list[object]]) -> None:
    at = _first_decision(rows)
    body = rows["body"][at]
    assert isinstance(body, bytes)
    rows["body"][at] = body.replace(b"DENY", b"ALOW").replace(b"ALLOW", b"DENY_")


def _other_leaf(rows: dict[str, list[object]]) -> None:
    rows["leaf_hash"][0] = b"\x00" * 32


ATTACKS: dict[str, tuple[Callable[[Path], object], type[AisecopsError]]] = {
    "a bit of a file": (_flip, IntegrityError),
    "a file that is gone": (lambda folder: min(folder.glob("*.parquet")).unlink(), InvalidRequestError),
    "a file that is not named": (
        lambda folder: _manifest(folder, lambda manifest: manifest["partitions"].pop()),  # type: ignore[attr-defined]
        IntegrityError,
    ),
    "an export that is not finished": (
        lambda folder: _manifest(folder, lambda manifest: manifest.update(checkpoint="")),
        InvalidRequestError,
    ),
    "a name that leads out of the folder": (
        lambda folder: _manifest(folder, lambda manifest: manifest["partitions"][0].update(file="../x.parquet")),  # type: ignore[index]
        InvalidRequestError,
    ),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), InvalidRequestError),
    "a trace with another number": (lambda folder: _rewrite(folder, _renumbered), IntegrityError),
    "another document": (lambda folder: _rewrite(folder, _other_document), IntegrityError),
    "another body": (lambda folder: _rewrite(folder, _other_body), IntegrityError),
    "another leaf": (lambda folder: _rewrite(folder, _other_leaf), IntegrityError),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_the_checkpoint_does_not_commit_to_is_not_replayed(
    exported: Exported, tmp_path: Path, attack: str
) -> None:
    change, kind = ATTACKS[attack]
    shutil.copytree(exported.folder, tmp_path / "out")
    change(tmp_path / "out")
    settings = exported.elsewhere(f"attack-{len(attack)}")
    with (
        pytest.raises(kind),
        indexed_partitions(settings, tmp_path / "out", log_key=exported.key, progress=told),
    ):
        pass
    assert list((settings.state_dir / "replay").glob("partitions-*")) == []


def test_a_checkpoint_of_another_log_is_refused_and_so_is_what_is_no_key(exported: Exported, tmp_path: Path) -> None:
    async def other() -> str:
        settings = exported.elsewhere("other-log")
        async with compose(settings) as plane:
            return plane.publish.keys.public.text()

    with pytest.raises(IntegrityError, match="not signed"), exported.index("k", key=asyncio.run(other())):
        pass
    with pytest.raises(InvalidRequestError, match="no key"), exported.index("k", key="not a key"):
        pass


def test_what_a_killed_replay_left_goes_and_what_a_running_one_uses_stays(exported: Exported) -> None:
    parent = exported.elsewhere("left").state_dir / "replay"
    left, used = parent / "partitions-left", parent / "partitions-used"
    for directory in (left, used):
        directory.mkdir(parents=True)
        (directory / "history.db").write_bytes(b"words of a person")
    held = os.open(used, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with exported.index("left") as index:
            assert index.stat().st_mode & 0o077 == 0
            assert not left.exists()
            assert used.exists()
    finally:
        os.close(held)
    assert not index.exists()


def test_the_commands_read_partitions_where_there_is_no_log(exported: Exported) -> None:
    apart = dataclasses.replace(exported.recorded, settings=exported.elsewhere("commands"))
    given, key = ("-o", "json", "--partitions", str(exported.folder)), ("--log-key", exported.key)

    async def asked() -> list[tuple[int, str, str]]:
        found = [await program(apart, "replay", "run", "--against", "main", *given, *key)]
        replay = json.loads(found[0][1])["replay"]["replayId"]
        found.append(await program(apart, "replay", "show", replay, *given))
        found.append(await program(apart, "replay", "why", replay, apart.decision("refund-lost-parcel"), *given))
        found.append(await program(apart, "replay", "run", "--against", "main", *key))
        return found

    ran, shown, why, without = asyncio.run(asked())
    assert (ran[0], shown[0], why[0]) == (ExitCode.REPLAY_CHANGED, ExitCode.REPLAY_CHANGED, ExitCode.OK), ran[2]
    assert json.loads(shown[1])["replay"]["report"] == json.loads(ran[1])["replay"]["report"]
    assert "not verified" in shown[2]
    assert "not verified" not in ran[2]
    assert apart.decision("refund-lost-parcel") in why[1]
    assert without[0] == ExitCode.USAGE
    assert "--partitions" in without[2]
