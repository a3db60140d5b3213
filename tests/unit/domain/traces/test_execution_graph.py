"""Graphs of histories that were written by hand, and what they say when something is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from aisecops_server.domain.traces.execution_graph import (
    EdgeKind,
    ExecutionGraph,
    NodeKind,
    RecordedDecision,
    RecordedEvent,
    execution_graph,
)
from aisecops_server.domain.traces.graph_text import dot, mermaid

TRACE = "a" * 32


def decision(name: str = "dec-1", *, outcome: str = "ALLOW", sources: bool = True, **more: Any) -> RecordedDecision:
    granted = {"id": "s1", "outcome": outcome, "capability": "mail.send", "granted_by": "workplace"}
    source = {
        "id": "prompt",
        "kind": "user_prompt",
        "trust": "trusted",
        "verified": True,
        "name": "chat",
        "origin_uri": "",
        "digest": "d",
    }
    details: dict[str, Any] = {
        "decision_id": name,
        "trace_id": TRACE,
        "outcome": outcome,
        "mode": "ENFORCE",
        "plan_hash": "hash",
        "bundle_revision": "c" * 40,
        "explanation": "because",
        "principal": {"id": "agent-a", "authenticated_by": "token"},
        "delegation": [],
        "sources": [source] if sources else [],
        "steps": [granted],
        "findings": [],
        **more,
    }
    value = {"pointer": "/to", "found": [{"source": "prompt"}] if sources else []}
    step = {
        "id": "s1",
        "tool": "mail/send",
        "depends_on": [],
        "influenced_by": ["prompt"] if sources else [],
        "values": [value],
    }
    return RecordedDecision(f"evt-{name}", details, {"plan": {"intent": "write to Ada", "steps": [step]}})


def event(type: str, decision_id: str = "dec-1", **details: Any) -> RecordedEvent:
    return RecordedEvent(f"evt-{type}-{len(details)}", type, TRACE, decision_id, details)


def granted(name: str = "grt-1", decision_id: str = "dec-1", **claims: Any) -> RecordedEvent:
    claim = {"jti": name, "step_id": "s1", "tool": "mail/send", "arguments_sha256": "args", "exp": 1, **claims}
    return RecordedEvent(f"evt-{name}", "grant.issued", TRACE, decision_id, {"grants": [claim]})


def edges(graph: ExecutionGraph) -> set[tuple[str, str, str]]:
    return {(edge.source, edge.target, str(edge.kind)) for edge in graph.edges}


def test_the_path_leads_from_the_source_over_the_step_to_what_ran() -> None:
    graph = execution_graph([decision()], [granted(), event("execution.executed", grant="grt-1", tool="mail/send")])
    assert {
        ("identity:agent-a", "plan:dec-1", "proposed"),
        ("source:dec-1/prompt", "step:dec-1/s1", "influenced"),
        ("source:dec-1/prompt", "step:dec-1/s1", "grounded_in"),
        ("plan:dec-1", "step:dec-1/s1", "part_of"),
        ("capability:mail.send", "step:dec-1/s1", "granted_by"),
        ("plan:dec-1", "outcome:dec-1", "concluded"),
        ("step:dec-1/s1", "grant:grt-1", "authorised"),
        ("grant:grt-1", "execution:evt-execution.executed-2", "executed_as"),
    } <= edges(graph)
    assert (graph.whole, graph.decisions, graph.gaps) == (1, 1, ())
    grounded = next(edge for edge in graph.edges if edge.kind is EdgeKind.GROUNDED_IN)
    assert grounded.pointers == ("/to",)


def test_without_its_source_the_path_is_visibly_broken() -> None:
    graph = execution_graph([decision(sources=False)], [])
    assert not [edge for edge in graph.edges if edge.kind in {EdgeKind.INFLUENCED, EdgeKind.GROUNDED_IN}]
    assert (graph.whole, graph.gaps) == (0, ("decision dec-1 has no source",))


def test_what_ran_without_a_grant_is_told() -> None:
    graph = execution_graph([decision(outcome="DENY")], [event("execution.executed", tool="mail/send")])
    assert ("outcome:dec-1", "execution:evt-execution.executed-1", "executed_as") in edges(graph)
    assert graph.gaps == ("execution.executed evt-execution.executed-1 belongs to no grant",)


def test_rules_budgets_and_approvals_lead_to_the_outcome() -> None:
    finding = {
        "rule": "budget.exhausted",
        "title": "t",
        "severity": "high",
        "step": "s1",
        "facts": [{"pointer": "/usage"}],
    }
    charge = {"subject": "agent", "id": "agent-a", "metric": "calls", "window": "day", "limit": 9}
    first = decision(outcome="REQUIRE_APPROVAL", findings=[finding], charges=[charge])
    second = decision("dec-2", approved_by="apr-1")
    graph = execution_graph([first, second], [event("approval.requested", approval_id="apr-1")])
    assert {
        ("step:dec-1/s1", "rule:budget.exhausted", "decided_by"),
        ("rule:budget.exhausted", "outcome:dec-1", "decided_by"),
        ("budget:agent:agent-a/calls/day", "outcome:dec-1", "charged_to"),
        ("outcome:dec-1", "approval:apr-1", "asked_for"),
        ("approval:apr-1", "outcome:dec-2", "approved_by"),
    } <= edges(graph)


def test_delegation_is_a_chain_of_identities() -> None:
    chain = [{"agent_id": "planner", "trace_id": ""}, {"agent_id": "worker", "trace_id": ""}]
    graph = execution_graph([decision(delegation=chain)], [])
    assert {
        ("identity:planner", "identity:worker", "delegated"),
        ("identity:worker", "identity:agent-a", "delegated"),
    } <= edges(graph)


def test_texts_that_were_screened_are_sources_without_a_plan() -> None:
    seen = {"rule": "screen.instructions_injected", "title": "t", "severity": "high", "step": "prompt", "facts": []}
    read = RecordedDecision("evt-1", decision(outcome="DENY", findings=[seen]).details, {"kind": "screen", "parts": []})
    graph = execution_graph([read], [])
    assert edges(graph) == {
        ("identity:agent-a", "source:dec-1/prompt", "proposed"),
        ("source:dec-1/prompt", "outcome:dec-1", "concluded"),
        ("source:dec-1/prompt", "rule:screen.instructions_injected", "decided_by"),
        ("rule:screen.instructions_injected", "outcome:dec-1", "decided_by"),
    }
    assert (graph.whole, graph.decisions, graph.gaps) == (1, 1, ())


def test_an_edge_to_a_node_that_nothing_tells_of_is_left_out() -> None:
    graph = execution_graph([decision(approved_by="apr-9")], [])
    assert not [edge for edge in graph.edges if edge.kind is EdgeKind.APPROVED_BY]


def test_the_same_records_give_the_same_graph() -> None:
    history = ([decision(), decision("dec-2")], [granted(), granted("grt-2", "dec-2")])
    assert execution_graph(*history) == execution_graph(*history)


@pytest.mark.parametrize(
    "label", ['"]; evil [label="x', "]\n  click n0 call()", "%%{init}%%", "<script>", "\u202eabc", 'a"--"b', "`x`"]
)
def test_foreign_text_stays_inside_its_label(label: str) -> None:
    hostile = decision()
    document: Mapping[str, Any] = {"plan": {**hostile.document["plan"], "intent": label}}
    graph = execution_graph([RecordedDecision("evt", hostile.details, document)], [])
    plain = execution_graph([decision()], [])
    for text in (dot, mermaid):
        assert len(text(graph).splitlines()) == len(text(plain).splitlines())
        assert text(graph).count('"') == text(plain).count('"')
    assert not set("<>`%\u202e") & set(mermaid(graph).replace("-->", ""))


def test_every_kind_of_node_is_drawn() -> None:
    graph = execution_graph([decision()], [granted()])
    assert dot(graph).startswith("digraph")
    assert all(f"{kind}:" in mermaid(graph) for kind in {node.kind for node in graph.nodes})
    assert {NodeKind.IDENTITY, NodeKind.GRANT} <= {node.kind for node in graph.nodes}
