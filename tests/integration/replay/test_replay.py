"""Replay as a library, on everything real: log, Git, bundles, OPA. What a policy author asks, and what comes back."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from aisecops_server.adapters.git.shipped import shipped_policy
from aisecops_server.adapters.sqlite.event_log import open_log_read_only
from aisecops_server.demo.change import TABLE
from aisecops_server.domain.errors import (
    BundleRejectedError,
    EngineUnavailableError,
    InvalidRequestError,
    NotFoundError,
    UnknownRevisionError,
)
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.replays.replay import Phase, ReplayId, ReplayState, Selection
from aisecops_server.usecases.replays.judge_decisions import Thoroughness
from aisecops_server.usecases.replays.read_replays import ResultFilter
from aisecops_server.usecases.replays.resolve_policy import WantedPolicy
from aisecops_server.usecases.replays.run_replays import ReplayCommand

from tests.scenes.replays.replays import Recorded, classes, copy_of, open_replaying, record, replayed

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]

RULE = "rego/aisecops/rules/provenance/destination_dictated/destination_dictated.rego"
LIMIT = "approvals.tools.crm/issue_refund.amount_over"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Eighteen decisions on the first commit; then a table was edited, and branches go other ways."""
    recorded = asyncio.run(record(tmp_path_factory.mktemp("replay")))
    recorded.edit_limits()
    return recorded


@pytest.fixture
def history(made: Recorded, tmp_path: Path) -> Recorded:
    """The same with a memory of its own, so that no test knows what another found."""
    return copy_of(made, tmp_path / "copy")


async def test_a_changed_table_flips_two_decisions_one_each_way_and_says_which_row(history: Recorded) -> None:
    async with open_replaying(history) as replaying:
        done = await replayed(replaying, WantedPolicy(revision="main"))
        page = await replaying.reads.results(done.id, ResultFilter(), page_size=50, page_token="")
    assert done.state is ReplayState.DONE
    assert classes(done)["OUTCOME_FLIP"] == 2
    assert done.report is not None
    assert (done.report["looser"], done.report["stricter"], done.report["risky"]) == (1, 1, 0)
    assert done.report["compared"] == len(history.decided)
    assert done.report["fidelity"]["trustworthy"]
    assert done.report["fidelity"]["checked"] == len(history.decided)
    (policy,) = done.report["policies"]
    assert {change["subject"] for change in policy["changes"]} == {
        LIMIT,
        "approvals.tools.payments/create_transfer.amount_over",
    }
    limit = next(change for change in policy["changes"] if change["subject"] == LIMIT)
    line = history.text(TABLE).splitlines().index("  crm/issue_refund:") + 3
    assert limit["before"] == {"file": TABLE, "line": line, "text": "100"}
    assert limit["after"] == {"file": TABLE, "line": line, "text": "50"}
    flips = {result["decision_id"]: result for result in page.results if result["verdict_class"] == "OUTCOME_FLIP"}
    refund = flips[history.decision("refund-lost-parcel")]
    assert (refund["before"], refund["after"], refund["direction"]) == ("ALLOW", "REQUIRE_APPROVAL", "STRICTER")
    assert [firing["rule"] for firing in refund["fires_now"]] == ["approval.amount_over_limit"]


async def test_flips_are_grouped_by_the_clause_that_changed_looser_ones_first(history: Recorded) -> None:
    async with open_replaying(history) as replaying:
        done = await replayed(replaying, WantedPolicy(revision="main"))
        told = await replaying.groups(done.id)
        looser, stricter = [group for group in told.groups if group.key.direction]
        pages = [
            await replaying.reads.results(done.id, ResultFilter(group_id=name), page_size=50, page_token="")
            for name in (looser.key.id, stricter.key.id, "grp-0")
        ]
        why = await replaying.why(done.id, decision_id=stricter.examples[0])
    assert told.whole
    assert (looser.key.direction, stricter.key.direction) == ("LOOSER", "STRICTER")
    # Two rows of one file changed, and the same rule reads both: each flip has its own.
    assert looser.key.no_longer == stricter.key.fires_now == ("approval.amount_over_limit",)
    [clause] = stricter.key.clauses
    assert (clause["subject"], clause["after"]["file"]) == (LIMIT, TABLE)
    assert clause["after"]["line"] > 0
    assert [change["subject"] for change in looser.key.clauses] != [LIMIT]
    # What is read off the names agrees with what is found by evaluating.
    assert clause == why["changes"][0]["causes"][0]["change"]
    assert [[one["decision_id"] for one in page.results] for page in pages] == [looser.examples, stricter.examples, []]
    assert sum(group.count for group in told.groups) == sum(
        count for kind, count in classes(done).items() if kind != "SAME"
    )


