"""What every ``BudgetLedger`` must show of the changes that were made. Used like ``event_log``."""

from __future__ import annotations

import abc
import dataclasses

import pytest
from aisecops_server.domain.budgets.budget import Budget, BudgetFilter, Counter
from aisecops_server.domain.budgets.budget_changes import Adjust, BudgetChange, Reserve, Settle
from aisecops_server.domain.budgets.reservation import Portion, Reservation, settlement
from aisecops_server.domain.errors import InvalidRequestError, NotFoundError
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.ports.budgets import BudgetLedger

from tests.scenes.budgets.budget_records import event_record

NOW = 1_800_000_000
NAMES = (
    "agent:a/calls/day",
    "agent:a/calls/minute",
    "agent:b/calls/day",
    "session:a#1/calls/session",
    "session:ab#1/calls/session",
    "team:a/micro_usd/month",
    "tool:a/calls/day",
)
BUDGETS = tuple(map(Budget.named, NAMES))


def reserve(*budgets: Budget, decision: str = "dec-1", now: int = NOW, lease: int = 60, amount: int = 2) -> Reserve:
    """Return a reservation of one step from some budgets."""
    portions = tuple(
        Portion(budget, budget.window.started_at(now), 10, spent=0, steps={"s1": amount}) for budget in budgets
    )
    return Reserve(Reservation(decision, "0" * 32, "plan-1", now + lease, ("s1",), portions))


def adjust(budget: Budget, request: str = "r-1", *, by: int = 1, frozen: bool | None = None) -> Adjust:
    """Return an adjustment by a person."""
    return Adjust(request, budget, budget.window.started_at(NOW), by, frozen, "ada", "because")


