"""A batch is cut evenly for the cores there are, within what one request may hold, and loses and reorders nothing."""

from __future__ import annotations

from aisecops_server.adapters.opa.engine import BATCH_BYTES, BATCH_DOCUMENTS, BATCH_LANES, _chunks
from hypothesis import given
from hypothesis import strategies as st


@given(sizes=st.lists(st.integers(1, BATCH_BYTES // 2), max_size=200))
def test_chunks_hold_every_document_once_in_order_within_the_caps(sizes: list[int]) -> None:
    documents = [bytes(size) for size in sizes]
    chunks = list(_chunks(documents))
    assert [document for chunk in chunks for document in chunk] == documents
    assert all(0 < len(chunk) <= BATCH_DOCUMENTS for chunk in chunks)
    assert all(sum(map(len, chunk)) <= BATCH_BYTES for chunk in chunks)


@given(count=st.integers(2, BATCH_DOCUMENTS))
def test_small_batches_use_every_lane(count: int) -> None:
    chunks = list(_chunks([b"{}"] * count))
    assert len(chunks) >= min(count, BATCH_LANES) - 1
    assert max(map(len, chunks)) <= -(-count // BATCH_LANES)


def test_a_document_over_the_cap_goes_alone() -> None:
    large = bytes(BATCH_BYTES + 1)
    assert list(_chunks([b"1", large, b"2"])) == [[b"1"], [large], [b"2"]]