async def test_of_a_replay_that_is_not_there_there_are_no_groups(history: Recorded) -> None:
    async with open_replaying(history) as replaying:
        with pytest.raises(NotFoundError):
            await replaying.groups(ReplayId("rpl-0"))


async def test_two_runs_give_the_same_bytes_and_the_second_evaluates_nothing(history: Recorded, tmp_path: Path) -> None:
    elsewhere = copy_of(history, tmp_path / "other")
    async with open_replaying(history) as replaying:
        first = await replayed(replaying, WantedPolicy(revision="main"))
        again = await replayed(replaying, WantedPolicy(revision="main"), thoroughness=Thoroughness.EVERYTHING)
    async with open_replaying(elsewhere) as replaying:
        apart = await replayed(replaying, WantedPolicy(revision="main"))
    assert first.id == again.id == apart.id
    assert canonical_bytes(first.report) == canonical_bytes(again.report) == canonical_bytes(apart.report)
    assert canonical_bytes(first.early) == canonical_bytes(apart.early)
    assert again.progress.evaluated >= 18


async def test_the_same_question_is_answered_from_what_was_kept(history: Recorded) -> None:
    async with open_replaying(history) as replaying:
        await replayed(replaying, WantedPolicy(revision="main"))
        started = await replaying.runs.start(ReplayCommand(Selection(), WantedPolicy(revision="main"), "somebody else"))
        # Another selection of the same decisions is another question, but no evaluation.
        agent = next(iter(history.decided.values())).details["principal"]["id"]
        narrowed = await replayed(replaying, WantedPolicy(revision="main"), selection=Selection(agent_id=str(agent)))
    assert started.state is ReplayState.DONE
    assert narrowed.progress.evaluated == 0
    assert narrowed.report is not None
    assert narrowed.report["compared"] > 0


async def test_a_replay_reads_the_log_and_leaves_it_as_it_was(history: Recorded) -> None:
    async def head() -> object:
        log = open_log_read_only(history.settings.log_path)
        try:
            return await log.head()
        finally:
            await log.close()

    before = await head(), history.settings.log_path.read_bytes()
    async with open_replaying(history) as replaying:
        await replayed(replaying, WantedPolicy(revision="main"))
        await replayed(replaying, WantedPolicy(changes=(f"{LIMIT}=1",)))
    assert (await head(), history.settings.log_path.read_bytes()) == before


async def test_an_early_answer_comes_before_the_full_one_and_adds_up(history: Recorded) -> None:
    phases = []
    async with open_replaying(history) as replaying:
        started = await replaying.runs.start(ReplayCommand(Selection(), WantedPolicy(revision="main"), "tester"))
        async for seen in replaying.runs.watch(started.id):
            phases.append((seen.progress.phase, seen.early is not None, seen.report is not None))
            last = seen
    assert last.early is not None
    assert last.early["sampled"]
    assert sum(entry["count"] for entry in last.early["classes"]) == last.early["selected"] == 18
    first_early = next(at for at, phase in enumerate(phases) if phase[1])
    assert not any(done for _, _, done in phases[: first_early + 1])
    assert phases[-1] == (Phase.ALL, True, True)


async def test_formatting_comments_and_descriptions_are_no_change_and_nothing_is_evaluated(history: Recorded) -> None:
    rego = history.text(RULE).replace("findings contains finding if {", "# Why.\n\nfindings contains finding if {\n")
    tools = history.text("data/tools.yaml").replace("description: ", "description: Really, ", 1)
    history.commit({TABLE: shipped_policy()[TABLE]})
    history.commit({RULE: rego.encode(), "data/tools.yaml": b"# Tools.\n" + tools.encode()}, "Only words")
    async with open_replaying(history) as replaying:
        done = await replayed(replaying, WantedPolicy(revision="main"))
    assert classes(done) == {"SAME": 18}
    assert done.progress.evaluated == 0
    assert done.report is not None
    assert done.report["policies"][0]["changes"] == []
    assert done.report["fidelity"]["trustworthy"]


async def test_a_rule_that_is_removed_lets_through_what_it_refused_and_is_named_risky(history: Recorded) -> None:
    loose = history.text(RULE).replace('judgement.class == "dictated"', 'judgement.class == "never"')
    files = {path: (history.policy / path).read_bytes() for path in _policy_files(history)}
    async with open_replaying(history) as replaying:
        draft = WantedPolicy(files={**files, RULE: loose.encode()})
        done = await replayed(replaying, draft)
    assert done.report is not None
    assert done.question["candidate"]["name"] == "working copy"
    assert done.report["risky"] >= 1
    assert done.report["transitions"][0] == {"before": "DENY", "after": "ALLOW", "count": done.report["risky"]}
    changed = [change for change in done.report["policies"][0]["changes"] if change["kind"] == "RULE_CHANGED"]
    assert [(change["subject"], change["clause"]) for change in changed] == [
        ("provenance.destination_dictated", "suspects")
    ]
    assert "never" in changed[0]["after"]["text"]
    gone = next(rule for rule in done.report["rules"] if rule["rule"] == "provenance.destination_dictated")
    assert gone["no_longer"] >= done.report["risky"]


