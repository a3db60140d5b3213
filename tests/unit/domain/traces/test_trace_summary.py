"""A line about a trace tells the worst of it, whatever is added later."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aisecops_server.domain.decisions.decision import Mode
from aisecops_server.domain.log.record import DecisionRecord
from aisecops_server.domain.traces.trace_summary import joined, opened

from tests.scenes.log.records import Records


def in_mode(record: DecisionRecord, mode: Mode) -> DecisionRecord:
    return replace(record, decision=replace(record.decision, mode=mode))


@pytest.mark.parametrize("order", [(Mode.ENFORCE, Mode.DRY_RUN), (Mode.DRY_RUN, Mode.ENFORCE)])
def test_a_dry_run_in_a_trace_does_not_hide_that_another_decision_was_real(order: tuple[Mode, Mode]) -> None:
    first, second = (in_mode(Records("r").record(), mode) for mode in order)
    assert joined(opened(first), opened(second)).mode == Mode.ENFORCE.value


def test_trials_stay_trials() -> None:
    first, second = (in_mode(Records("r").record(), mode) for mode in (Mode.DRY_RUN, Mode.SHADOW))
    assert joined(opened(first), opened(second)).mode == Mode.SHADOW.value
