from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import apsw
import orjson
import pytest
import pytest_asyncio
from aisecops_server.adapters.corpus.partitions import MANIFEST, Partition, write_partitions
from aisecops_server.adapters.sqlite.event_log import open_log
from aisecops_server.adapters.sqlite.history import open_history
from aisecops_server.domain.errors import IntegrityError, InvalidRequestError
from aisecops_server.domain.log.merkle import leaf_hash, root_of
from aisecops_server.domain.log.record import LogHead
from pyarrow import parquet

from tests.scenes.log.records import Records

pytestmark = pytest.mark.asyncio
SIZE = 16


async def make_log(path: Path, count: int) -> None:
    log, records = open_log(path), Records()
    await log.append_many([records.record(document=b'{"n":%d}' % number) for number in range(count)])
    await log.close()


async def export(
    log: Path, folder: Path, *, head: Callable[[LogHead], LogHead] = lambda found: found, size: int = SIZE
) -> list[Partition]:
    history = open_history(log)
    try:
        found = head(await history.head())
        return await write_partitions(
            folder, history.leaves, head=found, checkpoint="a note\n", size=size, progress=lambda *_: None
        )
    finally:
        await history.close()


@pytest_asyncio.fixture
async def log(tmp_path: Path) -> Path:
    await make_log(tmp_path / "audit.db", 30)
    return tmp_path / "audit.db"


async def test_the_files_alone_give_the_root_of_the_log_and_hold_every_decision(log: Path, tmp_path: Path) -> None:
    written = await export(log, tmp_path / "out")
    history = open_history(log)
    head = await history.head()
    await history.close()
    manifest = orjson.loads((tmp_path / "out" / MANIFEST).read_bytes())
    assert manifest["checkpoint"] == "a note\n"
    hashes: list[bytes] = []
    decisions = 0
    for each in manifest["partitions"]:
        path = tmp_path / "out" / each["file"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == each["sha256"]
        assert path.stat().st_mode & 0o077 == 0
        rows = parquet.read_table(path).to_pylist()
        assert [row["index"] for row in rows] == list(range(each["first"], each["last"] + 1))
        assert root_of(row["leaf_hash"] for row in rows).hex() == each["root"]
        hashes += [row["leaf_hash"] for row in rows]
        concluded = [row for row in rows if row["body"] is not None]
        assert all(leaf_hash(row["body"]) == row["leaf_hash"] for row in concluded)
        assert all(hashlib.sha256(row["document"]).digest() == row["document_digest"] for row in concluded)
        decisions += len(concluded)
    assert decisions == 30
    assert len(written) == -(-head.size // SIZE) > 1
    assert LogHead(len(hashes), root_of(hashes)) == head


async def test_the_same_log_gives_the_same_bytes(log: Path, tmp_path: Path) -> None:
    await export(log, tmp_path / "one")
    await export(log, tmp_path / "two")
    one, two = ({each.name: each.read_bytes() for each in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two


async def test_what_is_there_is_kept_and_what_is_not_as_it_was_is_written_again(log: Path, tmp_path: Path) -> None:
    written = await export(log, tmp_path / "out")
    paths = [tmp_path / "out" / each.file for each in written]
    before = [(path.read_bytes(), path.stat().st_ino) for path in paths]
    paths[0].unlink()
    (tmp_path / "out" / "leaves-000000000000-000000000015.part").write_bytes(b"half")
    paths[1].write_bytes(before[1][0][:-1] + b"!")
    assert await export(log, tmp_path / "out") == written
    after = [(path.read_bytes(), path.stat().st_ino) for path in paths]
    assert [content for content, _ in after] == [content for content, _ in before]
    assert after[2:] == before[2:]


async def test_what_was_erased_since_is_gone_after_the_next_export_and_so_are_files_of_ranges_that_grew(
    log: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    before = await export(log, out, size=64)
    reopened, records = open_log(log), Records(prefix="later")
    await reopened.append_many([records.record() for _ in range(20)])
    await reopened.close()
    connection = apsw.Connection(str(log))
    connection.execute("DELETE FROM document")
    connection.close()
    after = await export(log, out, size=64)
    assert {path.name for path in out.iterdir()} == {MANIFEST, *(each.file for each in after)}
    assert before[-1].file not in {each.file for each in after}
    rows = [row for each in after for row in parquet.read_table(out / each.file).to_pylist()]
    assert {row["document"] for row in rows} == {None}


async def test_nothing_is_written_beside_what_is_no_export(log: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(InvalidRequestError, match="something else"):
        await export(log, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


async def test_an_export_that_was_cut_off_before_its_first_manifest_goes_on(log: Path, tmp_path: Path) -> None:
    written = await export(log, tmp_path / "out")
    (tmp_path / "out" / MANIFEST).unlink()
    assert await export(log, tmp_path / "out") == written


async def test_a_document_that_is_not_the_one_that_was_decided_is_refused(log: Path, tmp_path: Path) -> None:
    connection = apsw.Connection(str(log))
    connection.execute("UPDATE document SET bytes = CAST('{}' AS BLOB) WHERE rowid = 3")
    connection.close()
    with pytest.raises(IntegrityError, match="was altered"):
        await export(log, tmp_path / "out")


async def test_leaves_that_are_not_those_of_the_checkpoint_are_refused(log: Path, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="signed checkpoint"):
        await export(log, tmp_path / "other", head=lambda found: replace(found, root=bytes(32)))
    assert orjson.loads((tmp_path / "other" / MANIFEST).read_bytes())["checkpoint"] == ""
    with pytest.raises(IntegrityError, match="not all there"):
        await export(log, tmp_path / "more", head=lambda found: replace(found, size=found.size + 1))


async def test_a_leaf_that_was_altered_is_refused(log: Path, tmp_path: Path) -> None:
    connection = apsw.Connection(str(log))
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(
        "UPDATE event SET body = CAST(CAST(body AS TEXT) || ' ' AS BLOB)"
        " WHERE idx = (SELECT max(outcome_idx) FROM decision)"
    )
    connection.close()
    with pytest.raises(IntegrityError, match="was altered"):
        await export(log, tmp_path / "out")


async def test_bad_input_is_refused(log: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="power of two"):
        await export(log, tmp_path / "out", size=12)
    (tmp_path / "out").mkdir()
    for manifest in (b"", b"[]", b'{"partitions": []}'):
        (tmp_path / "out" / MANIFEST).write_bytes(manifest)
        with pytest.raises(InvalidRequestError, match="no manifest"):
            await export(log, tmp_path / "out")
