"""JSON of the API: what is written is read again, and what is read is what protobuf's own reader takes it for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aisecops.v1.approval_service_pb2 import VoteRequest
from aisecops.v1.audit_service_pb2 import ListTracesRequest, StreamEventsResponse
from aisecops.v1.decision_service_pb2 import DecideRequest
from aisecops.v1.event_pb2 import Event
from aisecops.v1.ext_authz_pb2 import ExtAuthzHttp
from aisecops.v1.plan_pb2 import ExecutionPlan, Step
from aisecops.v1.provenance_pb2 import Source
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.entrypoints.grpc.json_wire import json_of, read_json
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

LIMIT = 100_000
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
STEPS = st.builds(Step, step_id=TEXTS, tool=TEXTS, arguments_json=st.binary(max_size=30))
SOURCES = st.builds(Source, source_id=TEXTS, kind=st.integers(0, 3), content=st.binary(max_size=30))
PLANS = st.builds(ExecutionPlan, intent=TEXTS, steps=st.lists(STEPS, max_size=3), sources=st.lists(SOURCES, max_size=3))
REQUESTS = st.builds(DecideRequest, plan=PLANS, idempotency_key=TEXTS)
EVENTS = st.builds(
    Event,
    event_id=TEXTS,
    log_index=st.integers(-(2**63), 2**63 - 1),
    occurred_at=st.builds(Timestamp, seconds=st.integers(0, 253_402_300_799), nanos=st.integers(0, 999_999_999)),
    erased=st.booleans(),
)
SCALARS = st.none() | st.booleans() | st.integers(-5, 2**53 - 1) | st.floats(allow_nan=False, width=16) | TEXTS
NAMES = st.sampled_from(["plan", "idempotencyKey", "idempotency_key", "steps", "sources", "kind", "stepId", "message"])
VALUES = st.recursive(SCALARS, lambda deeper: st.lists(deeper, max_size=3) | st.dictionaries(NAMES, deeper, max_size=4))


@given(REQUESTS)
def test_a_request_is_read_as_it_was_written(message: DecideRequest) -> None:
    assert read_json(DecideRequest, json_of(message).encode(), limit=LIMIT) == message
    as_in_the_protos = json_format.MessageToJson(message, preserving_proto_field_name=True)
    assert read_json(DecideRequest, as_in_the_protos.encode(), limit=LIMIT) == message


@given(EVENTS)
def test_numbers_and_times_are_read_as_they_were_written(event: Event) -> None:
    message = StreamEventsResponse(event=event)
    assert read_json(StreamEventsResponse, json_of(message).encode(), limit=LIMIT) == message
    assert "\n" not in json_of(message)
    assert json_of(message).isascii()


@given(VALUES)
def test_whatever_is_sent_is_refused_or_read_as_by_protobuf(value: Any) -> None:
    body = json.dumps(value).encode()
    try:
        found = read_json(DecideRequest, body, limit=LIMIT)
    except InvalidRequestError:
        return
    assert found == json_format.Parse(body, DecideRequest())


@pytest.mark.parametrize(
    ("kind", "body", "place"),
    [
        (DecideRequest, b'{"plan": {}, "plan": {}}', "body"),
        (DecideRequest, b'{"plan": {"steps": [{}, {"stepID": "s"}]}}', "plan.steps[1].stepID"),
        (DecideRequest, b'{"plan": {"steps": [null]}}', "plan.steps[0]"),
        (ListTracesRequest, b'{"pageSize": 2147483648}', "body"),
        (ListTracesRequest, b'{"filter": {"from": "yesterday"}}', "body"),
        (ListTracesRequest, b'{"filter": {"from": {"seconds": 1}}}', "body"),
        (VoteRequest, b'{"approvalId": null, "approval_id": "x"}', "approval_id"),
        (ExtAuthzHttp, b'{"headers": []}', "headers"),
        (ExtAuthzHttp, b'{"headers": {"a": 1}}', "headers.a"),
    ],
)
def test_what_is_wrong_is_named(kind: type[Message], body: bytes, place: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read_json(kind, body, limit=LIMIT)
    assert refused.value.metadata()["field"] == place
    assert place in refused.value.message


def test_a_body_has_a_limit() -> None:
    assert read_json(DecideRequest, b"{}" + b" " * 98, limit=100) == DecideRequest()
    with pytest.raises(InvalidRequestError):
        read_json(DecideRequest, b"{}" + b" " * 99, limit=100)
