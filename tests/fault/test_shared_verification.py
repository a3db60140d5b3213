"""A log that several processes verify gives the report that one gives, whatever was done to it and to them."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from aisecops_server.adapters.sqlite.database import open_for_reading
from aisecops_server.adapters.sqlite.readers import Helpers
from aisecops_server.adapters.sqlite.schema import BLOCK_TRACES, SUBTREE_LEAVES
from aisecops_server.adapters.sqlite.verification import Verification
from aisecops_server.adapters.sqlite.verification_crew import Crew
from aisecops_server.adapters.sqlite.verification_tasks import run_task
from aisecops_server.domain.log.record import LogReport

from tests.fault.log_copies import copied
from tests.fault.log_mutations import (
    Mutation,
    body_bit,
    column,
    decision_moved,
    document_bit,
    dropped,
    head_forged,
    payload_dropped,
    rewritten,
    subtree_forged,
    truncated,
    write_original,
)

# Long enough for a process to start on a machine that has much else to do.
SECONDS = 120
Ask = Callable[[Helpers | None], LogReport]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("original") / "audit.db"
    write_original(database)
    return database


def report_of(database: Path, helpers: Helpers | None) -> LogReport:
    with closing(open_for_reading(database)) as connection:
        return Verification(connection, lambda _done, _size: None, helpers).run()


def shared(database: Path) -> Helpers:
    """The log has 360 leaves, so that it falls into two tasks."""
    return Helpers(database, 2, least_events=0, leaves_per_task=SUBTREE_LEAVES, traces_per_task=BLOCK_TRACES)


def test_an_untouched_log_is_verified_by_several(original: Path) -> None:
    report = report_of(original, shared(original))
    assert report.ok
    assert report == report_of(original, None)


@pytest.mark.parametrize(
    "mutation",
    [
        body_bit,
        column,
        decision_moved,
        document_bit,
        dropped,
        head_forged,
        payload_dropped,
        rewritten,
        subtree_forged,
        truncated,
    ],
    ids=lambda mutation: mutation.__name__,
)
def test_several_find_what_one_finds(mutation: Mutation, original: Path, tmp_path: Path) -> None:
    database = copied(original, tmp_path, "mutated")
    with closing(apsw.Connection(str(database))) as connection:
        mutation(connection, random.Random(7))
    alone = report_of(database, None)
    assert not alone.ok
    assert report_of(database, shared(database)) == alone


def test_a_fault_in_an_early_part_is_told_before_one_in_a_late_part(original: Path, tmp_path: Path) -> None:
    database = copied(original, tmp_path, "mutated")
    with closing(apsw.Connection(str(database))) as connection:
        for index in (300, 20):
            connection.execute("UPDATE event SET body = x'00' WHERE idx = ?", (index,))
        # The list of traces is compared while the leaves are, and is told of after them.
        connection.execute("UPDATE trace SET intent = 'other' WHERE number = 0")
    report = report_of(database, shared(database))
    assert report.bad_index == 20
    assert report == report_of(database, None)


def test_a_helper_answers_as_this_process_does(original: Path) -> None:
    with closing(open_for_reading(original)) as connection:
        crew = Crew(connection, Helpers(original, count=1, least_events=0))
        tasks = [["leaves", 0, 360], ["traces", 0, None, 360], ["keeping"], ["grants", 0], ["books", 0]]
        with crew.at_work(360):
            given = [crew.submit(task) for task in tasks]
            # Waited for without asking the crew, so that nobody but the helper can have answered.
            answers = [future.result(timeout=SECONDS) for _, future in given]
        assert answers == [run_task(connection, task) for task in tasks]


@pytest.mark.parametrize("name", ["missing.db", "no-database.db"])
def test_what_a_helper_cannot_do_is_done_here(name: str, original: Path, tmp_path: Path) -> None:
    other = tmp_path / name
    if name == "no-database.db":
        other.write_bytes(b"nothing of the kind" * 100)
    with closing(open_for_reading(original)) as connection:
        crew = Crew(connection, Helpers(other, count=2, least_events=0))
        with crew.at_work(360):
            answer = crew.result(crew.submit(["leaves", 0, 360]))
        assert answer == run_task(connection, ["leaves", 0, 360])


def test_a_short_log_needs_no_help(original: Path) -> None:
    with closing(open_for_reading(original)) as connection:
        crew = Crew(connection, Helpers(original, count=2))
        with crew.at_work(360):
            assert not crew._processes


def test_a_trace_number_that_was_never_given_is_found_in_bounded_time(original: Path, tmp_path: Path) -> None:
    database = copied(original, tmp_path, "mutated")
    with closing(apsw.Connection(str(database))) as connection:
        connection.execute("UPDATE trace SET number = 1 << 60 WHERE number = (SELECT max(number) FROM trace)")
    report = report_of(database, shared(database))
    assert not report.ok
    assert report == report_of(database, None)
