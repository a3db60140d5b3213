"""The first page, the metrics, and how the control plane itself is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aisecops.v1 import budget_service_pb2, bundle_service_pb2, transparency_service_pb2
from markupsafe import Markup

from aisecops_server.domain.words import OUTCOME_ORDER, outcome_sign
from aisecops_server.entrypoints.web.markup import drawing
from aisecops_server.entrypoints.web.metrics import Figure, by_day, figures, read_material
from aisecops_server.entrypoints.web.rendering import tone
from aisecops_server.entrypoints.web.visitor import Page, Visitor

_REPLAYED = "Replay coverage by agent"
_DAYS = 14
_HEIGHT, _BAR = 80, 24


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
    return Page("home.html", "Overview", view, {"figures": _plain(list(numbers.values())), "budgets": budgets})


async def metrics(visitor: Visitor) -> Page:
    """Show the nine figures with their definitions and the records behind them."""
    found = await read_material(visitor)
    shown = figures(found)
    view = {"figures": shown, "counted": len(found.traces), "chart": chart(by_day(found.traces))}
    return Page("metrics.html", "Metrics", view, {"figures": _plain(shown), "traces": len(found.traces)}, "Metrics")


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


def chart(days: Mapping[int, Mapping[str, int]]) -> Markup:
    """Return traces a day as stacked bars, the latest day last; a table with the same numbers stands beside it."""
    last = max(days, default=0)
    shown = range(last - _DAYS + 1, last + 1)
    most = max((sum(days[day].values()) for day in days), default=1)
    width = _DAYS * (_BAR + 4)
    box = f'viewBox="0 0 {width} {_HEIGHT + 16}" width="{width}"'
    parts = [f'<svg class="chart" {box} role="img" aria-label="Traces a day">']
    for at, day in enumerate(shown):
        x, date = at * (_BAR + 4), datetime.fromtimestamp(day * 86_400, tz=UTC).strftime("%m-%d")
        parts += _bars(x, date, days.get(day, {}), scale=_HEIGHT / most)
        parts.append(f'<text x="{x}" y="{_HEIGHT + 12}">{date if at % 3 == 1 else ""}</text>')
    parts.append("</svg>")
    return drawing(parts)


def _bars(x: int, date: str, counts: Mapping[str, int], *, scale: float) -> Iterator[str]:
    top = float(_HEIGHT)
    for outcome in reversed(OUTCOME_ORDER):
        if count := counts.get(outcome, 0):
            tall, sign = count * scale, outcome_sign(outcome)
            top -= tall
            yield f'<rect class="{tone(sign)}" x="{x}" y="{top:.1f}" width="{_BAR}" height="{tall:.1f}">'
            yield f"<title>{date}: {count} {sign.word}</title></rect>"


def _fullness(budget: Any) -> float:
    return float((budget.used + budget.reserved) / budget.limit) if budget.limit else 0.0


def _plain(shown: Sequence[Figure]) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "number": one.number,
            "means": one.means,
            "parts": {name: count for name, count, _ in one.parts},
        }
        for one in shown
    ]
