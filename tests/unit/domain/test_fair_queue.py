"""Who starts next: bounded, fair, and never waiting in vain, whatever comes and goes."""

from __future__ import annotations

import pytest
from aisecops_server.domain.errors import OverloadedError
from aisecops_server.domain.fair_queue import FairQueue, Place, Ticket
from hypothesis import given
from hypothesis import strategies as st


def test_a_quiet_caller_starts_next_however_many_a_noisy_one_has_waiting() -> None:
    queue = FairQueue(slots=2, limit=20, patience=60.0)
    noisy = [queue.offer("noisy", 1, now=0.0, ends_at=60.0)[0] for _ in range(20)]
    quiet, left = queue.offer("quiet", 1, now=0.0, ends_at=60.0)
    assert left == (noisy[-1],)
    queue.leave(noisy[0], now=1.0)
    started, late = queue.next(now=1.0)
    assert (started, late) == ([quiet], [])


def test_the_noisy_caller_itself_is_told_that_there_is_no_room() -> None:
    queue = FairQueue(slots=2, limit=4, patience=60.0)
    for _ in range(4):
        queue.offer("noisy", 1, now=0.0, ends_at=60.0)
    with pytest.raises(OverloadedError) as refused:
        queue.offer("noisy", 1, now=0.0, ends_at=60.0)
    assert int(refused.value.metadata()["retry_milliseconds"]) > 0


MOVES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6), st.booleans()), max_size=60)


@given(st.integers(2, 12), MOVES)
def test_the_bounds_hold_and_nothing_leaks(limit: int, moves: list[tuple[str, int, bool]]) -> None:
    queue = FairQueue(slots=max(1, limit // 2), limit=limit, patience=60.0)
    tickets: list[Ticket] = []
    for at, (caller, weight, leaves) in enumerate(moves):
        if leaves and tickets:
            queue.leave(tickets.pop(0), now=float(at))
        try:
            tickets.append(queue.offer(caller, weight, now=float(at), ends_at=at + 30.0)[0])
        except OverloadedError:
            continue
        queue.next(now=float(at))
        assert queue.running + queue.waiting <= limit
        assert not queue.waiting or queue.running >= queue.slots
    for ticket in tickets:
        queue.leave(ticket, now=1000.0)
        assert ticket.place is Place.LEFT
    assert (queue.running, queue.waiting, queue._held, queue._lines) == (0, 0, {}, {})
