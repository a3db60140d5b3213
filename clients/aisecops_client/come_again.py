"""When to come again, as an overloaded control plane told: until then a call is refused here and is not sent.

Some seven refusals cost the control plane as much as a decision. Callers that go on asking while there is no room
take from those who got in, and from themselves.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import grpc

from aisecops_client.errors import AisecopsClientError, RetryLaterError

_OVERLOADED = "OVERLOADED"
# Nobody is kept away for longer by one answer, whatever it says.
AT_MOST_SECONDS = 5.0


@dataclass(slots=True)
class ComeAgain:
    """What was told of each method of one caller. Some come a little sooner, so that not all come at once."""

    now: Callable[[], float] = time.monotonic
    between: Callable[[float, float], float] = random.uniform
    _until: dict[Hashable, float] = field(default_factory=dict)

    def check(self, method: Hashable) -> None:
        """Let a call through whose time has come.

        Raises:
            RetryLaterError: it has not; as the control plane would refuse it, with the time that is left.
        """
        until = self._until.get(method)
        if until is None:
            return
        left = until - self.now()
        if left <= 0:
            self._until.pop(method, None)
            return
        raise RetryLaterError(
            f"the control plane has no room, and told to come again in {left * 1000:.0f} ms: the call was not sent",
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            _OVERLOADED,
            {"why": "told"},
            left,
        )

    def heard(self, method: Hashable, error: AisecopsClientError) -> None:
        """Take in a refusal: of the queue, which says why; others are of one request alone."""
        if error.reason == _OVERLOADED and "why" in error.metadata and error.retry_after_seconds:
            told = min(error.retry_after_seconds, AT_MOST_SECONDS)
            self._until[method] = self.now() + self.between(0.5 * told, told)
