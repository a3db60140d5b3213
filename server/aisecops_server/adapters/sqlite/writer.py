"""The log's only writer: one thread, group commit, and a latch.

Requests queue up while a transaction runs and make up the next one together; a lone request waits for nobody.
An answer is given only after the transaction that holds it is on durable storage.

The latch: after the first failure that is not the fault of one entry, the log is *sealed* and stays so until a
restart has checked it. A disk that was full a moment ago may well take the next small write, and a failed
synchronisation may not be reported twice, so nothing is retried on a handle that failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import apsw

from aisecops_server.adapters.sqlite.append import Appender, Entry, Result
from aisecops_server.adapters.sqlite.changes import StateTables
from aisecops_server.domain.errors import IntegrityError, LogUnavailableError, SealedError

# More entries than this make a transaction longer without making it cheaper for each.
MOST_ENTRIES = 256

# What one entry can be at fault for: the others of its group must not suffer.
_FAULT_OF_ONE = (apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError, TypeError, ValueError, OverflowError)

_NEXT = "Nothing was allowed. See 'aisecops doctor', free or repair the disk, then restart"
_NEXT_ALTERED = (
    "Nothing was allowed. Keep the file as evidence, see 'aisecops log verify', start on a new state directory"
)


@dataclass(frozen=True, slots=True)
class Request:
    """Entries that wait for their commit, and who is answered."""

    entries: Sequence[Entry]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[list[Result]]


Answer = tuple[Request, list[Result] | LogUnavailableError]


class Writer:
    """Runs the writing thread. ``sealed`` says why the log takes nothing any more, or is empty."""

    def __init__(self, connection: apsw.Connection, state: StateTables, *, sealed: str = "") -> None:
        self._connection = connection
        self._state = state
        self._sealed = sealed
        self._closed = False
        self._queue: SimpleQueue[Request | None] = SimpleQueue()
        self._followers: set[Callable[[], None]] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="audit-log-writer", daemon=True)
        self._thread.start()

    @property
    def sealed(self) -> str:
        """Return why the log is sealed, or an empty string."""
        return self._sealed

    @property
    def closed(self) -> bool:
        """Return whether the log is closed or closing."""
        return self._closed

    def seal(self, why: str) -> None:
        """Take nothing any more."""
        with self._lock:
            self._sealed = self._sealed or why

    async def append(self, entries: Sequence[Entry]) -> list[Result]:
        """Store ``entries``; results in their order, durable when this returns.

        Raises:
            SealedError: the log is sealed.
            LogUnavailableError: the entries could not be made durable.
        """
        loop = asyncio.get_running_loop()
        request = Request(entries, loop, loop.create_future())
        with self._lock:
            self._require_open()
            self._queue.put(request)
        return await request.answer

    @contextlib.contextmanager
    def following(self) -> Iterator[asyncio.Event]:
        """Give an event that is set after every commit, and when the log closes."""
        loop, appended = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the follower's loop is gone, and the follower with it
                loop.call_soon_threadsafe(appended.set)

        with self._lock:
            self._followers.add(wake)
        try:
            yield appended
        finally:
            with self._lock:
                self._followers.discard(wake)

    def stop(self) -> None:
        """Finish what was accepted, then take nothing more."""
        with self._lock:
            first, self._closed = not self._closed, True
            if first:
                self._queue.put(None)
        self._thread.join()
        self.wake_followers()

    def disconnect(self) -> None:
        """Close the connection of a stopped writer. It goes last, because it tidies up the files."""
        # What could not be tidied up, on a disk that failed, is found and mended when the log is opened again.
        with contextlib.suppress(apsw.Error):
            self._connection.close()

    def _require_open(self) -> None:
        if self._sealed:
            raise _sealed_error(self._sealed)
        if self._closed:
            raise LogUnavailableError("the log is closed", hint="The control plane is shutting down; try another")

    def _run(self) -> None:
        try:
            appender = None if self._sealed else self._appender()
            while group := self._next_group():
                self._settle(appender, group)
        finally:
            self._retire()

    def _appender(self) -> Appender:
        return Appender(self._connection, self._state)

    def _retire(self) -> None:
        """Leave nobody waiting, however the thread came to its end."""
        with self._lock:
            if not self._closed:
                self._sealed = self._sealed or "the writer stopped"
        with contextlib.suppress(Empty):
            while True:
                if request := self._queue.get_nowait():
                    _answer([(request, _sealed_error(self._sealed))])

    def _next_group(self) -> list[Request]:
        """Wait for a request and take whatever else is there by then; empty when the log closes."""
        request = self._queue.get()
        group: list[Request] = []
        entries = 0
        while request is not None:
            group.append(request)
            entries += len(request.entries)
            if entries >= MOST_ENTRIES:
                break
            try:
                request = self._queue.get_nowait()
            except Empty:
                break
        else:
            if group:
                self._queue.put(None)
        return group

    def _settle(self, appender: Appender | None, group: list[Request]) -> None:
        answers: list[Answer] = []
        try:
            answers = self._commit(appender, group)
        finally:
            _answer(answers or [(request, LogUnavailableError("the writer failed", hint=_NEXT)) for request in group])
        self.wake_followers()

    def _commit(self, appender: Appender | None, group: list[Request]) -> list[Answer]:
        if appender is None or self._sealed:
            return [(request, _sealed_error(self._sealed)) for request in group]
        try:
            results = iter(appender.commit([entry for request in group for entry in request.entries]))
        except _FAULT_OF_ONE as error:
            return self._commit_apart(appender, group, error)
        except (apsw.Error, OSError, MemoryError) as error:
            return self._failed(group, error)
        return [(request, [next(results) for _ in request.entries]) for request in group]

    def _commit_apart(self, appender: Appender, group: list[Request], error: Exception) -> list[Answer]:
        if len(group) > 1:
            return [answer for request in group for answer in self._commit(appender, [request])]
        [request] = group
        if len(request.entries) > 1:
            single = [Request([entry], request.loop, request.answer) for entry in request.entries]
            parts = [part for one in single for _, part in self._commit(appender, [one])]
            return [(request, [part if isinstance(part, LogUnavailableError) else part[0] for part in parts])]
        refused = LogUnavailableError(
            f"the entry cannot be stored ({error})", hint="Its identifiers may be in the log already"
        )
        refused.__cause__ = error
        return [(request, refused)]

    def _failed(self, group: list[Request], error: Exception) -> list[Answer]:
        """Answer a group of which nothing was stored, for a fault that is none of its entries'."""
        return self._seal(group, error, _system_reason(self._connection) if isinstance(error, apsw.IOError) else "")

    def _seal(self, group: list[Request], error: Exception, system_reason: str = "") -> list[Answer]:
        told = f"{error}: {system_reason}" if system_reason else str(error)
        with self._lock:
            self._sealed = self._sealed or f"writing failed ({type(error).__name__}: {told})"
        return [(request, _sealed_error(self._sealed, error)) for request in group]

    def wake_followers(self) -> None:
        """Wake who follows the log."""
        with self._lock:
            followers = list(self._followers)
        for wake in followers:
            wake()


def _system_reason(connection: apsw.Connection) -> str:
    """Return what the system said when it failed, such as that the file system can only be read; empty for nothing."""
    number = connection.system_errno
    return os.strerror(number) if number else ""


def _sealed_error(why: str, cause: Exception | None = None) -> SealedError:
    hint = _NEXT_ALTERED if why.startswith(IntegrityError.reason) else _NEXT
    error = SealedError(f"the log is sealed: {why}", hint=hint)
    error.__cause__ = cause
    return error


def _answer(answers: Sequence[Answer]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[Answer]] = {}
    for request, result in answers:
        loops.setdefault(request.loop, []).append((request, result))
    for loop, part in loops.items():
        with contextlib.suppress(RuntimeError):  # the callers' loop is gone, and the callers with it
            loop.call_soon_threadsafe(_deliver, part)


def _deliver(answers: Sequence[Answer]) -> None:
    for request, result in answers:
        if request.answer.done():
            continue
        if isinstance(result, LogUnavailableError):
            request.answer.set_exception(result)
        else:
            request.answer.set_result(result)
