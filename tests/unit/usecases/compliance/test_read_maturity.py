"""What records make of phases: every question by itself, and the phase that they come to together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aisecops_server.domain.agents.maturity import (
    AdoptionRecords,
    DecisionFact,
    Evidence,
    GrantFact,
    IncidentFact,
    Judged,
    MaturityPhase,
    Reference,
    RequestFact,
    percent,
)
from aisecops_server.domain.approvals.approval import ApprovalState
from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.grants.grant import GrantState
from aisecops_server.domain.replays.replay import ReplayId, ReplayRecord, ReplayState
from aisecops_server.usecases.compliance.read_maturity import MaturityReport, ReadMaturity

from tests.fakes.adoption import FixedPlaces, FixedRecords
from tests.fakes.checkpoints import publishing
from tests.fakes.clock import FakeClock
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.policy_engine import fake_bundle
from tests.fakes.replays import no_replays

ADA, BOB = "ada", "bob"
DAY = 24 * 60 * 60 * 1_000_000_000
TABLE: Mapping[str, Any] = {
    "window_days": 7,
    "records": 100,
    "observed": {"registered_percent": 100, "decisions": 1},
    "enforced": {"enforced_percent": 90, "observed_rules": 0, "answered_percent": 50},
    "controlled": {"limited_percent": 100, "reported_percent": 90, "replay_days": 3},
    "assured": {"witnesses": 0, "incidents": 0, "enforcement_points": 2},
}
ENTRY = {
    "owner": "support",
    "contact": "support@corp.example",
    "framework": "x",
    "environments": {},
    "capabilities": {},
    "profile": "service",
    "limited": True,
}
GOOD = AdoptionRecords(
    decisions=(DecisionFact(7, "t-1", ADA, "ENFORCE", "enforce"),),
    grants=(
        GrantFact("t-1", ADA, GrantState.EXECUTED, ADA),
        GrantFact("t-2", ADA, GrantState.FAILED, "tool server"),
        GrantFact("t-3", ADA, GrantState.ISSUED),
    ),
    requests=(RequestFact("t-1", ADA, ApprovalState.CONSUMED),),
)
CLOCK = FakeClock()
LATE = ApprovalState.EXPIRED


def bundle(**tables: Any) -> Bundle:
    held: dict[str, Any] = {"agents": {ADA: ENTRY}, "modes": {"rules": {}}, "maturity": TABLE, **tables}
    return replace(fake_bundle(), tables=held)


def replay(*, days: int = 1, trusted: bool = True, **selection: str) -> ReplayRecord:
    return ReplayRecord(
        id=ReplayId(f"rpl-{days:024d}"),
        question={"selection": selection},
        state=ReplayState.DONE,
        asked_by="sec",
        started_at_ns=CLOCK.now_ns() - days * DAY,
        finished_at_ns=CLOCK.now_ns() - days * DAY,
        report={"fidelity": {"trustworthy": trusted}},
    )


def read(
    tmp_path: Path, records: AdoptionRecords = GOOD, live: Bundle | None = None, replays: tuple[ReplayRecord, ...] = ()
) -> MaturityReport:
    async def asked() -> MaturityReport:
        cases = no_replays()
        for one in replays:
            await cases.reads.store.save(one)
        log = MemoryEventLog()
        publish = publishing(tmp_path, log)
        await publish()
        places = FixedPlaces({("agents", ADA): "data/agents.yaml:4", ("modes", "rules", "budget"): "data/modes.yaml:9"})
        answer = ReadMaturity(
            lambda: live or bundle(), FixedRecords(records), places, publish, cases.reads, clock=CLOCK
        )
        return await answer()

    return asyncio.run(asked())


def one(report: MaturityReport, name: str) -> Judged:
    [found] = [judged for judged in report.overall.judged if judged.criterion.name == name]
    return found


def test_where_everything_is_as_it_takes_the_last_phase_is_reached(tmp_path: Path) -> None:
    report = read(tmp_path, replays=(replay(),))
    assert [judged.criterion.name for judged in report.overall.judged if not judged.is_met] == []
    assert (report.overall.phase, report.agents[0].phase, report.agents[0].owner) == (
        MaturityPhase.ASSURED,
        MaturityPhase.ASSURED,
        "support",
    )
    assert one(report, "registered_percent").measured.evidence == (Evidence(Reference.POLICY, "data/agents.yaml:4"),)
    assert one(report, "decisions").measured.evidence == (Evidence(Reference.TRACE, "t-1", 7),)


@pytest.mark.parametrize(
    ("name", "records", "value", "phase"),
    [
        (
            "registered_percent",
            replace(GOOD, decisions=(*GOOD.decisions, DecisionFact(9, "t-9", BOB, "ENFORCE", "enforce"))),
            50,
            MaturityPhase.UNGOVERNED,
        ),
        ("decisions", replace(GOOD, decisions=()), 0, MaturityPhase.UNGOVERNED),
        (
            "enforced_percent",
            replace(GOOD, decisions=(*GOOD.decisions, DecisionFact(9, "t-9", ADA, "ENFORCE", "observe"))),
            50,
            MaturityPhase.OBSERVED,
        ),
        (
            "enforced_percent",
            replace(GOOD, decisions=(DecisionFact(9, "t-9", ADA, "DRY_RUN", "enforce"),)),
            0,
            MaturityPhase.OBSERVED,
        ),
        (
            "answered_percent",
            replace(
                GOOD,
                requests=tuple(RequestFact("t-1", ADA, state) for state in (LATE, LATE, ApprovalState.GRANTED)),
            ),
            33,
            MaturityPhase.OBSERVED,
        ),
        (
            "reported_percent",
            replace(GOOD, grants=(*GOOD.grants, GrantFact("t-4", ADA, GrantState.EXPIRED_UNKNOWN, ADA))),
            66,
            MaturityPhase.ENFORCED,
        ),
        ("reported_percent", replace(GOOD, grants=GOOD.grants[2:]), None, MaturityPhase.ENFORCED),
        ("incidents", replace(GOOD, incidents=(IncidentFact(3, "t-2", ADA),)), 1, MaturityPhase.CONTROLLED),
        ("enforcement_points", replace(GOOD, grants=GOOD.grants[:1]), 1, MaturityPhase.CONTROLLED),
    ],
)
def test_each_figure_keeps_from_the_phase_that_takes_it(
    tmp_path: Path, name: str, records: AdoptionRecords, value: int | None, phase: MaturityPhase
) -> None:
    report = read(tmp_path, records, replays=(replay(),))
    judged = one(report, name)
    assert (judged.measured.value, judged.is_met, report.overall.phase) == (value, False, phase)


def test_what_policy_only_observes_and_does_not_limit_is_named_by_its_place(tmp_path: Path) -> None:
    report = read(
        tmp_path,
        live=bundle(
            agents={ADA: {**ENTRY, "limited": False}}, modes={"rules": {"budget": "observe", "mcp": "enforce"}}
        ),
    )
    rules = one(report, "observed_rules")
    assert (rules.measured.value, rules.measured.note, rules.is_met) == (1, "budget", False)
    assert rules.measured.evidence == (Evidence(Reference.POLICY, "data/modes.yaml:9"),)
    assert one(report, "limited_percent").measured.value == 0


def test_only_a_trusted_replay_of_everything_counts_and_only_for_days(tmp_path: Path) -> None:
    narrow = (replay(days=1, tool="bank/pay"), replay(days=2, trusted=False), replay(days=3))
    assert one(read(tmp_path, replays=narrow), "replay_days").measured.value == 3
    assert one(read(tmp_path, replays=(replay(days=4),)), "replay_days").is_met is False
    own = read(tmp_path, replays=(replay(days=1, agent_id=ADA),))
    assert one(own, "replay_days").measured.value is None
    [ada] = own.agents
    assert [j.measured.value for j in ada.judged if j.criterion.name == "replay_days"] == [1]


def test_nobody_who_waits_is_no_reason_to_stay_and_no_other_agents_records_count(tmp_path: Path) -> None:
    nothing = replace(GOOD, requests=(RequestFact("t-1", ADA, ApprovalState.REQUESTED),))
    answered = one(read(tmp_path, nothing), "answered_percent")
    assert (answered.measured.applies, answered.is_met) == (False, True)
    others = read(tmp_path, live=bundle(agents={ADA: ENTRY, BOB: ENTRY}), replays=(replay(),))
    assert [(agent.agent_id, agent.phase) for agent in others.agents] == [
        (ADA, MaturityPhase.ASSURED),
        (BOB, MaturityPhase.UNGOVERNED),
    ]


def test_a_share_is_whole_only_when_it_is() -> None:
    assert (percent(999, 1000), percent(1000, 1000), percent(0, 3)) == (99, 100, 0)
