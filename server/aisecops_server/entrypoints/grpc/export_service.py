"""ExportService: the record in the formats of other systems. Payload goes only to who may see it and asks for it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from aisecops.v1 import export_service_pb2 as api

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.exports.record import ExportFormat
from aisecops_server.entrypoints.grpc import access
from aisecops_server.entrypoints.grpc.audit_service import checked_trace_id, filter_time
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.methods import Gate, read_message
from aisecops_server.usecases.evidence.export_records import EventExport, ExportRecords

_PART_BYTES = 1024 * 1024
# A stream checks its credential again after so many events.
_EVENTS_PER_CHECK = 256
_LEAF_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ExportService:
    """The handlers of ``aisecops.v1.ExportService``."""

    export: ExportRecords
    gate: Gate

    async def events(self, request: bytes, caller: Caller) -> AsyncIterator[api.ExportEventsResponse]:
        """Answer ExportEvents; ends when the caller goes, or its credential does."""
        asked = read_message(api.ExportEventsRequest, request)
        found = self.export.events(_wanted(asked, caller))
        sent = 0
        async with aclosing(found):  # type: ignore[type-var]
            async for stored, content in found:
                if sent % _EVENTS_PER_CHECK == 0 or asked.follow:
                    self.gate.still(caller)
                sent += 1
                yield api.ExportEventsResponse(
                    log_index=stored.index, leaf_hash=stored.leaf_hash.hex(), content=content
                )

    async def traces(self, request: bytes, caller: Caller) -> AsyncIterator[api.ExportTracesResponse]:
        """Answer ExportTraces."""
        asked = read_message(api.ExportTracesRequest, request)
        form = _format(asked.format)
        if asked.with_payload:
            access.require_payload(caller.principal)
        ids = [checked_trace_id(text) for text in asked.trace_ids]
        content = await self.export.traces(ids, form, with_payload=asked.with_payload)
        for at in range(0, len(content), _PART_BYTES):
            yield api.ExportTracesResponse(content=content[at : at + _PART_BYTES])


def _wanted(asked: api.ExportEventsRequest, caller: Caller) -> EventExport:
    if asked.with_payload:
        access.require_payload(caller.principal)
    if asked.from_index < 0:
        raise InvalidRequestError("from_index: is negative", field="from_index")
    if asked.after_leaf_hash and not _LEAF_HASH.fullmatch(asked.after_leaf_hash):
        raise InvalidRequestError("after_leaf_hash: not 64 hexadecimal digits", field="after_leaf_hash")
    return EventExport(
        _format(asked.format),
        from_index=asked.from_index,
        since_ns=filter_time(asked.since, "since"),
        follow=asked.follow,
        with_payload=asked.with_payload,
        after_leaf_hash=asked.after_leaf_hash,
    )


def _format(name: str) -> ExportFormat:
    if name not in set(ExportFormat):
        known = ", ".join(ExportFormat)
        raise InvalidRequestError("format: unknown", hint=f"It is one of {known}", field="format")
    return ExportFormat(name)
