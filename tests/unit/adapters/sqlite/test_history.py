from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import apsw
import pytest
import pytest_asyncio
from aisecops_server.adapters.sqlite.event_log import open_log
from aisecops_server.adapters.sqlite.history import SqliteHistory, open_history
from aisecops_server.domain.decisions.decision import Outcome
from aisecops_server.domain.errors import LogUnavailableError, NotFoundError
from aisecops_server.domain.formats.canonical import canonical_bytes, digest
from aisecops_server.domain.log.record import DecisionRecord
from aisecops_server.domain.replays.recorded_decision import Doubt, Place, RecordedDecision
from aisecops_server.domain.replays.replay import Selection

from tests.scenes.log.records import START_NS, Records

pytestmark = pytest.mark.asyncio

ALL = Selection()
QUERIES = (
    "agent:agent-*",
    "agent:agent-2* tool:mail/*",
    "rule:rule.*",
    "tool:nothing/*",
    "revision:2*",
    *(f"trust:{sign}{level}" for sign in ("<", "<=", ">", ">=") for level in ("trusted", "internal", "unverified")),
    "-agent:agent-1 -rule:rule.r1 -trust:<internal",
    "-tool:mail/* -outcome:blocked",
    "-rule:*",
)
ALTERED = "UPDATE event SET body = CAST(replace(CAST(body AS TEXT), 'agent-3', 'agent-1') AS BLOB)"


def document(number: int, *tools: str) -> bytes:
    return canonical_bytes({"number": number, "plan": {"steps": [{"tool": tool} for tool in tools]}})


def some_records(count: int) -> list[DecisionRecord]:
    """Decisions of a few agents with every outcome and tool, two traces of which hold many."""
    records, outcomes = Records(), list(Outcome)
    made = []
    for number in range(count):
        tool = f"mail/tool{number % 3}"
        made.append(
            records.record(
                trace_id=digest(f"shared{number % 2}".encode())[:32] if number % 5 == 0 else "",
                agent=f"agent-{number % 4}",
                outcome=outcomes[number % 3],
                tools=(tool,),
                rules=(f"rule.r{number % 2}",) if outcomes[number % 3] is not Outcome.ALLOW else (),
                trust=("trusted", "internal", "external", "unverified")[number % 4],
                revision=f"{number % 2 + 1}" * 40,
                document=document(number, tool),
                details={
                    "decided_at_micros": START_NS // 1000 + number * 1000,
                    "trace_id": "",
                    "steps": [],
                    "decision_id": f"dec-{number:020d}",
                },
            )
        )
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


@pytest_asyncio.fixture
async def history(path: Path) -> AsyncIterator[SqliteHistory]:
    log = open_log(path)
    await log.append_many(some_records(120))
    await log.close()
    opened = open_history(path)
    yield opened
    await opened.close()


async def everything(history: SqliteHistory, selection: Selection = ALL, *, limit: int = 7) -> list[Place]:
    head = await history.head()
    found: list[Place] = []
    while page := await history.places(selection, after=found[-1] if found else None, limit=limit, until=head.size):
        assert len(page) <= limit
        found += page
    return found


async def held(history: SqliteHistory, selection: Selection, places: Sequence[Place]) -> list[str]:
    return sorted(one.decision_id for one in await history.read(places) if selection.holds(one))


async def test_pages_of_any_size_are_the_same_places_in_the_same_order(history: SqliteHistory) -> None:
    whole = await everything(history, limit=1000)
    assert len(whole) == 120 == await history.count(ALL, until=(await history.head()).size)
    assert whole == sorted(whole, key=lambda place: (place.trace, place.index))
    for limit in (1, 7, 119):
        assert await everything(history, limit=limit) == whole


async def test_what_came_later_is_not_seen(history: SqliteHistory) -> None:
    whole = await everything(history)
    until = sorted(place.index for place in whole)[40]
    early = await history.places(ALL, after=None, limit=1000, until=until)
    assert len(early) == 40 == await history.count(ALL, until=until)


