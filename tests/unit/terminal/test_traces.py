"""A trace in a terminal: plans in a row that are alike are drawn once."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from aisecops_server.domain.display.words import dollars, percent
from aisecops_server.terminal.lists import trace_table
from aisecops_server.terminal.traces import trace_block
from rich.console import Console


def _trace(*tools: str) -> dict[str, Any]:
    """Return a trace in which each plan calls one of ``tools``."""
    decisions, events = [], []
    for number, tool in enumerate(tools):
        told = {"details": {"steps": [{"id": "s1", "tool": tool}]}}
        body = base64.b64encode(json.dumps(told).encode()).decode()
        name = f"dec-{number}"
        steps = [{"stepId": "s1", "outcome": "OUTCOME_ALLOW"}]
        decisions.append({"decisionId": name, "outcome": "OUTCOME_ALLOW", "steps": steps})
        events.append({"decisionId": name, "type": "plan.received", "stage": "STAGE_POLICY", "bodyJson": body})
    return {"summary": {"decisions": len(tools)}, "decisions": decisions, "events": events}


def _drawn(*tools: str) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(trace_block(console, _trace(*tools), str, {}))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_loop_is_drawn_once_with_how_often_it_went() -> None:
    drawn = _drawn(*["crm/read"] * 41, "crm/write", "crm/read")
    assert "and 40 more plans with the same steps and decision, up to dec-40" in drawn
    alone = [line.strip() for line in drawn.splitlines() if line.strip().startswith("dec-")]
    assert alone == ["dec-0", "dec-41", "dec-42"]


def test_two_that_are_alike_are_drawn_both() -> None:
    drawn = _drawn("crm/read", "crm/read")
    assert "more plan" not in drawn
    assert "dec-1" in drawn


def test_what_a_trace_took_stands_in_the_list_and_above_its_plans_as_far_as_it_was_counted() -> None:
    console = Console(file=io.StringIO(), width=160)
    took = {"steps": "3", "tokens": "1200", "microUsd": "20000", "budgetShare": 9149}
    console.print(trace_table(console, [{"traceId": "a" * 32, **took}, {"traceId": "b" * 32, "steps": "1"}], str))
    console.print(trace_block(console, {"summary": took}, str, {}))
    assert isinstance(console.file, io.StringIO)
    drawn = console.file.getvalue()
    said = "1,200 tokens, $0.02, fullest budget at 91 %"
    assert f"no rule objected  3 steps, {said}" in drawn
    assert "no rule objected  1 step\n" in "".join(f"{line.rstrip()}\n" for line in drawn.splitlines())
    assert f"0 decisions  {said}" in drawn


def test_the_strip_of_a_trace_stands_in_the_list_and_one_of_an_earlier_server_is_left_out() -> None:
    console = Console(file=io.StringIO(), width=160)
    met = {"PLAN_EXTRACTION": "UNSPECIFIED", "IDENTITY": "WARN", "POLICY": "DENY", "OUTCOME": "DENY"}
    gates = [{"stage": f"STAGE_{stage}", "effect": f"EFFECT_{effect}"} for stage, effect in met.items()]
    console.print(trace_table(console, [{"agentId": "x/desk", "gates": gates}, {"agentId": "x/clerk"}], str))
    assert isinstance(console.file, io.StringIO)
    drawn = console.file.getvalue()
    assert "✓≈·✕···✕  desk" in drawn
    assert "  clerk  lowest" in drawn


@pytest.mark.parametrize(
    ("micro_usd", "said"),
    [(1, "$0.000001"), (9_999, "$0.009999"), (500, "$0.0005"), (10_000, "$0.01"), (1_234_567_890, "$1,234.57")],
)
def test_money_is_never_told_as_nothing(micro_usd: int, said: str) -> None:
    assert dollars(micro_usd) == said


def test_a_share_is_not_rounded_up_to_what_it_is_not() -> None:
    assert [percent(share) for share in (7999, 8000, 100_000_000)] == ["79 %", "80 %", "1,000,000 %"]
