"""What became of each call that a framework asked for, so that one that it asks for again does not run again.

Frameworks run their hooks anew after an approval, and some run finished siblings anew. A call is known by its whole
plan: the same call of the model after the same messages.
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

    new_key: Callable[[], str] = field(repr=False)
    decide_key: str = ""
    redemption_key: str = field(default="", repr=False)
    approval_id: str = ""
    state: State = State.OPEN
    result: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Have keys of its own."""
        self.ask_anew()

    def ask_anew(self, approval_id: str = "") -> None:
        """Make the next question about the call another one than the last, under an approval or none."""
        self.decide_key, self.redemption_key, self.approval_id = self.new_key(), self.new_key(), approval_id


@dataclass
class Ledger:
    """The last ``kept`` calls. One call is under way once at a time, whatever threads it is asked for in."""

    kept: int = KEPT
    new_key: Callable[[], str] = fresh_key
    _entries: OrderedDict[str, Entry] = field(default_factory=OrderedDict, repr=False)
    _refused: OrderedDict[str, None] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def claim(self, key: str) -> Entry:
        """Return a call that may be made now, or that ran already.

        Raises:
            CallRefusedError: it is under way.
        """
        with self._lock:
            entry = self._entries.setdefault(key, Entry(self.new_key))
            self._entries.move_to_end(key)
            if entry.state is State.UNDER_WAY:
                raise CallRefusedError(
                    "the same call is under way already", grpc.StatusCode.ALREADY_EXISTS, "CALL_UNDER_WAY"
                )
            if entry.state is State.OPEN:
                entry.state = State.UNDER_WAY
            self._shrink()
            return entry

    def ran(self, entry: Entry, result: Any) -> None:
        """Keep the result of a call, which is what asking for it again gives."""
        with self._lock:
            entry.state, entry.result = State.RAN, result

    def failed(self, entry: Entry) -> None:
        """Let a call that ran and failed be asked about as another one."""
        with self._lock:
            entry.state = State.OPEN
            entry.ask_anew()

    def released(self, entry: Entry) -> None:
        """Let a call that did not run be asked about again."""
        with self._lock:
            entry.state = State.OPEN

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

    def _shrink(self) -> None:
        idle = [key for key, entry in self._entries.items() if entry.state is not State.UNDER_WAY]
        for key in idle[: max(0, len(self._entries) - self.kept)]:
            del self._entries[key]