@pytest.mark.parametrize(
    "selection",
    [
        Selection(agent_id="agent-2"),
        Selection(outcome="ALLOW"),
        Selection(outcome="DENY"),
        Selection(outcome="REQUIRE_APPROVAL"),
        Selection(tool="mail/tool1"),
        Selection(rule="rule.r1"),
        *(Selection(trust=trust) for trust in ("trusted", "internal", "external", "unverified")),
        Selection(revision="2" * 40),
        Selection(mode="ENFORCE"),
        Selection(from_micros=START_NS // 1000 + 30_000),
        Selection(to_micros=START_NS // 1000 + 30_000),
        Selection(from_micros=START_NS // 1000 + 30_000, to_micros=START_NS // 1000 + 60_000, agent_id="agent-1"),
        Selection(agent_id="nobody"),
        *(Selection(query=query) for query in QUERIES),
        Selection(rule="no.rule"),
    ],
    ids=str,
)
async def test_the_index_never_hides_a_decision_that_is_selected(history: SqliteHistory, selection: Selection) -> None:
    everywhere = await everything(history)
    found = await everything(history, selection)
    assert await held(history, selection, found) == await held(history, selection, everywhere)
    assert len(found) == await history.count(selection, until=(await history.head()).size)


async def test_what_leaves_out_and_what_wants_the_same_are_all_decisions(history: SqliteHistory) -> None:
    everywhere = await everything(history)
    whole = await held(history, ALL, everywhere)
    parted = 0
    for query in (query for query in QUERIES if " " not in query and not query.startswith("-")):
        wanted = await held(history, Selection(query=query), everywhere)
        rest = await held(history, Selection(query=f"-{query}"), everywhere)
        assert sorted(wanted + rest) == whole
        parted += bool(wanted and rest)
    assert parted > 5


async def test_traces_are_found_by_their_ids(history: SqliteHistory) -> None:
    shared = digest(b"shared0")[:32]
    found = await everything(history, Selection(trace_ids=(shared, "0" * 32)))
    assert len(found) == 12
    assert [one.index for one in await history.of_trace(shared)] == sorted(place.index for place in found)
    assert await history.of_trace("0" * 32) == []


async def test_strata_part_decisions_by_agent_outcome_and_rules(history: SqliteHistory) -> None:
    until = (await history.head()).size
    strata = await history.strata(ALL, most=10_000, until=until)
    assert sum(map(len, strata.values())) == 120
    assert len(strata) > 10
    assert await history.strata(Selection(agent_id="nobody"), most=10_000, until=until) == {}


async def test_a_decision_is_found_by_its_id(history: SqliteHistory) -> None:
    found = await history.decision("dec-00000000000000000007")
    assert (found.agent_id, found.tools, found.doubt) == ("agent-3", ("mail/tool1",), None)
    with pytest.raises(NotFoundError):
        await history.decision("dec-nothing")


def spoil(path: Path, *statements: str) -> None:
    with apsw.Connection(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "doubt"),
    [
        ("DELETE FROM document", Doubt.DOCUMENT_MISSING),
        ("UPDATE document SET bytes = x'7b7d'", Doubt.DOCUMENT_ALTERED),
        ("UPDATE document SET bytes = CAST('not json' AS BLOB)", Doubt.DOCUMENT_ALTERED),
        ("""UPDATE document SET bytes = CAST('{"a":{"$masked":"x"}}' AS BLOB)""", Doubt.DOCUMENT_MASKED),
        (ALTERED, Doubt.RECORD_ALTERED),
        ("DELETE FROM event", Doubt.RECORD_ALTERED),
    ],
    ids=["erased", "changed", "garbage", "masked", "altered record", "no record"],
)
async def test_what_was_changed_since_is_never_taken_for_what_was_decided(
    history: SqliteHistory, path: Path, statement: str, doubt: Doubt
) -> None:
    spoil(path, statement)
    found = await history.decision("dec-00000000000000000007")
    assert found.doubt is doubt
    assert len(await everything(history)) == 120
    if doubt is Doubt.RECORD_ALTERED:
        assert found.agent_id == ""
        # Whoever looks for other decisions is told of this one too: nobody knows what it was.
        assert Selection(agent_id="agent-3", outcome="DENY").holds(found)


async def test_history_cannot_be_written(history: SqliteHistory) -> None:
    with pytest.raises(LogUnavailableError):
        await history._readers.run(lambda connection: connection.execute("DELETE FROM event"))


async def test_without_a_log_there_is_no_history(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailableError, match="no log"):
        open_history(tmp_path / "nothing.db")


async def test_a_record_that_lacks_everything_is_read_all_the_same() -> None:
    bare = RecordedDecision(1, {}, b"", {})
    assert (bare.agent_id, bare.rules, bare.tools, bare.step_ids, bare.decided_at_micros) == ("", (), (), (), 0)
    assert not Selection(agent_id="a").holds(bare)
    assert ALL.holds(bare)
