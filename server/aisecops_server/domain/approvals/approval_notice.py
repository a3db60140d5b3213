"""What a message about a request says. Nothing in it was written by an agent or by whom it listened to.

A chat room or a pager is no place for arguments, and a plan's own words could talk to the people there. The message
says who asks, which tools and which rules; everything else is shown where people are known.
"""

from __future__ import annotations

from aisecops_server.domain.approvals.approval import ApprovalRequest
from aisecops_server.domain.formats.canonical import canonical_bytes

TYPE = "approval.requested"


def notice_body(notice_id: str, request: ApprovalRequest) -> bytes:
    """Return the body of the message ``notice_id`` about ``request``, as JSON."""
    return canonical_bytes(
        {
            "type": TYPE,
            "delivery_id": notice_id,
            "approval_id": request.id,
            "agent_id": request.agent_id,
            "tools": sorted(request.tool_digests),
            "rules": sorted({rule for rule, _ in request.findings}),
            "approvers_required": request.terms.approvers_required,
            "groups": request.terms.groups,
            "trace_id": request.trace_id,
            "bundle_revision": request.bundle_revision,
            "requested_at_seconds": request.requested_at_seconds,
            "expires_at_seconds": request.expires_at_seconds,
        }
    )
