"""What every ``EventLog`` must do with events that come with changes of state. Used like ``event_log``."""

from __future__ import annotations

import dataclasses

import pytest
from aisecops_server.domain.errors import IntegrityError, NotFoundError
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.events.event import Event
from aisecops_server.domain.log.record import ChangeRecord, Receipt
from aisecops_server.ports import EventLog

from tests.contract.event_log import as_made
from tests.scenes.log.records import Records


class UnknownChange(Change):
    """A change of state that no log keeps."""

    kind = "unknown"


def events_of_no_decision() -> tuple[Event, ...]:
    return Records().record().events[:-1]


class ChangesContract:
    """The suite; it shares ``open`` and ``log`` with ``EventLogContract``."""

    @pytest.mark.asyncio
    async def test_events_of_no_decision_are_stored_together(self, log: EventLog) -> None:
        events = events_of_no_decision()
        receipt = await log.append_change(ChangeRecord(events, ()))
        assert (receipt.event_id, receipt.log_index) == (events[-1].id, len(events) - 1)
        stored = [event async for event in log.events(from_index=0, follow=False, trace_id="")]
        assert as_made(stored) == list(events)
        assert (await log.verify()).problem == ""

    @pytest.mark.asyncio
    async def test_a_change_that_the_log_does_not_know_takes_its_entry_back_and_no_other(self, log: EventLog) -> None:
        make = Records()
        refused = dataclasses.replace(make.record(), changes=(UnknownChange(),))
        answers = await log.append_many([make.record(), refused, make.record()])
        assert [type(answer) for answer in answers] == [Receipt, IntegrityError, Receipt]
        with pytest.raises(IntegrityError):
            await log.append_change(ChangeRecord(events_of_no_decision(), (UnknownChange(),)))
        with pytest.raises(NotFoundError):
            await log.decision(refused.decision.id)
        assert (log.sealed, (await log.head()).size) == ("", 12)
        assert (await log.verify()).problem == ""

    @pytest.mark.asyncio
    async def test_a_change_that_no_event_tells_of_is_refused(self, log: EventLog) -> None:
        with pytest.raises(IntegrityError):
            await log.append_change(ChangeRecord((), ()))
        assert (await log.head()).size == 0
