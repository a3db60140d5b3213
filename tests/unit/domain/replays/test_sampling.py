from __future__ import annotations

from aisecops_server.domain.replays.sampling import allocation, spread
from hypothesis import given
from hypothesis import strategies as st


@given(st.dictionaries(st.integers(), st.integers(0, 10_000), max_size=40), st.integers(1, 300))
def test_a_sample_is_no_larger_than_asked_and_than_what_there_is(sizes, most):
    taken = allocation(sizes, most)
    assert sum(taken.values()) <= most
    assert all(0 < taken[stratum] <= sizes[stratum] for stratum in taken)


def test_rare_strata_have_a_place_before_common_ones_have_many():
    taken = allocation({"common": 100_000, "rare": 1, "few": 100}, 200)
    assert taken["rare"] == 1
    assert taken["few"] >= 5
    assert taken["common"] > 100


def test_few_decisions_are_all_taken():
    assert allocation({"a": 3, "b": 4, "none": 0}, 10) == {"b": 4, "a": 3}


@given(st.integers(0, 500), st.integers(1, 100))
def test_a_spread_is_in_order_without_repeats_and_the_same_each_time(length, count):
    items = list(range(length))
    chosen = spread(items, count)
    assert chosen == sorted(set(chosen)) == spread(items, count)
    assert len(chosen) == min(length, count)


def test_a_spread_reaches_from_the_first_to_the_last():
    assert spread(range(100), 4) == [12, 37, 62, 87]
