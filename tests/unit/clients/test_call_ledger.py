"""What a framework asks for again while it is under way: the end is waited for, and nothing runs twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest
from aisecops_client.frameworks._ledger import Ledger, State
from aisecops_client.refusals import CallRefusedError


def test_who_asks_again_gets_what_the_call_gave_when_it_ends() -> None:
    ledger = Ledger(wait_seconds=60)
    first = ledger.claim("send", "turn 1")
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(ledger.claim, "send", "turn 1")
        assert not again.done()
        ledger.ran(first, "done")
        found = again.result(60)
    assert (found.state, found.result) == (State.RAN, "done")


@pytest.mark.parametrize("end", [Ledger.failed, Ledger.released])
def test_of_a_call_that_did_not_run_through_one_who_waits_makes_it(end) -> None:
    ledger = Ledger(wait_seconds=60)
    first = ledger.claim("send", "turn 1")
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(ledger.claim, "send", "turn 1") for _ in range(2)]
        end(ledger, first)
        made = []
        for future in as_completed(waiting, timeout=60):
            entry = future.result()
            if entry.state is State.UNDER_WAY:
                made.append(entry)
                ledger.ran(entry, "done")
    assert len(made) == 1
    assert {future.result().result for future in waiting} == {"done"}


def test_what_does_not_end_is_refused_and_stays_one() -> None:
    ledger = Ledger(wait_seconds=0)
    first = ledger.claim("send", "turn 1")
    with pytest.raises(CallRefusedError, match="under way"):
        ledger.claim("send", "turn 1")
    assert ledger.claim("send", "turn 2") is not first
    ledger.released(first)
    assert ledger.claim("send", "turn 1") is first
