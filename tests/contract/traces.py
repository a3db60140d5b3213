"""What every log gives of one trace and of one event in it."""

from __future__ import annotations

import pytest
from aisecops_server.domain.errors import NotFoundError
from aisecops_server.domain.record import placed
from aisecops_server.ports import EventLog

from tests.records import Records


class TracesContract:
    """Asks what a fixture ``log`` gives."""

    @pytest.mark.asyncio
    async def test_each_event_of_a_trace_is_found_with_its_neighbours_and_its_decision(self, log: EventLog) -> None:
        make, trace_id = Records(), "a" * 32
        first, other, last = make.record(trace_id=trace_id), make.record(), make.record(trace_id=trace_id)
        note = make.control_event(trace_id=trace_id, kind="plan.rejected")
        await log.append_many([first, other])
        await log.append_event(note)
        await log.append(last)
        whole = await log.trace(trace_id)
        for stored in whole.events:
            found = await log.event(trace_id, stored.event.id)
            assert found == placed(whole, stored.event.id)
            assert found.stored == stored
            assert (found.decision is None) == (stored.event.id == note.id)
        ends = [await log.event(trace_id, one.event.id) for one in (whole.events[0], whole.events[-1])]
        assert (ends[0].before, ends[1].after) == ("", "")
        for asked, event_id in ((trace_id, "none"), (trace_id, other.events[0].id), ("f" * 32, note.id), ("", note.id)):
            with pytest.raises(NotFoundError, match=r"no such event|no trace"):
                await log.event(asked, event_id)

    @pytest.mark.asyncio
    async def test_a_trace_in_which_nothing_was_decided_can_be_read(self, log: EventLog) -> None:
        event = Records().control_event(trace_id="d" * 32, kind="plan.rejected")
        await log.append_event(event)
        trace = await log.trace("d" * 32)
        assert [stored.event for stored in trace.events] == [event]
        assert (trace.decisions, trace.summary.decisions, trace.summary.outcome) == ((), 0, "")