async def test_a_changed_value_without_a_commit_is_judged_on_each_decisions_own_policy(history: Recorded) -> None:
    async with open_replaying(history) as replaying:
        done = await replayed(replaying, WantedPolicy(changes=(f"{LIMIT}=50",)))
        nothing = await replayed(replaying, WantedPolicy(changes=(f"{LIMIT}=100",)))
        for text in ("approvals.tools.crm/no_such_tool.amount_over=1", f"{LIMIT}=plenty", "agents.nobody.budget=none"):
            failed = await replayed(replaying, WantedPolicy(changes=(text,)))
            assert (failed.state, failed.reason) == (ReplayState.FAILED, "BUNDLE_REJECTED"), text
    assert classes(done)["OUTCOME_FLIP"] == 1
    assert classes(nothing) == {"SAME": 18}
    # What stands in no commit can be found by no commit.
    assert not list((history.settings.state_dir / "bundles" / "revisions").glob(f"{done.question['candidate']}*"))


async def test_another_revision_can_be_the_baseline(history: Recorded) -> None:
    async with open_replaying(history) as replaying:
        back = await replayed(replaying, WantedPolicy(revision=history.first), baseline=WantedPolicy(revision="main"))
        same = await replayed(replaying, WantedPolicy(revision="main"), baseline=WantedPolicy(revision="main"))
    assert back.report is not None
    assert (back.report["looser"], back.report["stricter"]) == (1, 1)
    assert classes(same) == {"SAME": 18}


@pytest.mark.parametrize(
    ("narrow", "holds"),
    [
        (lambda details: Selection(agent_id=details["principal"]["id"]), lambda _: True),
        (lambda _: Selection(outcome="DENY"), lambda result: result["outcome"] == "DENY"),
        (lambda _: Selection(outcome="ALLOW"), lambda result: result["outcome"] == "ALLOW"),
        (lambda _: Selection(tool="crm/issue_refund"), lambda _: True),
        (
            lambda _: Selection(rule="provenance.destination_dictated"),
            lambda result: "provenance.destination_dictated" in {found["rule"] for found in result["findings"]},
        ),
        (lambda _: Selection(trust="external"), lambda _: True),
        (lambda _: Selection(mode="ENFORCE"), lambda _: True),
        (lambda details: Selection(revision=details["bundle_revision"]), lambda _: True),
        (lambda _: Selection(query="tool:crm/*"), lambda _: True),
        (
            lambda _: Selection(query="trust:<internal -outcome:allowed -rule:budget.*"),
            lambda result: result["outcome"] != "ALLOW" and {"external", "unverified"} & {*result["trust"].values()},
        ),
        (lambda details: Selection(trace_ids=(details["trace_id"],)), lambda _: True),
        (lambda details: Selection(from_micros=details["decided_at_micros"]), lambda _: True),
        (lambda details: Selection(to_micros=details["decided_at_micros"] + 1), lambda _: True),
    ],
    ids=[
        "agent",
        "outcome",
        "allowed",
        "tool",
        "rule",
        "trust",
        "mode",
        "revision",
        "begins",
        "query",
        "trace",
        "from",
        "to",
    ],
)
async def test_a_selection_narrows_to_exactly_what_it_says(
    history: Recorded, narrow: Callable[..., Selection], holds: Callable[..., bool]
) -> None:
    refund = history.decided["refund-lost-parcel"].details
    selection = narrow(refund)
    async with open_replaying(history) as replaying:
        read = await _all_decisions(replaying)
        expected = [decision for decision in read if selection.holds(decision)]
        done = await replayed(replaying, WantedPolicy(revision=history.first), selection=selection)
    assert 0 < len(expected) <= 18
    assert all(holds(decision.details) for decision in expected)
    assert done.report is not None
    assert done.report["compared"] == len(expected)


