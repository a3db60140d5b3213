"""Who goes alone to the engine, who shares a request, and that nobody in company pays for the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from aisecops_server.adapters.opa.gathering import MOST_TOGETHER, SLOW_SECONDS, Gathering
from aisecops_server.domain.decisions.decision import Verdict
from aisecops_server.domain.errors import AisecopsError, EngineUnavailableError, NoDecisionError

BAD = b"bad"
LONG = 30.0


@dataclass
class Engine:
    """Answers when it is told to, and remembers what came in one request."""

    requests: list[tuple[bytes, ...]] = field(default_factory=list)
    given_up: list[tuple[bytes, ...]] = field(default_factory=list)
    doubted: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def gathering(self, *, lanes: int = 1) -> Gathering:
        return Gathering(self.alone, self.together, doubt=self.doubt, lanes=lanes)

    def doubt(self) -> None:
        self.doubted += 1

    async def alone(self, document: bytes, deadline_seconds: float) -> Verdict:
        [answer] = await self._answered([document], deadline_seconds)
        if isinstance(answer, AisecopsError):
            raise answer
        return answer

    async def together(self, documents: Sequence[bytes], expires: float) -> list[Verdict | AisecopsError]:
        return await self._answered(documents, expires - asyncio.get_running_loop().time())

    async def _answered(self, documents: Sequence[bytes], seconds: float) -> list[Verdict | AisecopsError]:
        assert 0 < seconds <= LONG
        self.requests.append(tuple(documents))
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.given_up.append(tuple(documents))
            raise
        return [NoDecisionError("bad") if one.startswith(BAD) else verdict(one) for one in documents]


def verdict(document: bytes) -> Verdict:
    return Verdict({"of": document.decode()}, "revision", "version", 1)


async def started(asked: Sequence[asyncio.Task[Verdict]]) -> None:
    """Let every task run until it waits."""
    for _ in range(3 * len(asked)):
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_whoever_finds_a_lane_free_goes_alone() -> None:
    engine = Engine()
    engine.open.set()
    gathering = engine.gathering()
    answers = [await gathering.evaluate(document, LONG) for document in (b"a", b"b")]
    assert (engine.requests, answers) == ([(b"a",), (b"b",)], [verdict(b"a"), verdict(b"b")])


@pytest.mark.asyncio
async def test_those_who_wait_share_the_next_requests_and_each_gets_their_own_answer() -> None:
    engine = Engine()
    gathering = engine.gathering()
    documents = [b"%d" % number for number in range(MOST_TOGETHER + 3)]
    asked = [asyncio.create_task(gathering.evaluate(document, LONG)) for document in documents]
    await started(asked)
    assert engine.requests == [(b"0",)]
    engine.open.set()
    assert await asyncio.gather(*asked) == [verdict(document) for document in documents]
    assert engine.requests == [(b"0",), tuple(documents[1:-2]), tuple(documents[-2:])]


@pytest.mark.asyncio
async def test_a_document_that_is_not_decided_fails_for_its_own_caller_only() -> None:
    engine = Engine()
    gathering = engine.gathering()
    asked = [asyncio.create_task(gathering.evaluate(one, LONG)) for one in (b"first", b"a", BAD, b"b")]
    await started(asked)
    engine.open.set()
    first, good, bad, other = await asyncio.gather(*asked, return_exceptions=True)
    assert [first, good, other] == [verdict(b"first"), verdict(b"a"), verdict(b"b")]
    assert isinstance(bad, NoDecisionError)


@pytest.mark.asyncio
async def test_who_stops_waiting_takes_nobody_along() -> None:
    engine = Engine()
    gathering = engine.gathering(lanes=1)
    asked = [asyncio.create_task(gathering.evaluate(one, LONG)) for one in (b"first", b"gone", b"a")]
    await started(asked)
    asked[0].cancel()
    await started(asked)
    asked[1].cancel()
    await started(asked)
    engine.open.set()
    assert await asked[2] == verdict(b"a")
    assert (engine.requests, engine.given_up) == ([(b"first",), (b"gone", b"a")], [(b"first",)])


@pytest.mark.asyncio
async def test_who_left_before_a_lane_was_free_is_not_sent() -> None:
    engine = Engine()
    gathering = engine.gathering()
    asked = [asyncio.create_task(gathering.evaluate(one, LONG)) for one in (b"first", b"gone", b"a")]
    await started(asked)
    asked[1].cancel()
    await started(asked)
    engine.open.set()
    assert await asked[2] == verdict(b"a")
    assert engine.requests == [(b"first",), (b"a",)]


@pytest.mark.asyncio
async def test_a_request_that_nobody_waits_for_is_given_up() -> None:
    engine = Engine()
    gathering = engine.gathering()
    asked = [asyncio.create_task(gathering.evaluate(one, LONG)) for one in (b"first", b"a", b"b")]
    await started(asked)
    for task in asked:
        task.cancel()
        await started(asked)
    assert engine.given_up == [(b"first",), (b"a", b"b")]
    engine.open.set()
    assert await gathering.evaluate(b"next", LONG) == verdict(b"next")


@pytest.mark.asyncio
async def test_waiting_ends_at_the_deadline_and_casts_doubt_on_the_engine() -> None:
    engine = Engine()
    gathering = engine.gathering()
    first = asyncio.create_task(gathering.evaluate(b"first", LONG))
    await started([first])
    with pytest.raises(EngineUnavailableError) as caught:
        await gathering.evaluate(b"late", 0.001)
    assert (caught.value.metadata()["why"], engine.doubted) == ("deadline", 1)
    engine.open.set()
    assert await first == verdict(b"first")


@pytest.mark.asyncio
async def test_an_answer_that_takes_long_holds_up_nobody() -> None:
    engine = Engine()
    gathering = engine.gathering()
    slow = asyncio.create_task(gathering.evaluate(b"slow", LONG))
    await started([slow])
    waiting = asyncio.create_task(gathering.evaluate(b"a", LONG))
    done, _ = await asyncio.wait({waiting}, timeout=4 * SLOW_SECONDS)
    assert (done, engine.requests) == (set(), [(b"slow",), (b"a",)])
    engine.open.set()
    assert await asyncio.gather(slow, waiting) == [verdict(b"slow"), verdict(b"a")]


@pytest.mark.asyncio
async def test_an_engine_that_is_gone_is_gone_for_all_who_travel() -> None:
    async def gone(*_: object) -> list[Verdict | AisecopsError]:
        raise EngineUnavailableError("gone")

    engine = Engine()
    gathering = Gathering(engine.alone, gone, doubt=engine.doubt, lanes=1)
    asked = [asyncio.create_task(gathering.evaluate(one, LONG)) for one in (b"first", b"a", b"b")]
    await started(asked)
    engine.open.set()
    first, *others = await asyncio.gather(*asked, return_exceptions=True)
    assert first == verdict(b"first")
    assert [type(one) for one in others] == [EngineUnavailableError] * 2
