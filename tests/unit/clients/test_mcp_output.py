"""A client that does not read cannot make the proxy keep everything for it, nor keep it from ending."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aisecops_mcp.stdio import Output

MESSAGE = b"x" * 65_536


@asynccontextmanager
async def output(most_bytes: int) -> AsyncIterator[tuple[Output, int, asyncio.Task[None]]]:
    """An output into a pipe, and the end that nobody reads yet."""
    reading, writing = os.pipe()
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(writing, "wb", 0))
    made = Output(asyncio.StreamWriter(transport, protocol, None, loop), most_bytes)
    task = asyncio.create_task(made.run())
    try:
        yield made, reading, task
    finally:
        task.cancel()
        transport.abort()
        os.close(reading)


@pytest.mark.asyncio
async def test_a_client_that_never_reads_is_given_up_and_the_end_comes() -> None:
    async with output(10 * len(MESSAGE)) as (made, _, task):
        for _ in range(10):
            made.send(MESSAGE)
        assert not made.given_up.is_set()
        made.send(MESSAGE)
        await asyncio.wait_for(made.given_up.wait(), 1)
        held = made._queue.qsize()
        for _ in range(1_000):
            made.send(MESSAGE)
        assert made._queue.qsize() == held
        await made.end(task)
        assert task.done() or task.cancelling()


@pytest.mark.asyncio
async def test_a_client_that_reads_gets_everything_in_order_however_much_it_is() -> None:
    async with output(2 * len(MESSAGE)) as (made, reading, task):
        loop, got = asyncio.get_running_loop(), b""
        for number in range(40):
            made.send(str(number).encode())
            while got.count(b"\n") <= number:
                got += await loop.run_in_executor(None, os.read, reading, 65_536)
        assert not made.given_up.is_set()
        await made.end(task)
        assert got.split() == [str(number).encode() for number in range(40)]
