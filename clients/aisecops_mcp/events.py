"""Server-sent events, as MCP answers over HTTP with them, with a bound on what is held of one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_END = re.compile(rb"\r\n|\r|\n")


class TooLongError(Exception):
    """An event, or a line of it, is longer than is held of one."""


@dataclass(frozen=True, slots=True)
class Event:
    """``data`` is empty for an event that only says where the stream stands. ``id`` is what it is resumed after."""

    data: bytes = field(repr=False)
    id: str = ""


@dataclass(slots=True)
class Events:
    """Reads events from the bytes of one stream, in their order. ``limit`` is in bytes."""

    limit: int
    _held: bytearray = field(default_factory=bytearray, init=False)
    _data: list[bytes] = field(default_factory=list, init=False)
    _size: int = field(default=0, init=False)
    _id: str = field(default="", init=False)

    def take(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that end in ``chunk``.

        Raises:
            TooLongError: one is too long.
        """
        self._held += chunk
        if b"\n" not in chunk and b"\r" not in self._held[-len(chunk) - 1 :]:
            self._require_short()
            return
        # A carriage return at the end may be half of an end.
        whole = len(self._held) - self._held.endswith(b"\r")
        *complete, rest = _END.split(bytes(self._held[:whole]))
        self._held = bytearray(rest) + self._held[whole:]
        for line in complete:
            if line:
                self._line(line)
            elif self._data or self._id:
                yield Event(b"\n".join(self._data), self._id)
                self._data, self._size, self._id = [], 0, ""
        self._require_short()

    def _require_short(self) -> None:
        if self._size + len(self._held) > self.limit:
            raise TooLongError(f"an event of more than {self.limit} bytes")

    def _line(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value) + 1
            self._require_short()
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("latin-1")
