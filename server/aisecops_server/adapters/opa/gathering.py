"""Documents that are asked about at the same time travel together, once the engine has its hands full.

A request of its own costs the engine half as much again as the evaluation: it authorizes each, parses it twice and
plans a query. So while fewer requests than there are lanes are under way, a document is sent at once and alone; later
ones wait until a lane is free, and share it. Owns who waits and for how long. A caller who stops waiting takes
nobody along, and a request that nobody waits for any more is given up, which makes the engine stop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aisecops_server.adapters.opa.client import no_answer_within
from aisecops_server.domain.decisions.decision import Verdict
from aisecops_server.domain.errors import AisecopsError

# More in one request would make each wait longer than it saves.
MOST_TOGETHER = 8
# Who takes longer than this no longer holds up those who wait for a lane.
SLOW_SECONDS = 0.05
# Larger documents take longer to evaluate, and those that travel with them would wait.
LARGEST_BYTES = 16 * 1024

Alone = Callable[[bytes, float], Awaitable[Verdict]]
# Evaluates documents until a time of the loop's clock.
Together = Callable[[Sequence[bytes], float], Awaitable[Sequence[Verdict | AisecopsError]]]


@dataclass(slots=True)
class _Waiting:
    """One caller's document, and the shared request that it travels in once there is one."""

    document: bytes
    expires: float
    answer: asyncio.Future[Verdict]
    journey: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Lane:
    """A place on the way to the engine. It is given back once, by whoever holds it or when that takes long."""

    gathering: Gathering
    is_held: bool = True

    def give_back(self) -> None:
        """Let others have it."""
        if self.is_held:
            self.is_held = False
            self.gathering.freed()


class Gathering:
    """Decides whether a document goes alone or with others; it goes alone while one of ``lanes`` is free."""

    def __init__(self, alone: Alone, together: Together, *, doubt: Callable[[], None], lanes: int) -> None:
        self._alone = alone
        self._together = together
        self._doubt = doubt
        self._free = lanes
        self._waiting: deque[_Waiting] = deque()
        self._journeys: dict[asyncio.Task[None], list[_Waiting]] = {}

    async def evaluate(self, document: bytes, deadline_seconds: float) -> Verdict:
        """Evaluate one document, in whatever company.

        Raises:
            EngineUnavailableError: no answer within the deadline, or no engine.
            NoDecisionError: an answer that is not a decision.
        """
        if not self._free:
            return await self._with_others(document, deadline_seconds)
        lane = self._taken()
        try:
            return await self._alone(document, deadline_seconds)
        finally:
            lane.give_back()

    def freed(self) -> None:
        """Take a lane back and send those who wait on it."""
        self._free += 1
        company: list[_Waiting] = []
        while self._waiting and len(company) < MOST_TOGETHER:
            waiting = self._waiting.popleft()
            if not waiting.answer.done():
                company.append(waiting)
        if company:
            self._send(company)

    def _taken(self) -> _Lane:
        self._free -= 1
        lane = _Lane(self)
        asyncio.get_running_loop().call_later(SLOW_SECONDS, lane.give_back)
        return lane

    async def _with_others(self, document: bytes, deadline_seconds: float) -> Verdict:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(document, loop.time() + deadline_seconds, loop.create_future())
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(deadline_seconds):
                return await waiting.answer
        except TimeoutError as error:
            self._doubt()
            raise no_answer_within(deadline_seconds) from error
        finally:
            self._leave(waiting)

    def _leave(self, waiting: _Waiting) -> None:
        waiting.answer.cancel()
        journey = waiting.journey
        if journey is not None and all(one.answer.done() for one in self._journeys.get(journey, ())):
            journey.cancel()

    def _send(self, company: list[_Waiting]) -> None:
        lane = self._taken()
        journey = asyncio.get_running_loop().create_task(self._travel(company))
        self._journeys[journey] = company
        for waiting in company:
            waiting.journey = journey
        journey.add_done_callback(self._journeys.pop)
        journey.add_done_callback(lambda _: lane.give_back())

    async def _travel(self, company: Sequence[_Waiting]) -> None:
        try:
            expires = max(waiting.expires for waiting in company)
            answers = await self._together([waiting.document for waiting in company], expires)
            for waiting, answer in zip(company, answers, strict=True):
                _tell(waiting, answer)
        except AisecopsError as error:
            for waiting in company:
                _tell(waiting, error)


def _tell(waiting: _Waiting, answer: Verdict | AisecopsError) -> None:
    if waiting.answer.done():
        return
    if isinstance(answer, AisecopsError):
        waiting.answer.set_exception(answer)
    else:
        waiting.answer.set_result(answer)
