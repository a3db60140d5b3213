"""Exports as bytes: one JSON document a line, so that nothing in a text can begin a line of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import orjson

from aisecops_server.domain.exports.cloud_event import cloud_event
from aisecops_server.domain.exports.ocsf import ocsf_events
from aisecops_server.domain.exports.otlp_trace import otlp_request
from aisecops_server.domain.exports.record import Exported, ExportFormat
from aisecops_server.domain.exports.sarif_findings import sarif_log
from aisecops_server.domain.formats.canonical import JsonValue


def event_lines(item: Exported, form: ExportFormat) -> bytes:
    """Return the lines that one event makes.

    Raises:
        ValueError: the format is about whole traces.
    """
    return b"".join(orjson.dumps(document) + b"\n" for document in _documents(item, form))


def trace_lines(items: Sequence[Exported], form: ExportFormat) -> bytes:
    """Return what all events of traces make, in the order of the log."""
    match form:
        case ExportFormat.SARIF:
            return orjson.dumps(sarif_log(items), option=orjson.OPT_INDENT_2) + b"\n"
        case ExportFormat.OTLP:
            traces = dict.fromkeys(item.stored.event.trace_id for item in items)
            own = ([item for item in items if item.stored.event.trace_id == trace] for trace in traces)
            return b"".join(orjson.dumps(otlp_request(events)) + b"\n" for events in own)
    return b"".join(event_lines(item, form) for item in items)


def _documents(item: Exported, form: ExportFormat) -> Iterator[JsonValue]:
    match form:
        case ExportFormat.OCSF:
            yield from ocsf_events(item)
        case ExportFormat.CLOUDEVENTS:
            yield cloud_event(item)
        case ExportFormat.NDJSON:
            yield _record(item)
        case _:
            raise ValueError(f"{form} is about whole traces")


def _record(item: Exported) -> JsonValue:
    event = item.stored.event
    return {
        "log_index": item.stored.index,
        "leaf_hash": item.stored.leaf_hash.hex(),
        "event_id": event.id,
        "trace_id": event.trace_id,
        "plan_id": event.plan_id,
        "decision_id": event.decision_id,
        "stage": event.stage.value,
        "type": event.type,
        "time": item.time,
        "details": dict(item.details),
    }
