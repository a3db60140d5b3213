"""What every log gives of one trace and of one event in it."""

from __future__ import annotations

import pytest
from aisecops_server.domain.decisions.decision import Mode, Outcome
from aisecops_server.domain.errors import NotFoundError
from aisecops_server.domain.log.record import placed
from aisecops_server.domain.traces.trace_outline import outline_of
from aisecops_server.ports import EventLog

from tests.scenes.log.records import Records


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
        outline = await log.outline("d" * 32)
        assert outline == outline_of(trace)
        assert [line[1] for line in outline.events] == [event.id]

    @pytest.mark.asyncio
    async def test_the_outline_of_a_trace_says_what_the_whole_trace_does(self, log: EventLog) -> None:
        make, trace_id = Records(), "a" * 32
        records = [
            make.record(trace_id=trace_id, agent="agent-b", tools=("crm/read", "mail/send"), trust="external"),
            make.record(trace_id="b" * 32, outcome=Outcome.DENY),
            make.record(trace_id=trace_id, outcome=Outcome.DENY, rules=("capability.tool_undeclared", "budget.spent")),
            make.record(trace_id=trace_id, outcome=Outcome.DENY, mode=Mode.DRY_RUN),
        ]
        await log.append_many(records)
        await log.append_event(make.control_event(trace_id=trace_id, kind="incident.unknown_grant"))
        whole, outline = await log.trace(trace_id), await log.outline(trace_id)
        assert outline == outline_of(whole)
        assert [line[0] for line in outline.decisions] == [records[at].decision.id for at in (0, 2, 3)]
        assert outline.deciding == whole.decisions[1]
        assert [line[0] for line in outline.events] == [stored.index for stored in whole.events]
        assert outline.events[-1][-1] == whole.events[-1].event.body

    @pytest.mark.asyncio
    async def test_of_a_trace_that_is_not_there_there_is_no_outline(self, log: EventLog) -> None:
        for asked in ("f" * 32, ""):
            with pytest.raises(NotFoundError, match="no trace"):
                await log.outline(asked)
