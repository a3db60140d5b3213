"""A query of people as the API's filter: the same for pages and for commands."""

from __future__ import annotations

from collections.abc import Sequence

from aisecops.v1 import audit_service_pb2 as api
from aisecops.v1.replay_pb2 import ReplaySelection
from google.protobuf.timestamp_pb2 import Timestamp

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.trace_query import TraceQuery

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
    found.without.extend(api.TraceTerm(field=field, value=value) for field, value in narrow.without)
    # `from` is a word of Python, so the field is reached by name.
    for stamp, moment in ((getattr(found, "from"), narrow.from_ns), (found.to, narrow.to_ns)):
        if moment:
            stamp.CopyFrom(Timestamp(seconds=moment // _NS))
    return found


def selection_of(narrow: api.TraceFilter, *, traces: Sequence[str]) -> ReplaySelection:
    """Return what a filter that leaves nothing out selects, of those ``traces`` alone if any are named."""
    found = ReplaySelection(trace_ids=traces)
    for field, value in narrow.ListFields():
        target = getattr(found, field.name)
        target.CopyFrom(value) if field.message_type else setattr(found, field.name, value)
    return found


def refuse_left_out(query: TraceQuery) -> TraceQuery:
    """Return a query for what can only be narrowed.

    Raises:
        InvalidRequestError: a term of it leaves something out, which would be asked for all the same.
    """
    if query.narrow.without:
        raise InvalidRequestError(
            "a replay cannot leave anything out",
            hint="Take the terms that begin with '-' out of the query",
            field="q",
        )
    return query
