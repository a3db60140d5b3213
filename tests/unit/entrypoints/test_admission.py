"""What is in flight is counted exactly, whatever comes and goes."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from aisecops_server.domain.callers.identity import Principal, PrincipalId
from aisecops_server.domain.errors import OverloadedError
from aisecops_server.entrypoints.grpc.admission import Admission
from hypothesis import given
from hypothesis import strategies as st


def principal(name: str) -> Principal:
    return Principal(PrincipalId(name), "token", frozenset())


def test_one_caller_gets_half_and_leaves_the_rest_to_others() -> None:
    admission = Admission(4)
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(admission.admit(principal("a")))
        with pytest.raises(OverloadedError), admission.admit(principal("a")):
            pass
        for name in ("b", "c"):
            held.enter_context(admission.admit(principal(name)))
        with pytest.raises(OverloadedError), admission.admit(principal("d")):
            pass
    assert admission.in_flight == 0


def test_a_place_is_given_back_when_what_held_it_fails() -> None:
    admission = Admission(2)
    with pytest.raises(KeyError), admission.admit(principal("a")):
        raise KeyError
    assert admission.in_flight == 0


def test_what_weighs_more_than_a_share_still_gets_in_alone() -> None:
    admission = Admission(8)
    with admission.admit(principal("a"), weight=100):
        assert admission.in_flight == 4
    assert admission.in_flight == 0


@given(st.integers(1, 9), st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.booleans()), max_size=40))
def test_the_limit_holds_and_nothing_leaks(limit: int, moves: list[tuple[str, int, bool]]) -> None:
    admission = Admission(limit)
    held: list[ExitStack] = []
    for name, weight, leaves in moves:
        if leaves and held:
            held.pop(0).close()
        stack = ExitStack()
        try:
            stack.enter_context(admission.admit(principal(name), weight=weight))
        except OverloadedError:
            continue
        held.append(stack)
        assert 0 < admission.in_flight <= limit
    for stack in held:
        stack.close()
    assert (admission.in_flight, admission._of_principal) == (0, {})
