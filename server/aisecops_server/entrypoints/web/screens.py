"""Every page and every form of the UI by its address: one table."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aisecops.v1 import approval_service_pb2, bundle_service_pb2

from aisecops_server.domain.errors import AisecopsError
from aisecops_server.entrypoints.web import approvals_page as approvals
from aisecops_server.entrypoints.web import overview
from aisecops_server.entrypoints.web import people_pages as people
from aisecops_server.entrypoints.web import policy_pages as policy
from aisecops_server.entrypoints.web import replay_pages as replays
from aisecops_server.entrypoints.web import rollout_page as rollouts
from aisecops_server.entrypoints.web.app import Do, Give, Screens, Show, sections
from aisecops_server.entrypoints.web.event_page import event_page
from aisecops_server.entrypoints.web.evidence_page import evidence_page, export
from aisecops_server.entrypoints.web.graph_page import graph_file, graph_page
from aisecops_server.entrypoints.web.live import CALL
from aisecops_server.entrypoints.web.replay_review import judge
from aisecops_server.entrypoints.web.trace_list import trace_list
from aisecops_server.entrypoints.web.trace_page import evidence, trace_page
from aisecops_server.entrypoints.web.visitor import Visitor

# Of two addresses that both fit, the earlier answers.
_PAGES: Mapping[str, Show] = {
    "/": overview.home,
    "/traces": trace_list,
    "/traces/{trace}": trace_page,
    "/traces/{trace}/graph": graph_page,
    "/traces/{trace}/events/{event}": event_page,
    "/replays": replays.replay_list,
    "/replays/new": replays.new_replay,
    "/replays/{replay}": replays.replay_page,
    "/revisions": policy.revisions,
    "/revisions/{before}..{after}": policy.difference,
    "/revisions/{revision}": policy.revision,
    "/revisions/{revision}/files/{file:path}": policy.policy_file,
    "/rollouts": rollouts.rollouts,
    "/evidence": evidence_page,
    "/agents": people.agents,
    "/agents/{agent:path}": people.agent,
    "/budgets": people.budgets,
    "/metrics": overview.metrics,
    "/system": overview.system,
    "/approvals": approvals.inbox,
    "/approvals/{approval}": approvals.request_page,
}
_FILES: Mapping[str, Give] = {
    "/traces/{trace}/graph.svg": graph_file,
    "/replays/{replay}/report.md": replays.replay_markdown,
    "/replays/{replay}/report.junit.xml": replays.replay_junit,
    "/replays/{replay}/accepted-flips.yaml": replays.replay_entries,
}
_ACTIONS: Mapping[str, Do] = {
    "/traces/{trace}/evidence": evidence,
    "/evidence/export": export,
    "/replays/start": replays.start_replay,
    "/replays/{replay}/cancel": replays.cancel_replay,
    "/replays/{replay}/judge": judge,
    "/rollouts/start": rollouts.start,
    "/rollouts/canary": rollouts.canary,
    "/rollouts/promote": rollouts.promote,
    "/rollouts/rollback": rollouts.roll_back,
    "/rollouts/abort": rollouts.abort,
    "/approvals/{approval}/vote": approvals.vote,
    "/approvals/{approval}/withdraw": approvals.withdraw,
}


def screens() -> Screens:
    """Return all pages, files and forms."""
    return Screens(pages=_PAGES, files=_FILES, actions=_ACTIONS)


def bar(problems: Mapping[str, Callable[[], str]]) -> Callable[[Visitor], Awaitable[Mapping[str, Any]]]:
    """Return what tells the top bar which policy is live, whether plans can be decided, and what waits for people.

    ``problems`` tells by tenant why its plans cannot be.
    """

    async def told(visitor: Visitor) -> Mapping[str, Any]:
        tenant = visitor.calls.tenant(visitor.presented)
        status, _ = await visitor.attempt(
            "BundleService/GetStatus", bundle_service_pb2.GetStatusRequest(), bundle_service_pb2.GetStatusResponse
        )
        return {
            "sections": sections(),
            "revision": status.status.live.commit if status else "",
            "wanted": status.status.wanted if status else "",
            "problem": problems[tenant](),
            "tenant": tenant if len(problems) > 1 else "",
            "waiting": await _waiting(visitor),
        }

    return told


async def _waiting(visitor: Visitor) -> int:
    """Return how many requests wait for people now, which is the first that one hears who listens."""
    if not visitor.may(CALL):
        return 0
    request, answer = approval_service_pb2.WatchWaitingRequest(), approval_service_pb2.WatchWaitingResponse
    with contextlib.suppress(AisecopsError):
        async with contextlib.aclosing(visitor.stream(CALL, request, answer)) as told:
            async for now in told:
                return now.waiting
    return 0
