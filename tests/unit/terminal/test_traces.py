"""A trace in a terminal: plans in a row that are alike are drawn once."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

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
