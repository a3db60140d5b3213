"""Every page and every form of the UI by its address: one table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aisecops.v1 import approval_pb2, approval_service_pb2, bundle_service_pb2

from aisecops_server.entrypoints.web.app import Screens, sections
from aisecops_server.entrypoints.web.event_page import event_page
from aisecops_server.entrypoints.web.trace_list import trace_list
from aisecops_server.entrypoints.web.trace_page import evidence, trace_page, trace_rows
from aisecops_server.entrypoints.web.visitor import Visitor
from aisecops_server.ports import Clock

_MOST_COUNTED = 100


def screens(_clock: Clock) -> Screens:
    """Return all pages and forms."""
    return Screens(
        pages={
            "/": trace_list,
            "/traces": trace_list,
            "/traces/{trace}": trace_page,
            "/traces/{trace}/rows": trace_rows,
            "/traces/{trace}/events/{event}": event_page,
        },
        actions={"/traces/{trace}/evidence": evidence},
    )


def bar(problem: Callable[[], str]) -> Callable[[Visitor], Awaitable[Mapping[str, Any]]]:
    """Return what tells the top bar which policy is live, whether plans can be decided, and what waits for people."""

    async def told(visitor: Visitor) -> Mapping[str, Any]:
        status, _ = await visitor.attempt(
            "BundleService/GetStatus", bundle_service_pb2.GetStatusRequest(), bundle_service_pb2.GetStatusResponse
        )
        waiting, _ = await visitor.attempt(
            "ApprovalService/ListApprovals",
            approval_service_pb2.ListApprovalsRequest(
                page_size=_MOST_COUNTED, states=[approval_pb2.APPROVAL_STATE_REQUESTED]
            ),
            approval_service_pb2.ListApprovalsResponse,
        )
        return {
            "sections": sections(),
            "revision": status.status.live.commit if status else "",
            "wanted": status.status.wanted if status else "",
            "problem": problem(),
            "waiting": len(waiting.approvals) if waiting else 0,
        }

    return told
