"""The first page, the metrics, and how the control plane itself is."""

from __future__ import annotations

from typing import Any

from aisecops.v1 import budget_service_pb2, bundle_service_pb2, transparency_service_pb2

from aisecops_server.entrypoints.web.metrics import by_day, figures, last_day, plain, read_material
from aisecops_server.entrypoints.web.plots import DAYS, chart, plot
from aisecops_server.entrypoints.web.visitor import Page, Visitor

_REPLAYED = "Replay coverage by agent"


async def home(visitor: Visitor) -> Page:
    """Show security, compliance, cost and observability, each from live data."""
    found = await read_material(visitor)
    numbers = {figure.name: figure for figure in figures(found)}
    budgets, why = await visitor.attempt(
        "BudgetService/ListBudgets",
        budget_service_pb2.ListBudgetsRequest(page_size=100),
        budget_service_pb2.ListBudgetsResponse,
    )
    tight = sorted(budgets.budgets, key=_fullness, reverse=True)[:3] if budgets else []
    view = {
        "numbers": numbers,
        "traces": found.traces,
        "stopped": [trace for trace in found.traces if trace.outcome != "ALLOW"][:6],
        "budgets": tight,
        "no_budgets": why,
        "chart": chart(by_day(found.traces)),
        "groups": (
            ("Security", ("Blocked execution plans", "Runtime incidents", "Tool execution anomalies")),
            ("Compliance", ("Audit replay coverage", "Approval-required actions", "Policy drift events")),
            ("Observability", ("Provenance trust distribution", "Graph reconstruction coverage", _REPLAYED)),
        ),
    }
    data = {"figures": plain(list(numbers.values()), last_day(found)), "budgets": budgets}
    return Page("home.html", "Overview", view, data, command=("metrics",))


async def metrics(visitor: Visitor) -> Page:
    """Show the nine figures with their definitions and the records behind them."""
    found = await read_material(visitor)
    shown, last = figures(found), last_day(found)
    view = {
        "figures": [(figure, *plot(figure, last)) for figure in shown],
        "counted": len(found.traces),
        "chart": chart(by_day(found.traces)),
        "plotted": DAYS,
        "last": last,
    }
    data = {"figures": plain(shown, last), "traces": len(found.traces)}
    return Page("metrics.html", "Metrics", view, data, "Metrics", command=("metrics",))


async def system(visitor: Visitor) -> Page:
    """Show what is served: policy, log, checkpoint and witnesses."""
    status, why = await visitor.attempt(
        "BundleService/GetStatus", bundle_service_pb2.GetStatusRequest(), bundle_service_pb2.GetStatusResponse
    )
    checkpoint, no_checkpoint = await visitor.attempt(
        "TransparencyService/GetCheckpoint",
        transparency_service_pb2.GetCheckpointRequest(),
        transparency_service_pb2.GetCheckpointResponse,
    )
    view = {
        "status": status.status if status else None,
        "why": why,
        "checkpoint": checkpoint,
        "no_checkpoint": no_checkpoint,
        "roles": sorted(role.value for role in visitor.principal.roles),
    }
    return Page("system.html", "System", view, {"status": status, "checkpoint": checkpoint}, "System")


def _fullness(budget: Any) -> float:
    return float((budget.used + budget.reserved) / budget.limit) if budget.limit else 0.0
