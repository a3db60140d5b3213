"""Messages one a line, as MCP has them over standard input and output, with a bound on what is held of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

_CHUNK = 256 * 1024
_EDGE = 4096


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line that was longer than is held of one; its ends are kept, so that it can be told what it answered."""

    size: int
    head: bytes = field(repr=False)
    tail: bytes = field(repr=False)


async def lines(reader: asyncio.StreamReader, *, limit: int) -> AsyncIterator[bytes | TooLong]:
    """Yield each line that is not empty, without its end; of one longer than ``limit`` bytes, its ends."""
    held, dropped = bytearray(), 0
    head = b""
    while chunk := await reader.read(_CHUNK):
        parts = chunk.split(b"\n")
        for part in parts[:-1]:
            held += part
            if dropped or len(held) > limit:
                yield TooLong(dropped + len(held), head or bytes(held[:_EDGE]), bytes(held[-_EDGE:]))
            elif line := bytes(held).strip():
                yield line
            held.clear()
            head, dropped = b"", 0
        held += parts[-1]
        if len(held) > limit:
            head = head or bytes(held[:_EDGE])
            dropped += len(held) - _EDGE
            del held[:-_EDGE]
    if not dropped and (line := bytes(held).strip()):
        yield line
