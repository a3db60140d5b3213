"""Racing, killed and restarted processes leave the books right; and a broken ledger would be found out."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.scenes.budgets.budget_histories import LAST_UNIT, SHARED, Killing, race

pytestmark = pytest.mark.slow


def test_of_eight_processes_that_race_for_the_last_unit_exactly_one_gets_it(tmp_path: Path) -> None:
    found = race(tmp_path, rounds=12, racers=8)
    assert found.winners == {1: 12}
    assert found.others == {"DENY": 12 * 7}
    assert found.problems == []


def test_a_limit_that_nobody_enforces_has_more_winners(tmp_path: Path) -> None:
    limits = (replace(LAST_UNIT, enforced=False), *SHARED)
    assert race(tmp_path, rounds=2, racers=8, limits=limits).winners == {8: 2}


def test_workers_and_servers_that_are_killed_leave_the_books_balanced(tmp_path: Path) -> None:
    found = Killing(tmp_path, random.Random(20)).run(12, 2)
    assert found.problems == []
    assert (found.workers_killed, found.servers_killed) == (12, 2)
    assert found.ended("EXPIRED") >= 4


def test_without_a_reaper_what_was_killed_stays_open_and_is_found_out(tmp_path: Path) -> None:
    found = Killing(tmp_path, random.Random(21)).run(4, 0, reap=False)
    assert len(found.problems) == found.ended("EXPIRED") > 0
