"""Fields are counted without parsing: as protobuf counts them, and never further than the bytes go."""

from __future__ import annotations

import pytest
from aisecops.v1.decision_service_pb2 import DecideBatchItem, DecideBatchRequest
from aisecops_server.entrypoints.grpc.wire import occurrences
from hypothesis import given
from hypothesis import strategies as st

FIELD = DecideBatchRequest.ITEMS_FIELD_NUMBER


@given(st.lists(st.text(max_size=300), max_size=40))
def test_items_are_counted_as_protobuf_counts_them(names: list[str]) -> None:
    batch = DecideBatchRequest(items=[DecideBatchItem(correlation_id=name) for name in names])
    assert occurrences(batch.SerializeToString(), FIELD) == len(names)


@given(st.binary(max_size=200))
def test_any_bytes_are_counted_within_their_length(data: bytes) -> None:
    assert 0 <= occurrences(data, FIELD) <= len(data)


@pytest.mark.parametrize(
    "data", [b"\x0a", b"\x0a\x05ab", b"\xff" * 30, b"\x0b", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"]
)
def test_what_is_cut_off_or_no_field_does_not_count(data: bytes) -> None:
    assert occurrences(data, 1) == 0


def test_other_kinds_of_fields_are_passed_over() -> None:
    assert occurrences(b"\x10\x96\x01" + b"\x19" + bytes(8) + b"\x25" + bytes(4) + b"\x0a\x01x", 1) == 1
