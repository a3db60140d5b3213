"""Counts against a history that was counted by hand, and against callers who would make them many."""

from __future__ import annotations

from typing import Any

from aisecops_server.adapters.metrics.exposition import exposition
from aisecops_server.domain.figures.metrics import METRICS, MOST_SERIES, OTHER, EventCounts
from aisecops_server.domain.replays.drift import DriftReport, PolicyDrift, Reproduced
from aisecops_server.domain.replays.fidelity import Check, Fidelity
from aisecops_server.domain.replays.recorded_decision import Doubt
from aisecops_server.domain.tenants.fair_queue import FairQueue, QueueLoad, Refused, Ticket
from aisecops_server.usecases.log.count_events import Snapshot
from prometheus_client.parser import text_string_to_metric_families

IDLE = QueueLoad(0, 0, {})


def decided(counts: EventCounts, decision: str, *, outcome: str = "DENY", agent: str = "a", **fields: Any) -> None:
    tools = fields.pop("tools", ("mail/send",))
    counts.add("plan.received", decision, {"steps": [{"id": "s1", "tool": tool} for tool in tools]})
    details = {"outcome": outcome, "mode": "ENFORCE", "principal": {"id": agent}, "evaluation_ns": 5, **fields}
    counts.add("decision.concluded", decision, details)


def read(counts: EventCounts, drift: DriftReport | None = None, load: QueueLoad = IDLE) -> dict[tuple[str, ...], float]:
    """Return samples by name and, in the order of their labels' names, values."""
    text = exposition({"default": Snapshot(counts, 7, sealed=False, drift=drift)}, load).decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_history_is_counted_as_by_hand() -> None:
    counts = EventCounts()
    rule = {"rule": "arguments.secret_exposed", "effect": "deny"}
    remark = {"rule": "screen.secret_exposed", "effect": "warn"}
    source = {"kind": "tool_result", "trust": "external"}
    decided(counts, "d1", findings=[rule, rule, remark], sources=[source, source], tools=("mail/send", "mail/send"))
    decided(counts, "d2", findings=[rule], tools=("mail/send", "web/fetch"), agent="b")
    decided(counts, "d3", outcome="ALLOW")
    for kind in ("approval.requested", "approval.voted", "incident.other_tool", "bundle.activated", "drift.found"):
        counts.add(kind, "", {})
    counts.add("execution.failed", "d3", {"tool": "mail/send"})
    counts.add("execution.expired_unknown", "d4", {"tool": "mail/send", "redeemed": True})
    counts.add("execution.expired_unknown", "d5", {"tool": "mail/send", "redeemed": False})
    counts.add("identity.verified", "d3", {})
    found = read(counts)
    assert found["aisecops_decisions_total", "ENFORCE", "DENY"] == 2
    assert found["aisecops_decisions_total", "ENFORCE", "ALLOW"] == 1
    assert (found["aisecops_blocked_plans_total", "a"], found["aisecops_blocked_plans_total", "b"]) == (1, 1)
    assert found["aisecops_blocked_plans_by_tool_total", "mail/send"] == 2
    assert found["aisecops_blocked_plans_by_tool_total", "web/fetch"] == 1
    assert found["aisecops_blocked_plans_by_rule_total", "arguments.secret_exposed"] == 2
    assert ("aisecops_blocked_plans_by_rule_total", "screen.secret_exposed") not in found
    assert found["aisecops_sources_total", "tool_result", "external"] == 2
    assert found["aisecops_sources_total", "none", "unverified"] == 2
    assert found["aisecops_approvals_total", "requested"] == 1
    assert found["aisecops_incidents_total", "other_tool"] == 1
    assert found["aisecops_calls_total", "failed", "mail/send"] == 1
    assert found["aisecops_calls_total", "expired_unknown", "mail/send"] == 1
    assert found["aisecops_calls_total", "expired_unused", "mail/send"] == 1
    assert found["aisecops_policy_changes_total", "activated"] == 1
    assert found["aisecops_drift_total", "found"] == 1
    assert found["aisecops_evaluation_nanoseconds_total",] == 15
    assert (found["aisecops_log_events",], found["aisecops_log_sealed",]) == (7, 0)
    assert found["aisecops_grant_key_missing",] == 0


