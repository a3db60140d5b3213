"""How it goes just now: what the latest events of the log add up to, over a window of seconds.

Pure. Events come in log order; times are the control plane's, in nanoseconds. How much is kept is bounded, and figures
say how many seconds they really cover: less than the window where reading began later, or only the latest were kept.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aisecops_server.domain.events.event import CONCLUDED

MOST_DECISIONS = 20_000
REFUSED = "REFUSED"
_REFUSED_TYPE = "decision.refused"
_LEAST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What was decided in ``seconds``. ``blocked`` are rules that denied and reasons of refusals, most first.

    ``half_ns`` and ``most_ns`` are the median and the 99th percentile of the engine's time, 0 without a decision.
    """

    seconds: float
    outcomes: Mapping[str, int]
    blocked: Sequence[tuple[str, int]]
    half_ns: int
    most_ns: int

    @property
    def per_second(self) -> float:
        """Return how many decisions, refusals among them, there were a second."""
        return sum(self.outcomes.values()) / self.seconds


@dataclass(frozen=True, slots=True)
class _Seen:
    at_ns: int
    outcome: str
    causes: Sequence[str]
    engine_ns: int


@dataclass(slots=True)
class LiveWindow:
    """The decisions of the last ``seconds``, at most ``MOST_DECISIONS`` of them."""

    seconds: float
    _seen: deque[_Seen] = field(default_factory=deque)
    _from_ns: int = 0

    def add(self, type: str, at_ns: int, details: Mapping[str, Any]) -> None:
        """Take one event; only those that end a decision count."""
        if type == CONCLUDED:
            seen = _Seen(at_ns, str(details.get("outcome", "")), _denied(details), int(details.get("evaluation_ns", 0)))
        elif type == _REFUSED_TYPE:
            seen = _Seen(at_ns, REFUSED, (str(details.get("reason", "")),), 0)
        else:
            return
        self._seen.append(seen)
        if len(self._seen) > MOST_DECISIONS:
            self._from_ns = self._seen.popleft().at_ns

    def begin(self, at_ns: int) -> None:
        """Forget everything: what is read from now on has a gap before ``at_ns``."""
        self._seen.clear()
        self._from_ns = at_ns

    def figures(self, now_ns: int) -> Figures:
        """Return what the last seconds add up to; a clock behind the latest event is taken to be at it."""
        now = max(now_ns, self._seen[-1].at_ns if self._seen else 0)
        start = max(now - int(self.seconds * 1e9), self._from_ns)
        while self._seen and self._seen[0].at_ns < start:
            self._seen.popleft()
        times = sorted(seen.engine_ns for seen in self._seen if seen.outcome != REFUSED)
        causes = Counter(cause for seen in self._seen for cause in seen.causes)
        return Figures(
            max(_LEAST_SECONDS, (now - start) / 1e9),
            dict(Counter(seen.outcome for seen in self._seen)),
            sorted(causes.items(), key=lambda item: (-item[1], item[0])),
            _at(times, 0.5),
            _at(times, 0.99),
        )


def _denied(details: Mapping[str, Any]) -> Sequence[str]:
    if details.get("outcome") != "DENY":
        return ()
    findings = details.get("findings")
    found = findings if isinstance(findings, list) else []
    return sorted(
        {str(one.get("rule", "")) for one in found if isinstance(one, Mapping) and one.get("effect") == "deny"}
    )


def _at(ordered: Sequence[int], share: float) -> int:
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0
