"""The nine figures against a record that was counted by hand."""

from __future__ import annotations

from aisecops.v1 import (
    approval_pb2,
    bundle_pb2,
    bundle_service_pb2,
    event_pb2,
    execution_service_pb2,
    investigation_service_pb2,
    replay_pb2,
)
from aisecops_server.entrypoints.web.metrics import Material, by_day, figures

DAY = 86_400


def _trace(at: int, outcome: str, trust: str, *rules: str, agent: str = "a/one") -> event_pb2.TraceSummary:
    trace = event_pb2.TraceSummary(
        trace_id=f"{at:032x}", agent_id=agent, outcome=outcome, lowest_trust=trust, rules=rules
    )
    trace.started_at.seconds = at
    return trace


MATERIAL = Material(
    traces=[
        _trace(0, "DENY", "external", "provenance.x", "arguments.y"),
        _trace(1, "DENY", "trusted", "identity.agent_unregistered", agent="a/two"),
        _trace(DAY, "ALLOW", "unverified"),
        _trace(DAY, "REQUIRE_APPROVAL", "trusted", "approval.z"),
    ],
    approvals=[
        approval_pb2.Approval(state=approval_pb2.APPROVAL_STATE_REQUESTED),
        approval_pb2.Approval(state=approval_pb2.APPROVAL_STATE_EXPIRED),
        approval_pb2.Approval(state=approval_pb2.APPROVAL_STATE_EXPIRED),
    ],
    incidents=[
        execution_service_pb2.Incident(kind="other_arguments"),
        execution_service_pb2.Incident(kind="executed_after_expiry"),
    ],
    status=bundle_service_pb2.GetStatusResponse(
        status=bundle_pb2.BundleStatus(live=bundle_pb2.Revision(commit="1"), wanted="2")
    ),
    replay=replay_pb2.Replay(
        replay_id="r",
        report=replay_pb2.ReplayReport(
            looser=2,
            stricter=1,
            fidelity=replay_pb2.Fidelity(trustworthy=False, checked=4, reproduced=3),
            agents=[replay_pb2.AgentShift(agent_id="a/one", compared=3)],
        ),
    ),
    graphs=[
        investigation_service_pb2.GetExecutionGraphResponse(decisions=2, whole=1),
        investigation_service_pb2.GetExecutionGraphResponse(decisions=2, whole=2),
    ],
)


def test_every_figure_is_what_was_counted_by_hand() -> None:
    found = {
        figure.name: (figure.number, {name: count for name, count, _ in figure.parts}) for figure in figures(MATERIAL)
    }
    assert found == {
        "Blocked execution plans": (
            "2",
            {"provenance.x": 1, "arguments.y": 1, "identity.agent_unregistered": 1},
        ),
        "Approval-required actions": ("3", {"expired": 2, "requested": 1}),
        "Policy drift events": (
            "4",
            {
                "wanted revision is not live": 1,
                "decisions that flip, looser": 2,
                "decisions that flip, stricter": 1,
            },
        ),
        "Runtime incidents": ("2", {"other_arguments": 1, "executed_after_expiry": 1}),
        "Audit replay coverage": ("75 %", {"reproduced": 3, "checked": 4}),
        "Tool execution anomalies": ("2", {"incidents of calls": 1, "plans of unregistered agents": 1}),
        "Provenance trust distribution": ("50 %", {"trusted": 2, "internal": 0, "external": 1, "unverified": 1}),
        "Replay coverage by agent": ("1 of 2", {"one": 3, "two": 0}),
        "Graph reconstruction coverage": ("75 %", {"whole": 3, "decisions": 4}),
    }


def test_without_records_no_figure_is_made_up() -> None:
    found = {figure.name: figure.number for figure in figures(Material())}
    assert found["Audit replay coverage"] == "–"
    assert found["Graph reconstruction coverage"] == "–"
    assert found["Blocked execution plans"] == "0"


def test_a_day_counts_what_began_on_it() -> None:
    assert by_day(MATERIAL.traces) == {0: {"DENY": 2}, 1: {"ALLOW": 1, "REQUIRE_APPROVAL": 1}}
