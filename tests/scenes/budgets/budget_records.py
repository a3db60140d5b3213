"""Changes of budgets as the records in which they are stored."""

from __future__ import annotations

from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.budgets.budget_changes import (
    Adjust,
    BudgetChange,
    Reserve,
    adjusted_event,
    reserved_event,
    settled_events,
)
from aisecops_server.domain.budgets.reservation import Reservation
from aisecops_server.domain.log.record import ChangeRecord

IDS = RandomIds()


def event_record(change: BudgetChange, reservation: Reservation | None, now: int) -> ChangeRecord:
    """Return the record in which a change is stored; a settlement needs the ``reservation`` that it is about."""
    if isinstance(change, Reserve):
        events = (reserved_event(change, id=IDS.event_id(), now_ns=now * 10**9),)
    elif isinstance(change, Adjust):
        events = (adjusted_event(change, id=IDS.event_id(), now_ns=now * 10**9),)
    else:
        assert reservation is not None
        events = settled_events(change, reservation, next_id=IDS.event_id, now_ns=now * 10**9)
    return ChangeRecord(events, (change,))
