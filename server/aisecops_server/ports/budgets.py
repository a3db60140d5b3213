"""What use cases need of the books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aisecops_server.domain.budgets.budget import Budget, BudgetFilter, BudgetPage, BudgetState, PeriodPage
from aisecops_server.domain.budgets.budget_changes import Adjust
from aisecops_server.domain.budgets.reservation import Reservation
from aisecops_server.domain.events.event import StoredEvent


class BudgetLedger(Protocol):
    """Reads the books. They are written by the changes of the event log, and by nothing else."""

    async def standing(self, owners: Sequence[str], *, now_seconds: int) -> list[BudgetState]:
        """Return how every budget of some owners (``subject:id``) stands; one that nobody used is not there."""
        ...

    async def reservation(self, decision_id: str) -> Reservation | None:
        """Return what a decision reserved."""
        ...

    async def overdue(self, *, now_seconds: int, limit: int) -> list[Reservation]:
        """Return open reservations whose time is over, those that wait longest first."""
        ...

    async def budgets(self, narrow: BudgetFilter, *, now_seconds: int, page_size: int, page_token: str) -> BudgetPage:
        """Return a page of budgets by name.

        Raises:
            InvalidRequestError: the page token was not made here.
        """
        ...

    async def budget(self, budget: Budget, *, now_seconds: int) -> BudgetState:
        """Return how one budget stands.

        Raises:
            NotFoundError: nobody ever used it.
        """
        ...

    async def periods(self, budget: Budget, *, page_size: int, page_token: str) -> PeriodPage:
        """Return a page of the periods in which a budget was used, newest first.

        Raises:
            InvalidRequestError: the page token was not made here.
        """
        ...

    async def remarks(self, budget: Budget, *, limit: int) -> list[StoredEvent]:
        """Return what people did to a budget and when it was overrun, newest first."""
        ...

    async def adjustment(self, request_id: str) -> Adjust | None:
        """Return the adjustment that was made for a request."""
        ...
