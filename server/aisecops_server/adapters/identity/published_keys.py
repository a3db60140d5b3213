"""Keys that an identity provider publishes, fetched beside the event loop by one thread of their own.

Whoever authenticates reads what is at hand and never waits. When the provider cannot be reached, the keys at hand
count until they are too old; from then on no token is accepted. An answer that is no set of keys changes nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aisecops_server.adapters.identity.key_schedule import KeySchedule
from aisecops_server.adapters.identity.key_set import VerificationKey, named_key, parsed_keys
from aisecops_server.domain.errors import UnauthenticatedError
from aisecops_server.ports import Clock

_FIRST_SECONDS = 5.0

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class PublishedKeys:
    """Implements ``KeySource``. Call ``start`` once; ``stop`` ends its thread."""

    fetch: Callable[[], bytes]
    clock: Clock
    schedule: KeySchedule
    _fetched: Mapping[str, VerificationKey] = field(default_factory=dict)
    _keys: Mapping[str, VerificationKey] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _wake: threading.Event = field(default_factory=threading.Event)
    _tried: threading.Event = field(default_factory=threading.Event)
    _stopping: bool = False

    def refresh(self) -> bool:
        """Take what was fetched meanwhile, or nothing when it is too old; return whether the keys are other ones."""
        with self._lock:
            current = {} if self.schedule.is_stale(self._now()) else self._fetched
        changed = current is not self._keys and current != self._keys
        self._keys = current
        return changed

    def key(self, key_id: str) -> VerificationKey:
        """Return the key of that id; an unknown one is looked for soon.

        Raises:
            UnauthenticatedError: there is none.
        """
        try:
            return named_key(self._keys, key_id)
        except UnauthenticatedError:
            with self._lock:
                self.schedule.want()
            self._wake.set()
            raise

    def start(self) -> None:
        """Begin to fetch, and wait a little for the first answer, so that a restart turns nobody away for its want."""
        threading.Thread(target=self._run, name="published keys", daemon=True).start()
        self._tried.wait(_FIRST_SECONDS)

    def stop(self) -> None:
        """Fetch no more. A fetch that is under way is not waited for."""
        self._stopping = True
        self._wake.set()

    def fetch_if_due(self) -> float:
        """Fetch if it is time; return in how many seconds it will be time again."""
        with self._lock:
            wait = self.schedule.due_in(self._now())
        if wait > 0:
            return wait
        try:
            found = parsed_keys(self.fetch())
        except (OSError, ValueError) as error:
            _logger.warning("the keys of tokens cannot be fetched: %s", error)
            with self._lock:
                self.schedule.failed(self._now())
                return self.schedule.due_in(self._now())
        with self._lock:
            self._fetched = found
            self.schedule.succeeded(self._now())
            return self.schedule.due_in(self._now())

    def _run(self) -> None:
        while True:
            # In this order, so that being told to stop is never missed.
            self._wake.clear()
            if self._stopping:
                return
            wait = self.fetch_if_due()
            self._tried.set()
            self._wake.wait(wait)

    def _now(self) -> float:
        return self.clock.monotonic_ns() / 1e9
