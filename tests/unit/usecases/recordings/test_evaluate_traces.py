"""Evaluation gives each call exactly the context it had, and goes on where it stopped."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import pytest_asyncio
from aisecops_server.adapters.sqlite.recorded_traces import SqliteRecordedTraces
from aisecops_server.domain.decisions.decision import Mode
from aisecops_server.domain.errors import EngineUnavailableError, LogUnavailableError
from aisecops_server.domain.log.record import Receipt
from aisecops_server.domain.plans.provenance import SourceKind
from aisecops_server.domain.recordings.recorded_trace import RecordedCall, RecordedPrompt, RecordedTrace
from aisecops_server.usecases.decisions.decide import Decided
from aisecops_server.usecases.recordings.evaluate_traces import EvaluateTraces
from aisecops_server.usecases.recordings.import_traces import ImportTraces

REVISION = "f" * 40


class Engines:
    """A live revision, and nothing else."""

    def current(self):
        return SimpleNamespace(bundle=SimpleNamespace(revision=REVISION))


class Decider:
    """Denies what deletes, remembers what it was asked, and fails when told to."""

    def __init__(self):
        self.asked = []
        self.failing = False

    async def batch(self, commands):
        self.asked.extend(commands)
        if self.failing:
            return [EngineUnavailableError("no engine", hint="Start one") for _ in commands]
        return [self._decided(command) for command in commands]

    def _decided(self, command):
        bad = command.plan.steps[0].tool.endswith("delete")
        findings = [{"rule": "x.y"}, {"rule": "x.y"}] if bad else []
        details = {"decision_id": "d", "outcome": "DENY" if bad else "ALLOW", "findings": findings}
        return Decided(details, Receipt("e", 0, b""))


class FullStore:
    """A store that can be read and not written."""

    def __init__(self, held):
        self.calls, self.page, self.evaluated = held.calls, held.page, held.evaluated

    async def record(self, evaluations):
        raise LogUnavailableError("disk full", hint="Make room")


def trace(number, *calls):
    prompts = (RecordedPrompt(SourceKind.SYSTEM_PROMPT, "be kind"), RecordedPrompt(SourceKind.USER_PROMPT, "find it"))
    return RecordedTrace(f"{number:032x}", "agent", "conversation", "production", prompts, calls)


def call(span, tool="desk/find", arguments='{"q": 1}', result="found"):
    return RecordedCall(span, tool, arguments, result, int(span[1:]))


@pytest_asyncio.fixture
async def store(tmp_path):
    held = SqliteRecordedTraces(tmp_path / "traces.db")
    yield held
    await held.close()


@pytest.mark.asyncio
async def test_a_call_sees_what_came_before_it_and_nothing_else(store):
    decider = Decider()
    calls = (call("s1"), call("s2", result=None), call("s3", "desk/delete"))
    await ImportTraces(store)([trace(1, *calls)])
    await EvaluateTraces(store, decider, Engines())()
    plans = [command.plan for command in decider.asked]
    assert [[source.id for source in plan.sources] for plan in plans] == [
        ["prompt-1", "prompt-2"],
        ["prompt-1", "prompt-2", "result-s1"],
        ["prompt-1", "prompt-2", "result-s1"],
    ]
    assert [[past.id for past in plan.history] for plan in plans] == [[], ["s1"], ["s1", "s2"]]
    assert plans[1].sources[2].name == '{"q":1}'
    assert {command.mode for command in decider.asked} == {Mode.DRY_RUN}
    assert {command.principal.id for command in decider.asked} == {"agent"}
    assert not any(past.observed for plan in plans for past in plan.history)


@pytest.mark.asyncio
async def test_outcomes_are_counted_by_agent_tool_and_rule(store):
    await ImportTraces(store)([trace(1, call("s1"), call("s2", "desk/delete")), trace(2, call("s1"))])
    steps = []
    evaluated = await EvaluateTraces(store, Decider(), Engines(), page_traces=1)(lambda *step: steps.append(step))
    assert (evaluated.revision, evaluated.decided, evaluated.skipped, evaluated.failed) == (REVISION, 3, 0, 0)
    assert [(tally.tool, tally.outcome, tally.rules, tally.calls) for tally in evaluated.tallies] == [
        ("desk/delete", "DENY", ("x.y",), 1),
        ("desk/find", "ALLOW", (), 2),
    ]
    assert steps == [(2, 3), (3, 3)]


@pytest.mark.asyncio
async def test_what_is_decided_is_not_decided_again(store):
    decider = Decider()
    await ImportTraces(store)([trace(1, call("s1"))])
    await EvaluateTraces(store, decider, Engines())()
    await ImportTraces(store)([trace(1, call("s1"), call("s2"))])
    evaluated = await EvaluateTraces(store, decider, Engines())()
    assert (evaluated.decided, evaluated.skipped, len(decider.asked)) == (1, 1, 2)


@pytest.mark.asyncio
async def test_what_could_not_be_decided_is_kept_as_such_and_tried_again(store):
    decider = Decider()
    decider.failing = True
    await ImportTraces(store)([trace(1, call("s1"))])
    failed = await EvaluateTraces(store, decider, Engines())()
    (kept,) = await store.evaluations(REVISION)
    decider.failing = False
    again = await EvaluateTraces(store, decider, Engines())()
    assert (failed.failed, kept.outcome, kept.error) == (1, "", "no engine. Start one")
    assert (again.decided, again.failed) == (1, 0)


@pytest.mark.asyncio
async def test_a_call_with_malformed_arguments_is_reported_and_stops_nothing(store):
    await ImportTraces(store)([trace(1, call("s1", arguments='{"a": 1, "a": 2}')), trace(2, call("s1"))])
    evaluated = await EvaluateTraces(store, Decider(), Engines())()
    problems = [item.error for item in await store.evaluations(REVISION) if not item.outcome]
    assert (evaluated.decided, evaluated.failed) == (1, 1)
    assert len(problems) == 1
    assert "arguments" in problems[0]


@pytest.mark.asyncio
async def test_a_store_that_fails_ends_the_evaluation_with_its_own_error(store):
    await ImportTraces(store)([trace(number, call("s1")) for number in range(6)])
    with pytest.raises(LogUnavailableError, match="disk full"):
        await EvaluateTraces(FullStore(store), Decider(), Engines(), page_traces=1)()
