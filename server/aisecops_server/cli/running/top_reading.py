"""Reads from a running control plane what ``top`` shows: its events from the latest on, and how its parts stand.

Each look makes its own connection, so that a control plane that was away and came back, or got another certificate,
is simply there again. What the caller's role does not include is left out, and said.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import grpc
from aisecops.v1 import approval_pb2
from aisecops.v1.event_pb2 import Event
from aisecops.v1.execution_service_pb2 import ListIncidentsRequest
from aisecops_client.budgets import Budgets
from aisecops_client.client import Client
from aisecops_client.errors import AisecopsClientError, from_rpc_error
from aisecops_client.transparency import Transparency
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from aisecops_server.adapters.metrics.scraping import scraped
from aisecops_server.cli.connection import connect, server_address, to_json
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.events.event import details_in
from aisecops_server.domain.figures.live_figures import Figures, LiveWindow
from aisecops_server.domain.formats.signed_note import read_note
from aisecops_server.domain.log.checkpoint import read_checkpoint
from aisecops_server.ports import Clock

Json = dict[str, Any]
_R = TypeVar("_R")

# How many events are read at a look; who is further behind goes on from here to the end.
_MOST_EVENTS = 6_000
_MOST_PAGES = 4
_PAGE = 500
_NEARLY = 0.8
_SHOWN = 5
_AWAY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


@dataclass(slots=True)
class Looking:
    """Looks again and again. ``metrics`` is where the control plane serves metrics, or empty."""

    clock: Clock
    window: LiveWindow
    metrics: str = ""
    _next: int | None = None
    _problems: list[str] = field(default_factory=list)

    def look(self) -> Json:
        """Return how it is now, as ``top -o json`` prints it.

        Raises:
            ServerUnreachableError, AisecopsClientError: nobody answers, or it knows nobody by this credential.
        """
        self._problems = []
        with connect() as client:
            state = _health(client)
            read = self._try("decisions", lambda: self._read_events(client))
            found: Json = {
                "server": server_address(),
                "state": state,
                "decisions": _decisions(self.window.figures(self.clock.now_ns())) if read else None,
                "queue": None,
                "log": {"events": self._next or 0, "sealed": None},
                "policy": self._try("policy", lambda: to_json(client.bundle_status())),
                "budgets": self._try("budgets", lambda: _tight(client)),
                "approvals": self._try("approvals", lambda: _waiting(client)),
                "incidents": self._try("incidents", lambda: _incidents(client)),
                "problems": self._problems,
            }
        return found | (self._metrics(found) if self.metrics else {})

    def forget(self) -> None:
        """Begin anew at the end of the log, as after the control plane was away: it may have another one now."""
        self._next = None

    def _try(self, what: str, ask: Callable[[], _R]) -> _R | None:
        try:
            return ask()
        except AisecopsClientError as error:
            # What a servicer says has a reason of its own.
            if (error.code in _AWAY and not error.reason) or error.code is grpc.StatusCode.UNAUTHENTICATED:
                raise
            self._problems.append(f"{what}: {error.message}")
        return None

    def _read_events(self, client: Client) -> bool:
        if self._next is None:
            self._skip(client)
        for _ in range(2):
            count = 0
            with closing(client.events(from_index=self._next or 0)) as events:
                for event in islice(events, _MOST_EVENTS):
                    self._take(event)
                    count += 1
            if count < _MOST_EVENTS:
                break
            self._skip(client)
        return True

    def _skip(self, client: Client) -> None:
        """Go on near the end of the log, unless reading is there already."""
        note = read_note(Transparency(client).checkpoint().note)
        end = read_checkpoint(note.text).head.size
        start = max(0, end - _MOST_EVENTS // 2)
        if self._next is not None and self._next >= start:
            return
        self._next = start
        with closing(client.events(from_index=start)) as events:
            first = next(events, None) if start else None
        self.window.begin(first.occurred_at.ToNanoseconds() if first else 0)

    def _take(self, event: Event) -> None:
        details = details_in(event.type, event.body_json, None)
        self.window.add(event.type, event.occurred_at.ToNanoseconds(), details)
        self._next = event.log_index + 1

    def _metrics(self, found: Json) -> Json:
        try:
            read = scraped(self.metrics)
        except AisecopsError as error:
            self._problems.append(f"queue: {error.message}")
            return {}
        queue = {
            "running": int(read.get("aisecops_queue_running", 0)),
            "waiting": int(read.get("aisecops_queue_waiting", 0)),
            "refused": int(read.get("aisecops_queue_refused_total", 0)),
        }
        return {"queue": queue, "log": {**found["log"], "sealed": bool(read.get("aisecops_log_sealed", 0))}}


def _health(client: Client) -> str:
    try:
        answer = HealthStub(client.channel).Check(HealthCheckRequest(), timeout=client.timeout_seconds)
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error
    return str(HealthCheckResponse.ServingStatus.Name(answer.status))


def _decisions(figures: Figures) -> Json:
    return {
        "seconds": round(figures.seconds, 1),
        "perSecond": round(figures.per_second, 2),
        "outcomes": dict(figures.outcomes),
        "engineP50Milliseconds": round(figures.half_ns / 1e6, 2),
        "engineP99Milliseconds": round(figures.most_ns / 1e6, 2),
        "blocked": [{"reason": reason, "count": count} for reason, count in figures.blocked[:_SHOWN]],
    }


def _tight(client: Client) -> list[Json]:
    """Return the budgets that refuse or nearly do, the fullest first."""
    found, page = [], ""
    for _ in range(_MOST_PAGES):
        answer = Budgets(client).page(page_size=_PAGE, page_token=page)
        found += [(_fullness(budget), budget) for budget in answer.budgets]
        page = answer.next_page_token
        if not page:
            break
    tight = sorted((item for item in found if item[0] >= _NEARLY), key=lambda item: (-item[0], item[1].name))
    return [to_json(budget) for _, budget in tight[:_SHOWN]]


def _fullness(budget: Any) -> float:
    if budget.frozen or not budget.remaining:
        return 1.0
    return float((budget.used + budget.reserved) / budget.limit)


def _waiting(client: Client) -> Json:
    states = [approval_pb2.APPROVAL_STATE_REQUESTED]
    page = client.approvals.page(states=states, page_size=_PAGE)
    soonest = sorted(page.approvals, key=lambda one: (one.expires_at.ToNanoseconds(), one.approval_id))
    return {
        "open": len(soonest),
        "more": bool(page.next_page_token),
        "next": [_approval(one) for one in soonest[:_SHOWN]],
    }


def _approval(approval: approval_pb2.Approval) -> Json:
    whole = to_json(approval)
    return {name: whole.get(name, "") for name in ("approvalId", "agentId", "tools", "expiresAt")}


def _incidents(client: Client) -> Json:
    page = client.incidents(ListIncidentsRequest(page_size=_PAGE))
    latest = [
        {
            "kind": one.kind,
            "severity": one.severity,
            "agentId": one.agent_id,
            "occurredAt": one.event.occurred_at.ToJsonString(),
            "traceId": one.event.trace_id,
        }
        for one in page.incidents[:_SHOWN]
    ]
    return {"count": len(page.incidents), "more": bool(page.next_page_token), "latest": latest}
