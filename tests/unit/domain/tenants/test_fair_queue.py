"""Who starts next: bounded, fair, and never waiting in vain, whatever comes and goes."""

from __future__ import annotations

import pytest
from aisecops_server.domain.errors import OverloadedError
from aisecops_server.domain.tenants.fair_queue import FairQueue, Place, Refused, Ticket
from hypothesis import given
from hypothesis import strategies as st

FAR = 1000.0


def patient(slots: int, limit: int) -> FairQueue:
    return FairQueue(slots=slots, limit=limit, patience=FAR)


def offered(queue: FairQueue, tenant: str, caller: str = "agent", *, weight: int = 1, now: float = 0.0) -> Ticket:
    return queue.offer(tenant, caller, weight, now=now, ends_at=now + FAR)[0]


def order(queue: FairQueue, running: list[Ticket]) -> list[str]:
    """Let everything run one after the other and return the callers in the order of their starts."""
    callers = []
    while running:
        queue.leave(running.pop(0), now=0.0)
        started, _ = queue.next(now=0.0)
        running += started
        callers += [ticket.caller for ticket in started]
    return callers


def test_a_quiet_tenant_starts_next_however_much_a_loud_one_has_waiting() -> None:
    queue = patient(2, 20)
    loud = [offered(queue, "loud") for _ in range(20)]
    quiet, left = queue.offer("quiet", "agent", 1, now=0.0, ends_at=FAR)
    assert left == (loud[-1],)
    queue.leave(loud[0], now=1.0)
    assert queue.next(now=1.0) == ([quiet], [])


def test_turns_go_round_among_tenants_first_and_then_among_their_agents() -> None:
    queue = patient(1, 40)
    running = [offered(queue, "x", "first")]
    for caller in ("a1", "a1", "a1", "a2", "a3"):
        offered(queue, "a", caller)
    for caller in ("b1", "b1"):
        offered(queue, "b", caller)
    assert order(queue, running) == ["a1", "b1", "a2", "b1", "a3", "a1", "a1"]


def test_heavy_work_of_one_counts_against_it_and_not_against_others() -> None:
    queue = patient(1, 40)
    running = [offered(queue, "x", "first")]
    offered(queue, "a", "batch", weight=3)
    offered(queue, "a", "batch")
    for _ in range(4):
        offered(queue, "b", "single")
    assert order(queue, running) == ["batch", "single", "single", "single", "batch", "single"]


def test_who_comes_back_later_is_owed_nothing_for_being_away() -> None:
    queue = patient(1, 40)
    held = offered(queue, "a", "busy")
    for _ in range(5):
        nearest = offered(queue, "a", "busy")
        queue.leave(held, now=0.0)
        queue.next(now=0.0)
        held = nearest
    for caller in ("busy", "new", "new", "new", "busy"):
        offered(queue, "a", caller)
    assert order(queue, [held])[:4] == ["new", "busy", "new", "busy"]


@pytest.mark.parametrize("others", [0, 3])
def test_the_loud_one_itself_is_told_that_there_is_no_room(others: int) -> None:
    queue = patient(2, 8)
    for number in range(others):
        offered(queue, f"other{number}")
    for _ in range(8 - others):
        offered(queue, "loud")
    before = queue.waiting, queue.running
    with pytest.raises(OverloadedError) as refused:
        offered(queue, "loud")
    said = refused.value.metadata()
    assert (said["why"], int(said["retry_milliseconds"]) > 0) == ("full", True)
    assert (queue.waiting, queue.running) == before
    assert queue.refused == {(Refused.FULL, "loud"): 1}


def test_of_one_tenant_the_agent_with_most_gives_way_to_another() -> None:
    queue = patient(2, 8)
    loud = [offered(queue, "one", "loud") for _ in range(8)]
    _, left = queue.offer("one", "quiet", 1, now=0.0, ends_at=FAR)
    assert left == (loud[-1],)
    assert left[0].place is Place.OUT


def test_nobody_leaves_in_vain() -> None:
    queue = patient(1, 8)
    for tenant in ("a", "b"):
        for _ in range(4):
            offered(queue, tenant)
    with pytest.raises(OverloadedError):
        offered(queue, "c", weight=4)
    assert (queue.running, queue.waiting) == (1, 7)
    assert offered(queue, "c").place is Place.WAITING


