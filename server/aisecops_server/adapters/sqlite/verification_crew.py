"""Who does the tasks of a verification: whoever asks for answers, and helpers, which are processes of their own.

Python runs one thread at a time, so the cores of a machine are used by processes. A helper gets a path and nothing
else: it reads the file, and answers in lines. What a helper does not answer, whoever asks does again, and sees why.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future

import apsw
import orjson

from aisecops_server.adapters.sqlite.readers import Helpers
from aisecops_server.adapters.sqlite.verification_tasks import Answer, Task, run_task

_Given = tuple[Task, Future[Answer | None]]

_HELPER = "aisecops_server.adapters.sqlite.verification_helper"
_STOP_SECONDS = 10


class Crew:
    """Does tasks in the order in which they are given. For one verification, in one thread."""

    def __init__(self, connection: apsw.Connection, helpers: Helpers) -> None:
        self._connection = connection
        self._helpers = helpers
        self._waiting: deque[_Given] = deque()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []
        self._some = threading.Condition()
        self._is_over = False

    def submit(self, task: Task) -> _Given:
        """Take a task and return what ``result`` takes."""
        given: _Given = (task, Future())
        with self._some:
            self._waiting.append(given)
            self._some.notify()
        return given

    def result(self, given: _Given) -> Answer:
        """Return the answer to a task, and do what waits until it is there."""
        task, future = given
        while not future.done() and self._waiting:
            with contextlib.suppress(IndexError):
                other, waiting = self._waiting.popleft()
                waiting.set_result(self._early(other))
        answer = future.result()
        return run_task(self._connection, task) if answer is None else answer

    def _early(self, task: Task) -> Answer | None:
        """Return the answer to a task that nobody waits for yet, unless the database refuses: it is asked again."""
        try:
            return run_task(self._connection, task)
        except apsw.Error:
            return None

    @contextlib.contextmanager
    def at_work(self, events: int) -> Iterator[None]:
        """Have the helpers for the length of the block, in which so many events are verified."""
        try:
            for _ in range(self._helpers.count if events >= self._helpers.least_events else 0):
                self._hire()
            yield
        finally:
            self._dismiss()

    def _hire(self) -> None:
        command = [sys.executable, "-m", _HELPER, str(self._helpers.path), str(self._helpers.niceness)]
        with contextlib.suppress(OSError):
            process = subprocess.Popen(  # noqa: S603 - our own program
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self._processes.append(process)
            thread = threading.Thread(target=self._feed, args=(process,), name="log-verification", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        """Give one helper what waits, until there is nothing any more or it is gone."""
        while given := self._next():
            task, future = given
            answer = None
            with contextlib.suppress(OSError, ValueError):
                answer = _asked(process, task)
            future.set_result(answer)
            if answer is None:
                return

    def _next(self) -> _Given | None:
        while True:
            with self._some:
                self._some.wait_for(lambda: self._waiting or self._is_over)
                if self._is_over:
                    return None
                with contextlib.suppress(IndexError):
                    return self._waiting.popleft()

    def _dismiss(self) -> None:
        with self._some:
            self._is_over = True
            self._some.notify_all()
        for process in self._processes:
            process.kill()
        for thread in self._threads:
            thread.join(_STOP_SECONDS)
        for process in self._processes:
            with process:
                process.wait(_STOP_SECONDS)


def _asked(process: subprocess.Popen[bytes], task: Task) -> Answer | None:
    if process.stdin is None or process.stdout is None:
        return None
    process.stdin.write(orjson.dumps(task) + b"\n")
    process.stdin.flush()
    line = process.stdout.readline()
    answer: Answer | None = orjson.loads(line) if line else None
    return answer
