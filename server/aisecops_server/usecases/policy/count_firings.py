"""How often each rule was found among recorded decisions, read part by part. It reads history and nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from aisecops_server.domain.policy.rule_catalogue import Firings
from aisecops_server.domain.replays.recorded_decision import Place
from aisecops_server.domain.replays.replay import Selection
from aisecops_server.ports.replay import History

_PART = 512


@dataclass(frozen=True, slots=True)
class CountFirings:
    """Counts what rules found."""

    history: History

    async def __call__(self, selection: Selection) -> Firings:
        """Return the counts over the selected decisions.

        Raises:
            LogUnavailableError: history cannot be read.
        """
        until = (await self.history.head()).size
        counts: Counter[str] = Counter()
        examples: dict[str, str] = {}
        decisions = 0
        after: Place | None = None
        while places := await self.history.places(selection, after=after, limit=_PART, until=until):
            after = places[-1]
            for decision in await self.history.read(places):
                if not selection.holds(decision):
                    continue
                decisions += 1
                counts.update(decision.rules)
                examples.update(dict.fromkeys(decision.rules, decision.text("trace_id")))
        return Firings(decisions, counts, examples)