def test_before_anything_ended_a_standstill_is_seen() -> None:
    queue = FairQueue(slots=1, limit=100, patience=FAR)
    offered(queue, "a")
    for _ in range(9):
        offered(queue, "a")
    assert queue.pace(5.0) == 5.0
    with pytest.raises(OverloadedError) as refused:
        queue.offer("a", "agent", 1, now=5.0, ends_at=45.0)
    assert refused.value.metadata()["why"] == "hopeless"
    assert queue.offer("a", "agent", 1, now=5.0, ends_at=60.0)[0].place is Place.WAITING


def test_what_cannot_end_before_its_deadline_is_refused_at_once() -> None:
    queue = FairQueue(slots=2, limit=100, patience=FAR)
    queue.leave(offered(queue, "a", now=0.0), now=4.0)
    for _ in range(4):
        offered(queue, "a", now=4.0)
    assert queue.pace(4.0) == 4.0
    with pytest.raises(OverloadedError):
        queue.offer("a", "agent", 1, now=4.0, ends_at=4.0 + 15.0)
    # Somebody with nothing waiting starts earlier, and so still ends in time.
    assert queue.offer("b", "agent", 1, now=4.0, ends_at=4.0 + 15.0)[0].place is Place.WAITING


def test_whoever_waited_its_time_does_not_start() -> None:
    queue = FairQueue(slots=1, limit=10, patience=1.0)
    running = offered(queue, "a")
    late = offered(queue, "a")
    heavy = offered(queue, "a", weight=3)
    queue.leave(running, now=2.0)
    assert queue.next(now=2.0) == ([heavy], [late])
    queue.leave(late, now=2.0)
    queue.leave(heavy, now=2.0)
    assert (queue.running, queue.waiting) == (0, 0)


def test_callers_that_are_all_refused_are_not_remembered_for_ever() -> None:
    queue = patient(1, 4)
    for _ in range(4):
        offered(queue, "a")
    for number in range(2000):
        with pytest.raises(OverloadedError):
            queue.offer("a", f"new{number}", 1, now=5.0, ends_at=5.1)
    assert len(queue._tenants["a"].lines) < 400


MOVES = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(1, 6), st.booleans()), max_size=60
)


@given(st.integers(1, 12), MOVES)
def test_the_bounds_hold_and_nothing_leaks(limit: int, moves: list[tuple[str, str, int, bool]]) -> None:
    queue = FairQueue(slots=max(1, limit // 2), limit=limit, patience=60.0)
    tickets: list[Ticket] = []
    for at, (tenant, caller, weight, leaves) in enumerate(moves):
        if leaves and tickets:
            queue.leave(tickets.pop(0), now=float(at))
        try:
            tickets.append(queue.offer(tenant, caller, weight, now=float(at), ends_at=at + 30.0)[0])
        except OverloadedError:
            continue
        queue.next(now=float(at))
        assert queue.running + queue.waiting <= limit
        assert not queue.waiting or queue.running >= queue.slots
        assert sum(one.weight for one in tickets if one.place is not Place.OUT) == queue.running + queue.waiting
    for ticket in tickets:
        queue.leave(ticket, now=1000.0)
        assert ticket.place is Place.OUT
    assert (queue.running, queue.waiting, queue._tenants) == (0, 0, {})


@given(st.integers(2, 5), st.integers(1, 20))
def test_every_tenant_with_work_gets_its_share_of_the_turns(quiet: int, turns: int) -> None:
    queue = patient(1, 1000)
    held = offered(queue, "loud")
    for _ in range(200):
        offered(queue, "loud")
    for number in range(quiet):
        for _ in range(turns):
            offered(queue, f"quiet{number}")
    starts: list[str] = []
    for _ in range((quiet + 1) * turns):
        queue.leave(held, now=0.0)
        [held], _ = queue.next(now=0.0)
        starts.append(held.tenant)
    assert all(starts.count(f"quiet{number}") >= turns - 1 for number in range(quiet))


@given(st.integers(1, 12), MOVES)
def test_the_check_before_reading_says_what_an_offer_of_the_lightest_would(
    limit: int, moves: list[tuple[str, str, int, bool]]
) -> None:
    queue = FairQueue(slots=max(1, limit // 2), limit=limit, patience=60.0)
    tickets: list[Ticket] = []
    for at, (tenant, caller, _, leaves) in enumerate(moves):
        if leaves and tickets:
            queue.leave(tickets.pop(0), now=float(at))
        ends_at = at + 30.0
        foretold = True
        try:
            queue.check(tenant, caller, now=float(at), ends_at=ends_at)
        except OverloadedError:
            foretold = False
        try:
            tickets.append(queue.offer(tenant, caller, 1, now=float(at), ends_at=ends_at)[0])
        except OverloadedError:
            assert not foretold
        else:
            assert foretold
