"""Some of the recorded decisions that stand for all recent ones: of every kind some, spread over the time."""

from __future__ import annotations

from dataclasses import dataclass

from aisecops_server.domain.replays.recorded_decision import RecordedDecision
from aisecops_server.domain.replays.replay import Selection
from aisecops_server.domain.replays.sampling import allocation, spread
from aisecops_server.ports.replay import History

SAMPLED_TRACES = 32 * 1024


@dataclass(frozen=True, slots=True)
class SampleDecisions:
    """Samples recorded decisions; it reads history and nothing else."""

    history: History

    async def __call__(self, size: int, *, from_micros: int = 0) -> list[RecordedDecision]:
        """Return up to ``size`` decisions made since a time, in the order of the log."""
        selection = Selection(from_micros=from_micros)
        until = (await self.history.head()).size
        strata = await self.history.strata(selection, most=SAMPLED_TRACES, until=until)
        taken = allocation({name: len(places) for name, places in strata.items()}, size)
        chosen = [place for name, count in taken.items() for place in spread(strata[name], count)]
        read = await self.history.read(sorted(chosen, key=lambda place: place.index))
        return [decision for decision in read if selection.holds(decision)]
