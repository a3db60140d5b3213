"""One trace on many revisions, and along history: which commit did it, said no more surely than it is known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from aisecops_server.bootstrap.replay import Replaying
from aisecops_server.demo.change import TABLE
from aisecops_server.domain.errors import InvalidRequestError, NotFoundError, UnknownRevisionError
from aisecops_server.usecases.replays.bisect_decisions import WALKED, Bisected
from aisecops_server.usecases.replays.compare_revisions import Matrix

from tests.scenes.replays.replays import Recorded, copy_of, open_replaying, record

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    only = ("refund-lost-parcel", "release", "answer-ticket")
    return asyncio.run(record(tmp_path_factory.mktemp("traces"), only=only))


@pytest.fixture
def history(made: Recorded, tmp_path: Path) -> Recorded:
    return copy_of(made, tmp_path / "copy")


def limit(history: Recorded, amount: int, *, message: str = "") -> str:
    """Commit another limit of refunds, of which one of 64 is on record."""
    lines = history.text(TABLE).splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if "crm/issue_refund" in line) + 2
    lines[at] = f"    amount_over: {amount}\n"
    return history.commit({TABLE: "".join(lines).encode()}, message or f"limit {amount}")


def words(history: Recorded, number: int) -> str:
    """Commit something that means nothing."""
    return history.commit({TABLE: history.text(TABLE).encode() + f"# {number}\n".encode()}, f"words {number}")


def broken(history: Recorded) -> str:
    """Commit what cannot be built, and the way back is the next limit."""
    return history.commit({TABLE: b"nonsense: true\n"}, "broken")


def trace(history: Recorded, scenario: str = "refund-lost-parcel") -> str:
    return str(history.decided[scenario].details["trace_id"])


async def bisected(made: Replaying, trace_id: str, *, good: str = "", bad: str = "") -> dict[str, Any]:
    last: Bisected | None = None
    async for last in made.bisect(trace_id, good=good, bad=bad):
        assert last.asked <= last.expected
    assert last is not None
    assert last.found is not None
    return dict(last.found)


async def matrix(made: Replaying, traces: Sequence[str], revisions: Sequence[str]) -> dict[str, Any]:
    grown: list[Matrix] = [matrix async for matrix in made.compare(traces, revisions)]
    assert [len(matrix.columns) for matrix in grown] == list(range(len(revisions) + 1))
    return grown[-1].as_json()


def flipped(found: dict[str, Any]) -> list[str]:
    return [flip["commit"]["commit"] for flip in found["flips"]]


async def test_traces_are_decided_on_every_revision_and_one_that_is_broken_costs_the_others_nothing(
    history: Recorded,
) -> None:
    text = history.text(TABLE)
    low, bad = limit(history, 50), broken(history)
    history.commit({TABLE: text.encode()}, "back")
    names = [history.first, low, bad, "main"]
    async with open_replaying(history) as made:
        found = await matrix(made, [trace(history), trace(history, "release")], names)
        running = len(list(history.settings.engine_run_dir.glob("*-*")))
    assert [revision["name"] for revision in found["revisions"]] == names
    assert [bool(revision["problem"]) for revision in found["revisions"]] == [False, False, True, False]
    rows = {row["decision_id"]: row for row in found["rows"]}
    refund = rows[history.decision("refund-lost-parcel")]
    assert [cell["after"] for cell in refund["cells"]] == ["ALLOW", "REQUIRE_APPROVAL", "", "ALLOW"]
    assert [cell["verdict_class"] for cell in refund["cells"]] == ["SAME", "OUTCOME_FLIP", "ERROR", "SAME"]
    release = rows[history.decision("release")]
    assert {cell["after"] for cell in release["cells"]} == {"REQUIRE_APPROVAL", ""}
    assert running <= history.settings.max_engines


async def test_the_commit_that_flipped_a_decision_is_named_with_what_it_changed(history: Recorded) -> None:
    for number in range(3):
        words(history, number)
    culprit = limit(history, 50)
    words(history, 3)
    async with open_replaying(history) as made:
        found = await bisected(made, trace(history))
        backwards = await bisected(made, trace(history), good="main", bad=history.first)
        nothing = await bisected(made, trace(history, "answer-ticket"))
    assert flipped(found) == flipped(backwards) == [culprit]
    [flip] = found["flips"]
    assert flip["exact"]
    assert [(step["before"], step["after"]) for step in flip["decisions"]] == [("ALLOW", "REQUIRE_APPROVAL")]
    assert [change["subject"] for change in flip["changes"]] == ["approvals.tools.crm/issue_refund.amount_over"]
    assert (found["monotone"], found["complete"], found["commits"], found["asked"]) == (True, True, 6, 6)
    assert (nothing["flips"], nothing["monotone"]) == ([], True)


async def test_a_history_that_changed_its_mind_is_said_to_have(history: Recorded) -> None:
    there, back, again = limit(history, 50), limit(history, 100), limit(history, 40)
    async with open_replaying(history) as made:
        found = await bisected(made, trace(history))
        round_trip = await bisected(made, trace(history), bad=back)
    assert flipped(found) == [there, back, again]
    assert not found["monotone"]
    # The same at both ends, and not the same in between.
    assert flipped(round_trip) == [there, back]
    assert not round_trip["monotone"]


async def test_commits_that_cannot_be_built_are_passed_over_and_the_answer_says_how_sure_it_is(
    history: Recorded,
) -> None:
    text = history.text(TABLE)
    first, second = broken(history), broken(history)
    history.commit({TABLE: text.encode()}, "mended")
    limit(history, 100)
    third = broken(history)
    history.commit({TABLE: text.replace("amount_over: 100\n", "amount_over: 50\n").encode()}, "mended, and lower")
    async with open_replaying(history) as made:
        found = await bisected(made, trace(history))
        with pytest.raises(InvalidRequestError, match="cannot be built"):
            await bisected(made, trace(history), bad=third)
    assert {commit["commit"] for commit in found["skipped"]} == {first, second, third}
    assert all(commit["problem"] for commit in found["skipped"])
    [flip] = found["flips"]
    assert (flip["exact"], flip["between"]) == (False, 1)


async def test_a_long_history_is_cut_into_halves_and_looked_at_again(history: Recorded) -> None:
    for number in range(WALKED):
        words(history, number)
    culprit = limit(history, 50)
    for number in range(WALKED):
        words(history, WALKED + number)
    async with open_replaying(history) as made:
        found = await bisected(made, trace(history))
        running = len(list(history.settings.engine_run_dir.glob("*-*")))
    assert flipped(found) == [culprit]
    assert found["flips"][0]["exact"]
    assert (found["monotone"], found["complete"]) == (True, False)
    assert found["asked"] < found["commits"]
    assert running <= history.settings.max_engines


async def test_what_cannot_be_asked_is_refused_by_name(history: Recorded) -> None:
    limit(history, 50)
    async with open_replaying(history) as made:
        for work, error in (
            (bisected(made, "0" * 32), NotFoundError),
            (bisected(made, trace(history), bad="nowhere"), UnknownRevisionError),
            (bisected(made, trace(history), bad=history.first), InvalidRequestError),
            (matrix(made, [], ["main"]), InvalidRequestError),
            (matrix(made, [trace(history)], []), InvalidRequestError),
            (matrix(made, [trace(history)], ["main"] * 51), InvalidRequestError),
            (matrix(made, ["0" * 32], ["main"]), NotFoundError),
        ):
            with pytest.raises(error):
                await work