async def test_a_replay_that_is_killed_goes_on_where_it_was_and_says_the_same(tmp_path: Path) -> None:
    recorded = await record(tmp_path / "k", times=4, only=("answer-ticket", "refund-lost-parcel", "release"))
    recorded.edit_limits()
    apart = copy_of(recorded, tmp_path / "apart")
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.scenes.replays.interrupted_replay", str(recorded.root), "2"),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    async for line in program.stdout:
        if int(line) >= 4:
            program.kill()
            break
    assert await program.wait() == -signal.SIGKILL
    async with open_replaying(recorded, part_decisions=2) as again:
        [left] = (await again.reads.page(page_size=5, page_token="")).replays
        resumed = await replayed(again, WantedPolicy(revision="main"))
    async with open_replaying(apart, part_decisions=2) as whole:
        straight = await replayed(whole, WantedPolicy(revision="main"))
    assert left.state is ReplayState.INTERRUPTED
    assert resumed.id == left.id == straight.id
    assert (resumed.state, resumed.progress.evaluated) == (ReplayState.DONE, 0)
    assert canonical_bytes(resumed.report) == canonical_bytes(straight.report)
    assert canonical_bytes(resumed.early) == canonical_bytes(straight.early)


async def test_a_cancelled_replay_keeps_what_it_found_and_goes_on_from_there(tmp_path: Path) -> None:
    recorded = await record(tmp_path / "many", times=4, only=("answer-ticket", "refund-lost-parcel", "release"))
    recorded.edit_limits()
    async with open_replaying(recorded, part_decisions=2) as small:
        started = await small.runs.start(ReplayCommand(Selection(), WantedPolicy(revision="main"), "tester"))
        async for seen in small.runs.watch(started.id):
            if 0 < seen.progress.done < seen.progress.total:
                await small.runs.cancel(started.id)
        stopped = await small.reads.one(started.id)
        assert stopped.state is ReplayState.CANCELLED
        again = await replayed(small, WantedPolicy(revision="main"))
    assert again.id == started.id
    assert again.state is ReplayState.DONE
    assert again.progress.reused >= stopped.progress.done > 0
    assert classes(again) == {"SAME": 8, "OUTCOME_FLIP": 4}


async def test_a_replay_whose_process_died_is_told_as_interrupted(history: Recorded) -> None:
    async with open_replaying(history) as replaying:
        done = await replayed(replaying, WantedPolicy(revision="main"))
        left = dataclasses.replace(done, state=ReplayState.RUNNING, report=None)
        await replaying.reads.store.save(left)
        assert (await replaying.reads.one(done.id)).state is ReplayState.INTERRUPTED
        assert (await replayed(replaying, WantedPolicy(revision="main"))).state is ReplayState.DONE


async def test_what_cannot_be_asked_is_refused_by_name(history: Recorded) -> None:
    broken = history.commit({RULE: b"package aisecops.rules.provenance.destination_dictated\n\nfindings contains x\n"})
    async with open_replaying(history) as replaying:
        for wanted, error in (
            (WantedPolicy(revision="no-such-branch"), UnknownRevisionError),
            (WantedPolicy(revision="0" * 40), UnknownRevisionError),
            (WantedPolicy(revision=broken), BundleRejectedError),
            (WantedPolicy(), InvalidRequestError),
            (WantedPolicy(revision="main", files={"bundle.yaml": b""}), InvalidRequestError),
            (WantedPolicy(files={"rego/aisecops/../../x.rego": b""}), InvalidRequestError),
            (WantedPolicy(changes=("nothing",)), InvalidRequestError),
            (WantedPolicy(engine="9.9.9"), EngineUnavailableError),
            (WantedPolicy(engine="../../etc"), EngineUnavailableError),
        ):
            with pytest.raises(error):
                await replaying.runs.start(ReplayCommand(Selection(), wanted, "tester"))


async def test_a_selection_of_nothing_is_said_to_be_one(history: Recorded) -> None:
    async with open_replaying(history) as replaying:
        for selection in (Selection(agent_id="nobody"), Selection(trace_ids=("0" * 32,)), Selection(to_micros=1)):
            with pytest.raises(NotFoundError, match="nothing to replay"):
                await replaying.runs.start(ReplayCommand(selection, WantedPolicy(revision="main"), "tester"))
        # What only the decisions themselves can say is found out on the way.
        late = await replayed(replaying, WantedPolicy(revision="main"), selection=Selection(revision="0" * 40))
    assert (late.state, late.reason) == (ReplayState.FAILED, "NOT_FOUND")


def _policy_files(recorded: Recorded) -> list[str]:
    return [
        path.relative_to(recorded.policy).as_posix()
        for path in recorded.policy.rglob("*")
        if path.is_file() and ".git" not in path.parts
    ]


async def _all_decisions(replaying: object) -> list:
    history = replaying.history  # type: ignore[attr-defined]
    head = await history.head()
    places = await history.places(Selection(), after=None, limit=1000, until=head.size)
    return await history.read(places)
