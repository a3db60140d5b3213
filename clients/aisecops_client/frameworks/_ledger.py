"""What became of each call that a framework asked for, so that one that it asks for again does not run again.

Frameworks run their hooks anew after an approval, and some run finished siblings anew.
"""

from __future__ import annotations

import enum
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc

from aisecops_client.enforce import fresh_key
from aisecops_client.refusals import CallRefusedError

KEPT = 1024


class State(enum.Enum):
    """Where a call is."""

    OPEN = "open"
    UNDER_WAY = "under way"
    RAN = "ran"


@dataclass(slots=True)
class Entry:
    """One call. Asking again about it is a retry with the same keys; ``approval_id`` is the request about it."""

    key: str
    decide_key: str
    redemption_key: str = field(repr=False)
    approval_id: str = ""
    state: State = State.OPEN
    result: Any = field(default=None, repr=False)


@dataclass
class Ledger:
    """The last ``kept`` calls, and the requests for approval of as many.

    A call is what it would do, and the ``occasion`` on which a framework asks for it: where it has none, it never asks
    twice. On one occasion a call is under way once at a time, whatever threads it is asked for in: who asks meanwhile
    waits a while for its end, as a framework that stopped waiting and resumes at once does.
    """

    kept: int = KEPT
    new_key: Callable[[], str] = fresh_key
    wait_seconds: float = 5.0
    _entries: OrderedDict[tuple[str, str], Entry] = field(default_factory=OrderedDict, repr=False)
    _approvals: OrderedDict[str, str] = field(default_factory=OrderedDict, repr=False)
    _refused: OrderedDict[str, None] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        """Tell of ends under the lock that everything is changed under."""
        self._ended = threading.Condition(self._lock)

    def claim(self, key: str, occasion: str) -> Entry:
        """Return a call that may be made now, or that ran already.

        Raises:
            CallRefusedError: it is under way, and did not end in time.
        """
        with self._ended:
            made = Entry(key, self.new_key(), self.new_key(), self._approvals.get(key, ""))
            entry = self._entries.setdefault((key, occasion), made) if occasion else made
            waited = entry
            has_ended = self._ended.wait_for(lambda: waited.state is not State.UNDER_WAY, self.wait_seconds)
            if occasion:
                # It may have been dropped for others when it ended, and asked for by somebody else.
                entry = self._entries.setdefault((key, occasion), entry)
            if not has_ended or entry.state is State.UNDER_WAY:
                raise CallRefusedError(
                    "the same call is under way already", grpc.StatusCode.ALREADY_EXISTS, "CALL_UNDER_WAY"
                )
            if entry.state is State.OPEN:
                entry.state = State.UNDER_WAY
            self._shrink()
            return entry

    def asks(self, entry: Entry, approval_id: str = "") -> None:
        """Make the next question about a call another one than the last, under an approval or none."""
        with self._lock:
            self._renew(entry, approval_id)

    def used(self, entry: Entry) -> None:
        """Forget the approval of a call that may be made: it is good for one."""
        with self._lock:
            entry.approval_id = ""
            self._approvals.pop(entry.key, None)

    def ran(self, entry: Entry, result: Any) -> None:
        """Keep the result of a call, which is what asking for it again gives."""
        with self._ended:
            entry.state, entry.result = State.RAN, result
            self._ended.notify_all()

    def failed(self, entry: Entry) -> None:
        """Let a call that ran and failed be asked about as another one."""
        with self._ended:
            entry.state = State.OPEN
            self._renew(entry, "")
            self._ended.notify_all()

    def released(self, entry: Entry) -> None:
        """Let a call that did not run be asked about again."""
        with self._ended:
            entry.state = State.OPEN
            self._ended.notify_all()

    def note(self, step: str, *, refused: bool) -> None:
        """Remember whether what the model is told of a step are our words, or its tool's."""
        with self._lock:
            self._refused.pop(step, None)
            if refused:
                self._refused[step] = None
            while len(self._refused) > self.kept:
                self._refused.popitem(last=False)

    def is_refused(self, step: str) -> bool:
        """Return whether a step is known to have been refused."""
        with self._lock:
            return step in self._refused

    def _renew(self, entry: Entry, approval_id: str) -> None:
        entry.decide_key, entry.redemption_key, entry.approval_id = self.new_key(), self.new_key(), approval_id
        self._approvals.pop(entry.key, None)
        if approval_id:
            self._approvals[entry.key] = approval_id
        while len(self._approvals) > self.kept:
            self._approvals.popitem(last=False)

    def _shrink(self) -> None:
        idle = [key for key, entry in self._entries.items() if entry.state is not State.UNDER_WAY]
        for key in idle[: max(0, len(self._entries) - self.kept)]:
            del self._entries[key]
