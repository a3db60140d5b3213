"""AuditService: reads the log. It shows stored bytes as they are and never writes."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from aisecops.v1 import audit_service_pb2 as api
from aisecops.v1 import decision_pb2, event_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from aisecops_server.domain.decisions.decision import Mode, Outcome
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.formats.identifiers import is_trace_id
from aisecops_server.domain.log.record import TraceFilter, TraceSummary
from aisecops_server.domain.log.trace_gates import met_at
from aisecops_server.domain.plans.provenance import TrustLevel
from aisecops_server.domain.traces.trace_facets import FACETS, Facet
from aisecops_server.domain.traces.trace_query import LATEST_NS, read_query
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.decision_codec import decision_message, timestamp
from aisecops_server.entrypoints.grpc.methods import Gate, read_message
from aisecops_server.entrypoints.grpc.outline_codec import STAGES, write_outline
from aisecops_server.entrypoints.grpc.paging import page_size
from aisecops_server.ports import EventLog

_MAX_PAGE = 500
_FILTER_CHARACTERS = 256
# No id is as long.
_EVENT_ID_CHARACTERS = 256
_MOST_WITHOUT = 16
_ALLOWED = {"outcome": tuple(Outcome), "mode": tuple(Mode), "trust": tuple(TrustLevel)}
_TEXTS = ("agent_id", "outcome", "tool", "rule", "trust", "revision", "mode")
_VIEWS = frozenset(api.TraceView.values())
# A stream checks its credential again after so many events.
_EVENTS_PER_CHECK = 256


@dataclass(frozen=True, slots=True)
class AuditService:
    """The handlers of ``aisecops.v1.AuditService``."""

    log: EventLog
    gate: Gate

    async def trace(self, request: bytes, _caller: Caller) -> api.GetTraceResponse:
        """Answer GetTrace."""
        asked = read_message(api.GetTraceRequest, request)
        trace_id = checked_trace_id(asked.trace_id)
        if asked.view not in _VIEWS:
            raise InvalidRequestError(f"view: {asked.view} is none", hint="Leave it out for everything", field="view")
        if asked.view == api.TRACE_VIEW_OUTLINE:
            outline = await self.log.outline(trace_id)
            found = api.GetTraceResponse(summary=_summary(outline.summary))
            write_outline(outline, found)
            return found
        trace = await self.log.trace(trace_id)
        found = api.GetTraceResponse(
            summary=_summary(trace.summary),
            decisions=[decision_message(decision.details) for decision in trace.decisions],
        )
        # Made where they are to stand: a long trace has a hundred thousand, which would else be copied.
        for event in trace.events:
            _write(event, found.events.add())
        return found

    async def event(self, request: bytes, _caller: Caller) -> api.GetEventResponse:
        """Answer GetEvent."""
        asked = read_message(api.GetEventRequest, request)
        found = await self.log.event(checked_trace_id(asked.trace_id), asked.event_id[:_EVENT_ID_CHARACTERS])
        return api.GetEventResponse(
            event=event_message(found.stored),
            before_id=found.before,
            after_id=found.after,
            decision=decision_message(found.decision.details) if found.decision else None,
        )

    async def list_traces(self, request: bytes, _caller: Caller) -> api.ListTracesResponse:
        """Answer ListTraces."""
        asked = read_message(api.ListTracesRequest, request)
        page = await self.log.traces(
            trace_filter(asked.filter),
            page_size=page_size(asked.page_size, at_most=_MAX_PAGE),
            page_token=asked.page_token,
        )
        return api.ListTracesResponse(
            traces=[_summary(trace) for trace in page.traces], next_page_token=page.next_token
        )

    async def list_trace_facets(self, request: bytes, _caller: Caller) -> api.ListTraceFacetsResponse:
        """Answer ListTraceFacets."""
        asked = read_message(api.ListTraceFacetsRequest, request)
        fields = tuple(dict.fromkeys(asked.fields)) or FACETS
        if unknown := [field for field in fields if field not in FACETS]:
            raise InvalidRequestError(
                f"fields: '{unknown[0][:32]}' is none", hint=f"They are {', '.join(FACETS)}", field="fields"
            )
        found = await self.log.facets(trace_filter(asked.filter), () if asked.count_only else fields)
        return api.ListTraceFacetsResponse(
            counted=found.counted, whole=found.is_whole, facets=[_facet(facet) for facet in found.facets]
        )

    async def stream_events(self, request: bytes, caller: Caller) -> AsyncIterator[api.StreamEventsResponse]:
        """Answer StreamEvents; ends when the caller goes, or its credential does."""
        asked = read_message(api.StreamEventsRequest, request)
        if asked.from_index < 0:
            raise InvalidRequestError("from_index: is negative", field="from_index")
        trace_id = checked_trace_id(asked.trace_id) if asked.trace_id else ""
        events = self.log.events(from_index=asked.from_index, follow=asked.follow, trace_id=trace_id)
        sent = 0
        async with aclosing(events):
            async for event in events:
                if sent % _EVENTS_PER_CHECK == 0 or asked.follow:
                    self.gate.still(caller)
                sent += 1
                yield api.StreamEventsResponse(event=event_message(event))


def event_message(stored: StoredEvent) -> event_pb2.Event:
    """Return a stored event as the API shows it, body byte for byte."""
    made = event_pb2.Event()
    _write(stored, made)
    return made


def _write(stored: StoredEvent, made: event_pb2.Event) -> None:
    event, occurred_at = stored.event, made.occurred_at
    made.event_id = event.id
    made.log_index = stored.index
    made.trace_id = event.trace_id
    made.plan_id = event.plan_id
    made.decision_id = event.decision_id
    made.stage = STAGES[event.stage]
    made.type = event.type
    occurred_at.seconds, occurred_at.nanos = divmod(event.occurred_at_ns, 1_000_000_000)
    made.leaf_hash = stored.leaf_hash.hex()
    made.body_json = event.body
    made.payload = event.payload
    made.erased = event.is_erased


def _facet(facet: Facet) -> api.TraceFacet:
    return api.TraceFacet(
        field=facet.field,
        values=[api.TraceFacetValue(value=one.value, count=one.count) for one in facet.values],
        left_out=facet.left_out,
        counted=facet.counted,
        whole=facet.is_whole,
    )


def _summary(trace: TraceSummary) -> event_pb2.TraceSummary:
    return event_pb2.TraceSummary(
        trace_id=trace.trace_id,
        agent_id=trace.agent_id,
        outcome=trace.outcome,
        mode=trace.mode,
        intent=trace.intent,
        tools=trace.tools,
        rules=trace.rules,
        lowest_trust=trace.lowest_trust,
        bundle_revision=trace.bundle_revision,
        decisions=trace.decisions,
        started_at=timestamp(trace.started_at_ns),
        last_at=timestamp(trace.last_at_ns),
        agents=trace.agents,
        effects=trace.effects,
        steps=trace.steps,
        tokens=trace.tokens,
        micro_usd=trace.micro_usd,
        budget_share=trace.budget_share,
        gates=_gates(trace.gates),
    )


# Most traces came as far as others did.
@functools.lru_cache(256)
def _gates(gates: str) -> tuple[event_pb2.TraceGate, ...]:
    return tuple(
        event_pb2.TraceGate(
            stage=event_pb2.Stage.Value(f"STAGE_{stage.name}"),
            effect=decision_pb2.Effect.Value(f"EFFECT_{effect.name if effect else 'UNSPECIFIED'}"),
        )
        for stage, effect in met_at(gates)
    )


def trace_filter(asked: api.TraceFilter) -> TraceFilter:
    """Return the filter that a request asks for.

    Raises:
        InvalidRequestError: a field is not one that could match.
    """
    texts: dict[str, Any] = {name: filter_text(name, getattr(asked, name)) for name in _TEXTS}
    # `from` is a keyword of the language, so the field has no attribute.
    begins: Timestamp = getattr(asked, "from")
    typed = TraceFilter(
        **texts,
        from_ns=filter_time(begins, "filter.from"),
        to_ns=filter_time(asked.to, "filter.to"),
        without=_without(asked.without),
    )
    return both(typed, read_query(asked.query, place="filter.query").narrow, place="filter")


def both(typed: TraceFilter, asked: TraceFilter, *, place: str) -> TraceFilter:
    """Return the filter of fields and of the query beside them.

    Raises:
        InvalidRequestError: both ask for a field.
    """
    single = (*_TEXTS, "from_ns", "to_ns")
    wanted = {match.field for match in asked.words if not match.leaves_out}
    if twice := [name for name in single if getattr(typed, name) and (getattr(asked, name) or name in wanted)]:
        name = twice[0].removesuffix("_ns")
        raise InvalidRequestError(
            f"{place}.query: asks for {name.removesuffix('_id')}, which is set beside it",
            hint="Ask for it once",
            field=f"{place}.query",
        )
    joined: dict[str, Any] = {name: getattr(typed, name) or getattr(asked, name) for name in single}
    return TraceFilter(
        **joined,
        without=typed.without + asked.without,
        words=asked.words,
        numbers=asked.numbers,
    )


def _without(terms: Sequence[api.TraceTerm]) -> tuple[tuple[str, str], ...]:
    if len(terms) > _MOST_WITHOUT:
        raise InvalidRequestError(f"filter.without: more than {_MOST_WITHOUT}", field="filter.without")
    for term in terms:
        if term.field not in _TEXTS or not term.value:
            raise InvalidRequestError(
                "filter.without: each is a field with a value",
                hint=f"A field is one of {', '.join(_TEXTS)}",
                field="filter.without",
            )
        filter_text(term.field, term.value, place="filter.without")
    return tuple((term.field, term.value) for term in terms)


def filter_text(name: str, value: str, *, place: str = "filter") -> str:
    """Return a field that narrows to a word, where it is one that could match.

    Raises:
        InvalidRequestError: it could not.
    """
    if len(value) > _FILTER_CHARACTERS:
        raise InvalidRequestError(f"{place}.{name}: too long", field=f"{place}.{name}")
    if "\0" in value:
        raise InvalidRequestError(
            f"{place}.{name}: holds a character that no name has", hint="Take U+0000 out of it", field=f"{place}.{name}"
        )
    allowed = _ALLOWED.get(name)
    if value and allowed and value not in allowed:
        raise InvalidRequestError(f"{place}.{name}: must be one of {', '.join(allowed)}", field=f"{place}.{name}")
    return value


def filter_time(time: Timestamp, field: str) -> int:
    """Return a field that narrows to a time, in nanoseconds; 0 when it is not set.

    Raises:
        InvalidRequestError: it is no time since 1970.
    """
    if time.seconds < 0 or not 0 <= time.nanos < 1_000_000_000 or time.seconds > 253_402_300_799:  # noqa: PLR2004
        raise InvalidRequestError(f"{field}: not a time since 1970", field=field)
    return min(time.seconds * 1_000_000_000 + time.nanos, LATEST_NS)


def checked_trace_id(text: str) -> str:
    """Return a trace id that a caller sent.

    Raises:
        InvalidRequestError: it is none.
    """
    if not is_trace_id(text):
        raise InvalidRequestError("trace_id: not 32 lower-case hexadecimal digits", field="trace_id")
    return text
