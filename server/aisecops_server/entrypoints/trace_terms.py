"""A query of people as the API's filter: the same for pages and for commands."""

from __future__ import annotations

from collections.abc import Sequence

from aisecops.v1 import audit_service_pb2 as api
from aisecops.v1.replay_pb2 import ReplaySelection
from google.protobuf.timestamp_pb2 import Timestamp

from aisecops_server.domain.traces.trace_query import TraceQuery

_NS = 1_000_000_000


def filter_of(query: TraceQuery) -> api.TraceFilter:
    """Return a query as the API's filter."""
    narrow = query.narrow
    found = api.TraceFilter(
        agent_id=narrow.agent_id,
        outcome=narrow.outcome,
        tool=narrow.tool,
        rule=narrow.rule,
        trust=narrow.trust,
        revision=narrow.revision,
        mode=narrow.mode,
    )
    if query.compared.terms:
        found.query = query.compared.written()
    found.without.extend(api.TraceTerm(field=field, value=value) for field, value in narrow.without)
    # `from` is a word of Python, so the field is reached by name.
    for stamp, moment in ((getattr(found, "from"), narrow.from_ns), (found.to, narrow.to_ns)):
        if moment:
            stamp.CopyFrom(Timestamp(seconds=moment // _NS))
    return found


def selection_of(
    query: TraceQuery, *, options: api.TraceFilter | None = None, traces: Sequence[str]
) -> ReplaySelection:
    """Return what a query and ``options`` beside it select, of those ``traces`` alone if any are named."""
    narrow = filter_of(query.wanted)
    narrow.MergeFrom(options or api.TraceFilter())
    found = ReplaySelection(trace_ids=traces, query=query.beyond.written())
    for field, value in narrow.ListFields():
        target = getattr(found, field.name)
        target.CopyFrom(value) if field.message_type else setattr(found, field.name, value)
    return found
