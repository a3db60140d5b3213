"""A ledger in memory, for tests of what stands on the ledger rather than of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aisecops_server.domain.budgets.budget import Budget, BudgetFilter, BudgetPage, BudgetState, Counter, PeriodPage
from aisecops_server.domain.budgets.budget_changes import Adjust, BudgetChange
from aisecops_server.domain.budgets.ledger import MemoryBooks, apply
from aisecops_server.domain.budgets.reservation import Reservation, ReservationState
from aisecops_server.domain.errors import AisecopsError, InvalidRequestError, NotFoundError
from aisecops_server.domain.events.event import Event, StoredEvent


@dataclass
class MemoryLedger:
    """Reads ``books``; ``take`` makes a change in them, as a log does that stores it."""

    books: MemoryBooks = field(default_factory=MemoryBooks)
    told: list[StoredEvent] = field(default_factory=list)

    def take(self, change: BudgetChange, events: Sequence[Event]) -> AisecopsError | None:
        refusal = apply(self.books, change)
        if refusal is None:
            self.told += [StoredEvent(event, len(self.told) + at, b"") for at, event in enumerate(events)]
        return refusal

    async def standing(self, owners: Sequence[str], *, now_seconds: int) -> list[BudgetState]:
        return [self._at(budget, now_seconds) for budget in self.books.limits if budget.owner in owners]

    async def reservation(self, decision_id: str) -> Reservation | None:
        return self.books.reservation(decision_id)

    async def overdue(self, *, now_seconds: int, limit: int) -> list[Reservation]:
        waiting = [
            one
            for one in self.books.reservations.values()
            if one.state is ReservationState.RESERVED and one.expires_at_seconds <= now_seconds
        ]
        return sorted(waiting, key=lambda one: one.expires_at_seconds)[:limit]

    async def budgets(self, narrow: BudgetFilter, *, now_seconds: int, page_size: int, page_token: str) -> BudgetPage:
        after = _named(page_token) if page_token else None
        found = [
            self._at(budget, now_seconds)
            for budget in sorted(self.books.limits, key=_order)
            if (after is None or _order(budget) > _order(after)) and self._is_in(narrow, budget)
        ]
        page = tuple(found[:page_size])
        return BudgetPage(page, page[-1].budget.key if len(found) > page_size else "")

    async def budget(self, budget: Budget, *, now_seconds: int) -> BudgetState:
        if budget not in self.books.limits:
            raise NotFoundError(f"nobody used the budget {budget.key}", id=budget.key)
        return self._at(budget, now_seconds)

    async def periods(self, budget: Budget, *, page_size: int, page_token: str) -> PeriodPage:
        if page_token and not page_token.isdecimal():
            raise InvalidRequestError("page_token: was not made by this list", field="page_token")
        starts = sorted((period for found, period in self.books.counters if found == budget), reverse=True)
        starts = [period for period in starts if not page_token or period < int(page_token)]
        page = tuple(self._state(budget, period) for period in starts[:page_size])
        return PeriodPage(page, str(page[-1].period) if len(starts) > page_size else "")

    async def remarks(self, budget: Budget, *, limit: int) -> list[StoredEvent]:
        named = f'"budget":"{budget.key}"'.encode()
        kinds = ("budget.adjusted", "budget.overrun")
        found = [stored for stored in self.told if stored.event.type in kinds and named in stored.event.body]
        return found[::-1][:limit]

    async def adjustment(self, request_id: str) -> Adjust | None:
        return self.books.adjustment(request_id)

    def _is_in(self, narrow: BudgetFilter, budget: Budget) -> bool:
        return (
            narrow.subject in ("", budget.subject)
            and narrow.id in ("", budget.id)
            and narrow.metric in ("", budget.metric)
            and narrow.window in ("", budget.window)
            and (not narrow.frozen or budget in self.books.frozen)
            and narrow.includes(budget)
        )

    def _at(self, budget: Budget, now_seconds: int) -> BudgetState:
        return self._state(budget, budget.window.started_at(now_seconds))

    def _state(self, budget: Budget, period: int) -> BudgetState:
        counter = self.books.counters.get((budget, period), Counter())
        return BudgetState(budget, period, counter, self.books.limits[budget], budget in self.books.frozen)


def _order(budget: Budget) -> tuple[str, str, str]:
    return (budget.owner, budget.metric.value, budget.window.value)


def _named(page_token: str) -> Budget:
    try:
        return Budget.named(page_token)
    except InvalidRequestError as error:
        raise InvalidRequestError("page_token: was not made by this list", field="page_token") from error
