"""How the database is opened, and what is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import apsw
import pytest
from aisecops_server.adapters.sqlite.database import (
    lock,
    migrate,
    open_for_reading,
    open_for_writing,
    require_sound_sqlite,
    translated,
)
from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log, open_log_read_only
from aisecops_server.adapters.sqlite.schema import APPLICATION_ID, MIGRATIONS
from aisecops_server.domain.errors import IntegrityError, LogUnavailableError
from aisecops_server.domain.log.record import TraceFilter

from tests.scenes.log.records import Records

OPTIONS = LogOptions(minimum_free_bytes=0)


@pytest.mark.parametrize("version", ["3.7.0", "3.40.1", "3.51.2"])
def test_a_library_that_loses_commits_is_refused(version: str) -> None:
    with pytest.raises(LogUnavailableError, match="lose committed data") as caught:
        require_sound_sqlite(version)
    assert "3.51.3" in caught.value.hint


@pytest.mark.parametrize("version", ["3.51.3", "3.54.1", "4.0.0"])
def test_a_sound_library_is_taken(version: str) -> None:
    require_sound_sqlite(version)
    require_sound_sqlite(apsw.sqlite_lib_version())


def test_commits_are_synchronised_and_files_are_private(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.db"
    connection = open_for_writing(path)
    migrate(connection, MIGRATIONS, application_id=APPLICATION_ID)
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert (modes, stat.S_IMODE(path.parent.stat().st_mode)) == ({0o600}, 0o700)
    connection.close()


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    connection = open_for_writing(path)
    migrate(connection, MIGRATIONS, application_id=APPLICATION_ID)
    reader = open_for_reading(path)
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("DELETE FROM log_head")
    reader.close()
    connection.close()


def test_migrations_are_applied_once_and_in_order(tmp_path: Path) -> None:
    first, second = "CREATE TABLE migration (version INTEGER PRIMARY KEY); CREATE TABLE a (x)", "CREATE TABLE b (x)"
    connection = open_for_writing(tmp_path / "x.db")
    migrate(connection, (first,), application_id=7)
    migrate(connection, (first,), application_id=7)
    connection.execute("INSERT INTO a VALUES (1)")
    migrate(connection, (first, second), application_id=7)
    assert connection.execute("SELECT x FROM a").get == 1
    assert connection.execute("SELECT count(*) FROM b").get == 0
    assert connection.execute("SELECT group_concat(version) FROM migration").get == "1,2"
    connection.close()


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    connection = open_for_writing(tmp_path / "x.db")
    with pytest.raises(LogUnavailableError, match="updating its schema"):
        migrate(connection, ("CREATE TABLE migration (version INTEGER PRIMARY KEY); CREATE TABL",), application_id=7)
    assert connection.execute("SELECT count(*) FROM sqlite_schema").get == 0
    connection.close()


def test_a_database_of_a_newer_version_or_another_application_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    connection = open_for_writing(path)
    migrate(connection, (*MIGRATIONS, "CREATE TABLE future (x)"), application_id=APPLICATION_ID)
    connection.close()
    with pytest.raises(LogUnavailableError, match=f"schema version {len(MIGRATIONS) + 1}"):
        open_log(path, OPTIONS)
    foreign = tmp_path / "foreign.db"
    other = apsw.Connection(str(foreign))
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(LogUnavailableError, match="another application"):
        open_log(foreign, OPTIONS)


def test_a_file_that_is_no_database_is_reported_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    path.write_bytes(b"not a database at all" * 300)
    with pytest.raises(IntegrityError, match="damaged"):
        open_log(path, OPTIONS)
    assert path.read_bytes().startswith(b"not a database")


def test_the_lock_is_given_back_when_its_file_is_closed(tmp_path: Path) -> None:
    held = lock(tmp_path / "audit.db")
    with pytest.raises(LogUnavailableError, match="another process"):
        lock(tmp_path / "audit.db")
    held.close()
    lock(tmp_path / "audit.db").close()


def test_what_the_system_raises_becomes_an_error_of_the_domain() -> None:
    for raised, expected in (
        (apsw.CorruptError("x"), IntegrityError),
        (apsw.FullError("x"), LogUnavailableError),
        (OSError("x"), LogUnavailableError),
    ):
        with pytest.raises(expected) as caught, translated("testing"):
            raise raised
        assert caught.value.__cause__ is raised
        assert caught.value.hint


def test_a_log_of_another_version_is_not_taken_for_a_failing_disk() -> None:
    with apsw.Connection(":memory:") as file, pytest.raises(LogUnavailableError) as caught, translated("reading"):
        file.execute("SELECT * FROM of_tomorrow")
    assert "Start the control plane of this version on it" in caught.value.hint
    assert "disk" not in caught.value.hint


def test_a_log_that_is_not_there_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailableError, match="no log"):
        open_log_read_only(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.asyncio
async def test_a_log_opened_for_reading_takes_nothing_and_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    log = open_log(path, OPTIONS)
    await log.append(Records().record())
    await log.close()
    reader = open_log_read_only(path)
    assert reader.sealed
    assert len((await reader.traces(TraceFilter(), page_size=5, page_token="")).traces) == 1
    with pytest.raises(LogUnavailableError, match="cannot be followed"):
        await anext(reader.events(from_index=0, follow=True, trace_id=""))
    await reader.close()
    with pytest.raises(LogUnavailableError, match="closed"):
        await reader.head()


def test_a_schema_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    connection = open_for_writing(path)
    migrate(connection, MIGRATIONS, application_id=APPLICATION_ID)
    before = (
        connection.total_changes(),
        connection.pragma("data_version"),
        path.with_name("audit.db-wal").stat().st_size,
    )
    migrate(connection, MIGRATIONS, application_id=APPLICATION_ID)
    after = connection.total_changes(), connection.pragma("data_version"), path.with_name("audit.db-wal").stat().st_size
    assert after == before
    connection.close()
