"""Evidence: making packages of traces, the packages that were made, and how somebody else verifies one.

Packages are not kept here; that one was made is in the log, with its digest. The page reads the latest events alone, so
that it costs the same whatever the log holds; it says how far it looked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aisecops.v1 import audit_service_pb2, evidence_service_pb2, transparency_service_pb2
from aisecops.v1.event_pb2 import Event
from starlette.responses import Response

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.events.event import details_in
from aisecops_server.domain.traces.trace_query import read_query
from aisecops_server.entrypoints.trace_terms import filter_of
from aisecops_server.entrypoints.web.visitor import Page, Visitor

LOOKED_AT = 2_000
SHOWN = 50
EXPORTED = "evidence.exported"
_MOST_TRACES = 500


async def evidence_page(visitor: Visitor) -> Page:
    """Show how to make a package, the latest that were made, and how to verify one."""
    checkpoint = await visitor.ask(
        "TransparencyService/GetCheckpoint",
        transparency_service_pb2.GetCheckpointRequest(),
        transparency_service_pb2.GetCheckpointResponse,
    )
    size = int(checkpoint.note.split("\n", 2)[1])
    first = max(0, size - LOOKED_AT)
    packages = await _made(visitor, first)
    view = {
        "packages": packages,
        "first": first,
        "size": size,
        "log_key": checkpoint.log_key,
        "note": checkpoint.note,
        "q": visitor.query("q"),
        "trace": " ".join(visitor.several("trace")),
        "selection": selection_words,
    }
    data = {"packages": packages, "from_index": first, "log_key": checkpoint.log_key, "checkpoint": checkpoint.note}
    return Page("evidence.html", "Evidence", view, data, "Evidence")


async def export(visitor: Visitor) -> Response:
    """Give a package of the traces that the form names, or of those that its query finds; it is recorded."""
    ids = visitor.form.get("traces", "").replace(",", " ").split()
    text = visitor.form.get("q", "").strip()
    if bool(ids) == bool(text) or len(ids) > _MOST_TRACES:
        raise InvalidRequestError(
            f"name up to {_MOST_TRACES} traces, or a query such as a period, and not both",
            hint="Such as from:2026-11-01 to:2026-11-30",
            field="traces",
        )
    request = evidence_service_pb2.ExportEvidenceRequest(trace_ids=ids)
    if text:
        request.filter.CopyFrom(filter_of(read_query(text)))
    return await package_of(visitor, request, "evidence.zip" if len(ids) != 1 else f"evidence-{ids[0]}.zip")


async def package_of(visitor: Visitor, request: evidence_service_pb2.ExportEvidenceRequest, name: str) -> Response:
    """Return the package that ``request`` asks for as a file; ``name`` holds nothing that the API did not take."""
    parts = visitor.stream("EvidenceService/ExportEvidence", request, evidence_service_pb2.ExportEvidenceResponse)
    content = b"".join([part.content async for part in parts])
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type="application/zip", headers=headers)


def selection_words(selection: Mapping[str, Any]) -> str:
    """Return in one line what a package was made of."""
    ids = selection.get("trace_ids", [])
    if ids:
        return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")  # noqa: PLR2004 - a line
    said = (
        (name, " ".join(map(str, value)) if isinstance(value, list) else value) for name, value in selection.items()
    )
    return ", ".join(f"{name} {value}" for name, value in said if value) or "everything"


async def _made(visitor: Visitor, first: int) -> list[dict[str, Any]]:
    request = audit_service_pb2.StreamEventsRequest(from_index=first)
    answers = visitor.stream("AuditService/StreamEvents", request, audit_service_pb2.StreamEventsResponse)
    found = [answer.event async for answer in answers if answer.event.type == EXPORTED]
    return [_package(event) for event in found[: -SHOWN - 1 : -1]]


def _package(event: Event) -> dict[str, Any]:
    told = details_in(event.type, event.body_json, event.payload or None)
    return {
        "event_id": event.event_id,
        "trace_id": event.trace_id,
        "log_index": event.log_index,
        "at": event.occurred_at.seconds,
        "principal": str(told.get("principal", "")),
        "sha256": str(told.get("package_sha256", "")),
        "traces": told.get("traces", 0),
        "selection": told.get("selection") or {},
    }