def test_a_key_of_grants_that_is_not_here_is_told() -> None:
    snapshot = Snapshot(EventCounts(), 7, sealed=False, drift=None, keyless=True)
    assert "aisecops_grant_key_missing 1.0" in exposition({"default": snapshot}, IDLE).decode()


def test_each_other_key_that_is_not_here_is_told() -> None:
    missing = {"evidence": True, "bundle": False}
    told = exposition({"default": Snapshot(EventCounts(), 7, sealed=False, drift=None, missing=missing)}, IDLE).decode()
    assert 'aisecops_signing_key_missing{key="evidence"} 1.0' in told
    assert 'aisecops_signing_key_missing{key="bundle"} 0.0' in told


def test_who_invents_names_makes_no_more_series_than_fit() -> None:
    counts = EventCounts()
    for number in range(MOST_SERIES + 50):
        decided(counts, f"d{number}", agent=f"stranger-{number}", tools=(f"tool/{number}",))
    assert len(counts.series["blocked_plans"]) == MOST_SERIES + 1
    assert counts.series["blocked_plans"][OTHER,] == 50
    assert sum(counts.series["blocked_plans"].values()) == MOST_SERIES + 50


def test_hostile_names_stay_labels() -> None:
    counts = EventCounts()
    name = 'x"} 1\naisecops_decisions_total{outcome="ALLOW",mode="y'
    decided(counts, "d1", agent=name)
    found = read(counts)
    assert found["aisecops_blocked_plans_total", name] == 1
    assert ("aisecops_decisions_total", "y", "ALLOW") not in found


def test_plans_that_are_never_decided_are_forgotten() -> None:
    counts = EventCounts()
    for number in range(5_000):
        counts.add("plan.received", f"d{number}", {"steps": []})
    assert len(counts._tools) < 5_000


def test_events_without_what_they_should_have_are_counted_all_the_same() -> None:
    counts = EventCounts()
    counts.add("decision.concluded", "d", {"findings": "none", "sources": [1], "principal": None})
    assert counts.series["decisions"]["", ""] == 1


def test_drift_is_told_by_agent_tool_policy_and_direction() -> None:
    checks = (Check("d1", "r"), Check("d2", "r", Doubt.DOCUMENT_ALTERED), Check("d3", "r"), Check("d4", "r"))
    report = DriftReport(
        checked_at_ns=2_000_000_000,
        window_seconds=60,
        fidelity=Fidelity(checks),
        rows=(Reproduced("a", "mail/send", 4, 3),),
        policies=(PolicyDrift("live", "r", compared=4, stricter=2, looser=1, risky=1),),
    )
    found = read(EventCounts(), report)
    assert found["aisecops_replay_coverage_ratio",] == 0.75
    assert found["aisecops_replay_coverage", "a", "not_reproduced", "mail/send"] == 1
    assert found["aisecops_policy_drift", "stricter", "live"] == 2
    assert found["aisecops_policy_drift", "risky", "live"] == 1
    assert found["aisecops_drift_checked_seconds",] == 2


def test_every_metric_says_what_it_is() -> None:
    assert [name for name, (about, _) in METRICS.items() if not about.endswith(".")] == []


def test_how_full_the_queue_is_and_whom_it_turned_away_is_told() -> None:
    queue = FairQueue(slots=1, limit=8, patience=60.0)
    for _ in range(3):
        queue.offer("one", "agent", 2, now=0.0, ends_at=60.0)
    queue.refuse(Ticket("one", "agent", 1, 0.0), Refused.WAITED, 0.0)
    found = read(EventCounts(), load=queue.load())
    assert (found["aisecops_queue_running",], found["aisecops_queue_waiting",]) == (2, 4)
    assert found["aisecops_queue_refused_total", "waited", "one"] == 1
    assert ("aisecops_queue_refused_total", "full", "one") not in found
