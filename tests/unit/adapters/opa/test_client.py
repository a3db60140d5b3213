"""Connections are kept, replaced when they went stale, and never shared by two questions."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest
from aisecops_server.adapters.opa.client import Client, Reply, _Connection
from aisecops_server.domain.errors import AisecopsError, EngineUnavailableError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.scenes.planes import engines
from tests.scenes.planes.engines import pretending, reply

LIMIT = 1000


async def post(client: Client, body: bytes = b"{}") -> Reply:
    return await client.post(b"/x", (body,), deadline_seconds=5, limit=LIMIT)


@pytest.mark.asyncio
async def test_one_connection_serves_one_question_after_the_other(tmp_path: Path) -> None:
    connections = itertools.count()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine = b"%d" % next(connections)
        while not reader.at_eof():
            await engines.read_request(reader)
            writer.write(reply(mine))

    async with pretending(tmp_path, handle) as socket:
        client = Client(socket, connections=4)
        bodies = [(await post(client)).body for _ in range(5)]
        client.close()
    assert bodies == [b"0"] * 5


@pytest.mark.asyncio
async def test_a_connection_that_went_stale_is_replaced_and_the_question_repeated_once(tmp_path: Path) -> None:
    served = itertools.count()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await engines.read_request(reader)
        writer.write(reply(b"%d" % next(served)))
        await reader.readuntil(b"\r\n\r\n")  # the next question is read and left unanswered
        writer.close()

    async with pretending(tmp_path, handle) as socket:
        client = Client(socket, connections=1)
        bodies = [(await post(client)).body for _ in range(3)]
    assert bodies == [b"0", b"1", b"2"]


@pytest.mark.asyncio
async def test_a_new_connection_that_closes_unanswered_is_not_tried_again(tmp_path: Path) -> None:
    connections = itertools.count()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        next(connections)
        await engines.read_request(reader)
        writer.close()

    async with pretending(tmp_path, handle) as socket:
        with pytest.raises(EngineUnavailableError):
            await post(Client(socket, connections=1))
    assert next(connections) == 1


@pytest.mark.asyncio
async def test_a_server_that_says_close_is_believed(tmp_path: Path) -> None:
    connections = itertools.count()
    closing = reply(b"{}").replace(b"\r\n", b"\r\nConnection: close\r\n", 1)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        next(connections)
        await engines.read_request(reader)
        writer.write(closing)

    async with pretending(tmp_path, handle) as socket:
        client = Client(socket, connections=1)
        assert [(await post(client)).body for _ in range(3)] == [b"{}"] * 3
    assert next(connections) == 3


@pytest.mark.asyncio
async def test_words_that_nobody_asked_for_close_the_connection(tmp_path: Path) -> None:
    smuggled = reply(b'{"second":"answer"}')
    first = itertools.count()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(first)
        while not reader.at_eof():
            await engines.read_request(reader)
            writer.write(reply(b"%d" % number))
            await writer.drain()
            if number == 0:
                writer.write(smuggled)

    async with pretending(tmp_path, handle) as socket:
        client = Client(socket, connections=1)
        answers = [await asyncio.gather(post(client), return_exceptions=True) for _ in range(3)]
    bodies = [answer.body if isinstance(answer, Reply) else answer for (answer,) in answers]
    assert not any(body == b'{"second":"answer"}' for body in bodies)
    assert bodies[-1] == b"1"


@pytest.mark.asyncio
async def test_waiting_for_a_turn_counts_against_the_deadline(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with pretending(tmp_path, silent) as socket:
        client = Client(socket, connections=1)
        holder = asyncio.create_task(client.post(b"/x", (b"{}",), deadline_seconds=60, limit=LIMIT))
        await asyncio.sleep(0)
        with pytest.raises(EngineUnavailableError) as raised:
            await client.post(b"/x", (b"{}",), deadline_seconds=0.01, limit=LIMIT)
        assert raised.value.metadata()["why"] == "deadline"
        holder.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holder


BODY = b'{"result":{"outcome":"ALLOW"}}'


def pieces(raw: bytes, cuts: list[int]) -> list[bytes]:
    bounds = [0, *sorted({cut % (len(raw) + 1) for cut in cuts}), len(raw)]
    return [raw[start:end] for start, end in itertools.pairwise(bounds)]


def received(parts: list[bytes]) -> Reply | Exception | None:
    """Feed a connection in pieces; return what its caller would see."""
    loop = asyncio.new_event_loop()
    try:
        connection = _Connection()
        connection._limit = LIMIT
        connection._answer = answer = loop.create_future()
        for part in parts:
            if part:
                connection.data_received(part)
        if not answer.done():
            return None
        return answer.exception() or answer.result()
    finally:
        loop.close()


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=40), cuts=st.lists(st.integers(0, 2000), max_size=30))
def test_a_chunked_reply_means_the_same_however_it_arrives(sizes: list[int], cuts: list[int]) -> None:
    body, chunks = BODY, []
    for size in [*sizes, len(BODY)]:
        piece, body = body[:size], body[size:]
        chunks += [b"%x\r\n%s\r\n" % (len(piece), piece)] if piece else []
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"
    assert received(pieces(raw, cuts)) == Reply(200, BODY)


@given(cuts=st.lists(st.integers(0, 2000), max_size=30))
def test_a_plain_reply_means_the_same_however_it_arrives(cuts: list[int]) -> None:
    assert received(pieces(reply(BODY), cuts)) == Reply(200, BODY)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(raw=st.binary(max_size=400), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_garbage_is_an_error_or_nothing_and_never_a_reply(raw: bytes, cuts: list[int]) -> None:
    answer = received(pieces(raw, cuts))
    assert answer is None or isinstance(answer, AisecopsError)


@given(raw=st.binary(max_size=60), position=st.integers(0, 200))
def test_bytes_put_into_a_reply_never_make_a_longer_one(raw: bytes, position: int) -> None:
    good = reply(BODY)
    answer = received([good[: position % len(good)] + raw + good[position % len(good) :]])
    assert not isinstance(answer, Reply) or len(answer.body) <= len(BODY) + len(raw)
