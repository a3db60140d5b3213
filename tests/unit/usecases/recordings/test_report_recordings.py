"""The report counts each call once, in its time, and nothing as allowed that policy did not allow."""

from __future__ import annotations

from pathlib import Path

import pytest
from aisecops_server.adapters.sqlite.recorded_traces import SqliteRecordedTraces
from aisecops_server.domain.errors import InvalidRequestError, NotFoundError
from aisecops_server.domain.plans.provenance import SourceKind
from aisecops_server.domain.recordings.recorded_report import Window, report_json, report_markdown
from aisecops_server.domain.recordings.recorded_trace import Evaluation, RecordedCall, RecordedPrompt, RecordedTrace
from aisecops_server.usecases.recordings.report_recordings import ReportRecordings

REVISION = "f" * 40
PROMPT = (RecordedPrompt(SourceKind.USER_PROMPT, "do it"),)


def trace(number: int, *calls: RecordedCall, prompts: tuple[RecordedPrompt, ...] = PROMPT) -> RecordedTrace:
    return RecordedTrace(f"{number:032x}", "agent", "", "production", prompts, calls)


def call(span: str, at: int, tool: str = "crm/read", arguments: str = "{}") -> RecordedCall:
    return RecordedCall(span, tool, arguments, None, at)


def evaluation(number: int, span: str, outcome: str, *rules: str, revision: str = REVISION) -> Evaluation:
    return Evaluation(f"{number:032x}", span, "agent", "crm/read", revision, outcome, rules, f"dec-{span}")


async def store_in(root: Path) -> SqliteRecordedTraces:
    store = SqliteRecordedTraces(root / "traces.db")
    await store.add(
        [
            trace(1, call("a", 10), call("b", 20, "crm/wipe"), call("c", 30)),
            trace(2, call("d", 40, "pay|er\x1b[31m"), call("e", 50, arguments=""), prompts=()),
        ]
    )
    await store.record(
        [
            evaluation(1, "a", "ALLOW"),
            evaluation(1, "b", "DENY", "capability.tool_undeclared", "x.y"),
            evaluation(2, "d", "REQUIRE_APPROVAL", "x.y"),
            evaluation(2, "e", ""),
        ]
    )
    return store


@pytest.mark.asyncio
async def test_each_call_is_counted_once_and_what_is_not_known_is_unknown(tmp_path: Path) -> None:
    store = await store_in(tmp_path)
    document = report_json(await ReportRecordings(store)(Window()))
    await store.close()
    assert (document["revision"], document["traces"], document["tracesHit"], document["calls"]) == (REVISION, 2, 2, 5)
    assert document["outcomes"] == {"ALLOW": 1, "REQUIRE_APPROVAL": 1, "DENY": 1, "UNKNOWN": 2}
    assert document["coverage"] == {"withoutPrompts": 2, "withoutArguments": 1, "unknownToPolicy": 1}
    assert [row["name"] for row in document["rules"]] == ["x.y", "capability.tool_undeclared", "no rule objected"]
    assert [sample["decisionId"] for sample in document["samples"]] == ["dec-b", "dec-d"]
    for rows in (document["tools"], document["agents"]):
        assert sum(row[outcome] for row in rows for outcome in document["outcomes"]) == 5


@pytest.mark.asyncio
@pytest.mark.parametrize(("since", "until", "calls"), [(0, 0, 5), (20, 0, 4), (0, 20, 1), (20, 50, 3), (60, 0, 0)])
async def test_a_time_has_its_beginning_and_not_its_end(tmp_path: Path, since: int, until: int, calls: int) -> None:
    store = await store_in(tmp_path)
    report = await ReportRecordings(store)(Window(since, until))
    await store.close()
    assert report.calls == calls


@pytest.mark.asyncio
async def test_the_policy_is_the_only_one_or_the_one_that_is_named(tmp_path: Path) -> None:
    store = SqliteRecordedTraces(tmp_path / "traces.db")
    ask = ReportRecordings(store)
    with pytest.raises(NotFoundError):
        await ask(Window())
    await store.close()
    (tmp_path / "two").mkdir()
    store = await store_in(tmp_path / "two")
    await store.record([evaluation(1, "a", "DENY", "x.y", revision="e" * 40)])
    ask = ReportRecordings(store)
    with pytest.raises(InvalidRequestError, match="several policies"):
        await ask(Window())
    assert (await ask(Window(), revision="eeee")).outcomes["DENY"] == 1
    with pytest.raises(NotFoundError):
        await ask(Window(), revision="0000")
    await store.close()


@pytest.mark.asyncio
async def test_a_name_from_a_trace_does_not_break_the_page(tmp_path: Path) -> None:
    store = await store_in(tmp_path)
    page = report_markdown(report_json(await ReportRecordings(store)(Window())))
    await store.close()
    assert "\x1b" not in page
    assert "pay\\|er�[31m" in page
    assert "1 blocked, 1 escalated, 1 allowed, 2 unknown" in page