class BudgetLedgerContract(abc.ABC):
    """The suite. ``ledger`` is a fixture, and ``take`` stores a change."""

    @abc.abstractmethod
    async def take(self, record: ChangeRecord) -> None:
        """Store one change with its events."""

    async def make(self, *changes: BudgetChange, about: Reservation | None = None) -> None:
        for change in changes:
            await self.take(event_record(change, about, NOW))

    @pytest.mark.asyncio
    async def test_every_budget_of_an_owner_is_told_and_none_of_another(self, ledger: BudgetLedger) -> None:
        await self.make(reserve(*BUDGETS))
        found = await ledger.standing(["agent:a", "session:a#1", "agent:nobody"], now_seconds=NOW)
        assert {state.budget.key for state in found} == {NAMES[0], NAMES[1], NAMES[3]}
        assert {state.counter for state in found} == {Counter(reserved=2)}

    @pytest.mark.asyncio
    async def test_another_period_is_told_apart_in_both_directions(self, ledger: BudgetLedger) -> None:
        await self.make(reserve(BUDGETS[1]), reserve(BUDGETS[1], decision="dec-2", now=NOW + 60, amount=3))
        found = {
            now: (await ledger.standing(["agent:a"], now_seconds=now))[0].counter.reserved
            for now in range(NOW - 60, NOW + 121, 60)
        }
        assert found == {NOW - 60: 0, NOW: 2, NOW + 60: 3, NOW + 120: 0}

    @pytest.mark.asyncio
    async def test_what_is_overdue_comes_in_the_order_in_which_it_waits(self, ledger: BudgetLedger) -> None:
        leases = (30, 10, 20)
        await self.make(*(reserve(BUDGETS[0], decision=f"dec-{lease}", lease=lease) for lease in leases))
        overdue = await ledger.overdue(now_seconds=NOW + 20, limit=10)
        assert [one.decision_id for one in overdue] == ["dec-10", "dec-20"]
        (first,) = await ledger.overdue(now_seconds=NOW + 20, limit=1)
        ended = settlement(first, "s1", {})
        assert ended is not None
        await self.make(Settle(first.decision_id, (ended,)), about=first)
        assert [one.decision_id for one in await ledger.overdue(now_seconds=NOW + 20, limit=9)] == ["dec-20"]
        assert await ledger.reservation("dec-10") == dataclasses.replace(first, closed={"s1": ended.ending})
        assert await ledger.reservation("dec-0") is None

    @pytest.mark.asyncio
    @pytest.mark.parametrize(
        ("narrow", "names"),
        [
            (BudgetFilter(), NAMES),
            (BudgetFilter(subject="agent"), NAMES[:3]),
            (BudgetFilter(id="a"), (NAMES[0], NAMES[1], NAMES[5], NAMES[6])),
            (BudgetFilter(metric="micro_usd"), (NAMES[5],)),
            (BudgetFilter(window="day", subject="agent"), (NAMES[0], NAMES[2])),
            (BudgetFilter(frozen=True), (NAMES[5],)),
            (BudgetFilter(only_of="a"), (NAMES[0], NAMES[1], NAMES[3])),
            (BudgetFilter(only_of="b", subject="team"), ()),
        ],
    )
    async def test_a_list_is_narrowed_and_comes_page_by_page(
        self, ledger: BudgetLedger, narrow: BudgetFilter, names: tuple[str, ...]
    ) -> None:
        await self.make(reserve(*BUDGETS), adjust(BUDGETS[5], frozen=True))
        found, token = [], ""
        while True:
            page = await ledger.budgets(narrow, now_seconds=NOW, page_size=2, page_token=token)
            found += [state.budget.key for state in page.states]
            token = page.next_token
            if not token:
                break
        assert tuple(found) == names

    @pytest.mark.asyncio
    async def test_a_page_token_that_was_not_made_here_is_refused(self, ledger: BudgetLedger) -> None:
        with pytest.raises(InvalidRequestError):
            await ledger.budgets(BudgetFilter(), now_seconds=NOW, page_size=2, page_token="x' OR 1")
        with pytest.raises(InvalidRequestError):
            await ledger.periods(BUDGETS[0], page_size=2, page_token="-1")

    @pytest.mark.asyncio
    async def test_a_budget_that_nobody_used_is_not_there(self, ledger: BudgetLedger) -> None:
        with pytest.raises(NotFoundError):
            await ledger.budget(BUDGETS[0], now_seconds=NOW)
        assert (await ledger.periods(BUDGETS[0], page_size=5, page_token="")).periods == ()

    @pytest.mark.asyncio
    async def test_periods_come_newest_first_and_a_new_one_shows_nothing_used(self, ledger: BudgetLedger) -> None:
        minute = BUDGETS[1]
        await self.make(*(reserve(minute, decision=f"dec-{at}", now=NOW + 60 * at, amount=at + 1) for at in range(3)))
        page = await ledger.periods(minute, page_size=2, page_token="")
        rest = await ledger.periods(minute, page_size=2, page_token=page.next_token)
        assert [state.counter.reserved for state in (*page.periods, *rest.periods)] == [3, 2, 1]
        assert rest.next_token == ""
        assert (await ledger.budget(minute, now_seconds=NOW + 120)).counter == Counter(reserved=3)
        assert (await ledger.budget(minute, now_seconds=NOW + 180)).counter == Counter()

    @pytest.mark.asyncio
    async def test_whoever_looks_after_a_clock_was_ahead_sees_the_period_of_now(self, ledger: BudgetLedger) -> None:
        minute = BUDGETS[1]
        await self.make(reserve(minute, amount=2), reserve(minute, decision="dec-2", now=NOW + 6000, amount=3))
        listed = await ledger.budgets(BudgetFilter(), now_seconds=NOW, page_size=5, page_token="")
        alone = await ledger.budget(minute, now_seconds=NOW)
        assert (alone.period, alone.counter) == (minute.window.started_at(NOW), Counter(reserved=2))
        assert alone in listed.states
        assert (await ledger.budget(minute, now_seconds=NOW + 60)).counter == Counter()

    @pytest.mark.asyncio
    async def test_remarks_are_of_one_budget_and_come_newest_first(self, ledger: BudgetLedger) -> None:
        change = reserve(BUDGETS[0], BUDGETS[5])
        ended = settlement(change.reservation, "s1", {BUDGETS[5].metric: 9})
        assert ended is not None
        await self.make(change, Settle("dec-1", (ended,)), about=change.reservation)
        await self.make(adjust(BUDGETS[0]), adjust(BUDGETS[5], "r-2", frozen=False))
        remarks = await ledger.remarks(BUDGETS[5], limit=10)
        assert [stored.event.type for stored in remarks] == ["budget.adjusted", "budget.overrun"]
        assert len(await ledger.remarks(BUDGETS[5], limit=1)) == 1
        assert await ledger.adjustment("r-2") == adjust(BUDGETS[5], "r-2", frozen=False)
        assert await ledger.adjustment("r-3") is None
