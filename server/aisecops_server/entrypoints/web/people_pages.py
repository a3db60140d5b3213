"""Agents with what they may and did, and budgets with what is left."""

from __future__ import annotations

from aisecops.v1 import agent_service_pb2, budget_service_pb2

from aisecops_server.entrypoints.web.addresses import address
from aisecops_server.entrypoints.web.visitor import Page, Visitor

PAGE = 100


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
