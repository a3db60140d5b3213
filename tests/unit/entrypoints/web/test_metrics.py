"""The nine figures against a record that was counted by hand."""

from __future__ import annotations

import re

from aisecops.v1 import (
    approval_pb2,
    bundle_pb2,
    bundle_service_pb2,
    event_pb2,
    execution_service_pb2,
    investigation_service_pb2,
    replay_pb2,
)
from aisecops_server.entrypoints.web.metrics import Figure, Material, by_day, figures, last_day, plain
from aisecops_server.entrypoints.web.plots import DAYS, plot

DAY = 86_400


def _asked(day: int, state: approval_pb2.ApprovalState.ValueType) -> approval_pb2.Approval:
    approval = approval_pb2.Approval(state=state)
    approval.requested_at.seconds = day * DAY + 1
    return approval


def _incident(day: int, kind: str) -> execution_service_pb2.Incident:
    incident = execution_service_pb2.Incident(kind=kind)
    incident.event.occurred_at.seconds = day * DAY
    return incident


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
        _asked(9, approval_pb2.APPROVAL_STATE_REQUESTED),
        _asked(1, approval_pb2.APPROVAL_STATE_EXPIRED),
        _asked(1, approval_pb2.APPROVAL_STATE_EXPIRED),
    ],
    incidents=[
        _incident(9, "other_arguments"),
        _incident(2, "executed_after_expiry"),
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


def test_what_has_a_time_is_counted_by_the_day_and_by_the_week() -> None:
    last = last_day(MATERIAL)
    assert last == 9
    found = {figure.name: (dict(figure.days), figure.change(last)) for figure in figures(MATERIAL) if figure.days}
    # The latest week is days 3 to 9, the one before it begins before there was any.
    assert found == {
        "Blocked execution plans": ({0: 2}, (0, 2)),
        "Approval-required actions": ({1: 2, 9: 1}, (1, 2)),
        "Runtime incidents": ({2: 1, 9: 1}, (1, 1)),
        "Tool execution anomalies": ({0: 1, 9: 1}, (1, 1)),
        "Provenance trust distribution": ({0: 1, 1: 1}, (0, 2)),
    }
    told = {one["name"]: one for one in plain(figures(MATERIAL), last)}
    assert told["Runtime incidents"]["days"] == [{"day": 2, "count": 1}, {"day": 9, "count": 1}]
    assert (told["Runtime incidents"]["week"], told["Runtime incidents"]["weekBefore"]) == (1, 1)
    assert "days" not in told["Audit replay coverage"]


def test_what_is_drawn_are_the_numbers_that_stand_beside_it() -> None:
    last = last_day(MATERIAL)
    for figure in figures(MATERIAL):
        drawn, numbers = plot(figure, last)
        told = [(date, int(count)) for date, count in re.findall(r"<title>([0-9-]{5}): (\d+)</title>", drawn)]
        assert told == list(numbers), figure.name
        within = {day: count for day, count in (figure.days or {}).items() if last - DAYS < day <= last}
        assert [count for _, count in told] == [within[day] for day in sorted(within)]
        # What has no time has parts, which the page draws beside their numbers.
        assert figure.days is not None or figure.parts


def test_a_name_in_a_drawing_is_text() -> None:
    figure = Figure("<script>ran()</script>", "1", "", "/", days={0: 1})
    assert "<script" not in plot(figure, 0)[0]
    assert "&lt;script&gt;ran()&lt;/script&gt; a day" in plot(figure, 0)[0]
