"""Agents with what they may and did, and budgets with what is left."""

from __future__ import annotations

from collections import Counter

from aisecops.v1 import agent_service_pb2, audit_service_pb2, budget_service_pb2

from aisecops_server.domain.display.words import TRUST_ORDER
from aisecops_server.domain.traces.trace_query import Term, TraceQuery
from aisecops_server.entrypoints.web.addresses import address, agent_word
from aisecops_server.entrypoints.web.visitor import Page, Visitor

PAGE = 100
SHOWN = 10


async def agents(visitor: Visitor) -> Page:
    """Show agents as policy registers them and as they asked, and those that nobody registered."""
    request = agent_service_pb2.ListAgentsRequest(
        page_size=PAGE, page_token=visitor.query("before"), registration=visitor.query("registration")
    )
    found = await visitor.ask("AgentService/ListAgents", request, agent_service_pb2.ListAgentsResponse)
    view = {
        "page": found,
        "kinds": [
            (word, address("/agents", registration=value), visitor.query("registration") == value)
            for word, value in (("all", ""), ("registered", "registered"), ("unregistered", "unregistered"))
        ],
        "more": address("/agents", before=found.next_page_token, registration=request.registration)
        if found.next_page_token
        else "",
    }
    return Page("agents.html", "Agents", view, {"page": found}, "Agents", command=("agent", "list"))


async def agent(visitor: Visitor) -> Page:
    """Show one agent: what it may, what is left of its budgets, and on whose word and against which rules it asks."""
    request = agent_service_pb2.GetAgentRequest(agent_id=visitor.path("agent"))
    found = await visitor.ask("AgentService/GetAgent", request, agent_service_pb2.GetAgentResponse)
    one = found.agent
    budgets, no_budgets = await visitor.attempt(
        "BudgetService/ListBudgets",
        budget_service_pb2.ListBudgetsRequest(subject="agent", subject_id=one.agent_id, page_size=PAGE),
        budget_service_pb2.ListBudgetsResponse,
    )
    listed, no_traces = await visitor.attempt(
        "AuditService/ListTraces",
        audit_service_pb2.ListTracesRequest(
            page_size=PAGE, filter=audit_service_pb2.TraceFilter(agent_id=one.agent_id)
        ),
        audit_service_pb2.ListTracesResponse,
    )
    traces = listed.traces if listed else []
    trusts = Counter(trace.lowest_trust for trace in traces)
    rules = Counter(rule for trace in traces for rule in trace.rules)
    view = {
        "agent": one,
        "budgets": budgets.budgets if budgets else (),
        "no_budgets": no_budgets,
        "no_traces": no_traces,
        "traces": traces[:SHOWN],
        "counted_traces": len(traces),
        "trusts": [(level, trusts[level], _traces(one.agent_id, "trust", level)) for level in TRUST_ORDER],
        "rules": [(rule, count, _traces(one.agent_id, "rule", rule)) for rule, count in rules.most_common(SHOWN)],
        "all_traces": address("/traces", q=Term("agent", one.agent_id).written()),
        "blocked": _traces(one.agent_id, "outcome", "blocked"),
    }
    data = {"agent": one, "budgets": budgets, "traces": list(traces)}
    command = ("agent", "show", one.agent_id)
    return Page("agent.html", f"Agent {agent_word(one.agent_id)}", view, data, "Agents", command=command)


def _traces(agent_id: str, field: str, value: str) -> str:
    return address("/traces", q=TraceQuery((Term("agent", agent_id), Term(field, value))).written())


async def budgets(visitor: Visitor) -> Page:
    """Show budgets that were used: how much is left, and when it will be over."""
    request = budget_service_pb2.ListBudgetsRequest(
        page_size=PAGE,
        page_token=visitor.query("before"),
        subject=visitor.query("subject"),
        subject_id=visitor.query("id"),
    )
    found = await visitor.ask("BudgetService/ListBudgets", request, budget_service_pb2.ListBudgetsResponse)
    view = {
        "page": found,
        "kinds": [
            (word or "all", address("/budgets", subject=word), request.subject == word)
            for word in ("", "agent", "session", "team", "tenant", "tool")
        ],
        "of": request.subject_id,
        "more": address("/budgets", before=found.next_page_token, subject=request.subject, id=request.subject_id)
        if found.next_page_token
        else "",
    }
    return Page("budgets.html", "Budgets", view, {"page": found}, "Agents", command=("budget", "list"))
