"""Who is signed in: a cookie that names a session, and the credential that the session presents for its holder.

Sessions live in memory and end with the process. The credential is authenticated again for every call, so a session
ends when its token does, or when it is withdrawn.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from aisecops_server.domain.callers.identity import Presented
from aisecops_server.ports import Ids

MOST_SESSIONS = 1000
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Session:
    """One person in one browser."""

    id: str
    presented: Presented


@dataclass(slots=True)
class Sessions:
    """All sessions; the oldest one goes when there are too many."""

    ids: Ids
    _by_id: OrderedDict[str, Session] = field(default_factory=OrderedDict)
    _secret: bytes = b""
    _ending: dict[str, set[asyncio.Event]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take a secret that no other process has."""
        self._secret = self.ids.nonce().encode()

    def begin(self, presented: Presented) -> Session:
        """Return a fresh session."""
        session_id = self.ids.nonce()
        session = Session(session_id, presented)
        self._by_id[session_id] = session
        while len(self._by_id) > MOST_SESSIONS:
            self.end(next(iter(self._by_id)))
        return session

    def find(self, session_id: str) -> Session | None:
        """Return a session, or ``None``."""
        return self._by_id.get(session_id)

    def end(self, session_id: str) -> None:
        """Forget a session."""
        self._by_id.pop(session_id, None)
        for over in self._ending.get(session_id, ()):
            over.set()

    @contextlib.contextmanager
    def ending(self, session_id: str) -> Iterator[asyncio.Event]:
        """Give an event that is set when a session ends, or all do; at once where there is none of that id."""
        over = asyncio.Event()
        if session_id not in self._by_id:
            over.set()
        waiting = self._ending.setdefault(session_id, set())
        waiting.add(over)
        try:
            yield over
        finally:
            waiting.discard(over)
            if not waiting:
                self._ending.pop(session_id, None)

    def end_all(self) -> None:
        """Forget every session: nothing is served any more."""
        for session_id in [*self._by_id, *self._ending]:
            self.end(session_id)

    def form_key(self, of: str) -> str:
        """Return what a form must carry that comes from a page of this session or credential.

        It looks different every time: pages are compressed, and what repeats in them could be guessed by their length.
        """
        mask = hashlib.sha256(self.ids.nonce().encode()).digest()
        return (mask + _mixed(mask, self._key(of))).hex()

    def is_form_key(self, given: str, of: str) -> bool:
        """Return whether a form came from one of our own pages."""
        try:
            data = bytes.fromhex(given)
        except ValueError:
            return False
        mask, mixed = data[:_KEY_BYTES], data[_KEY_BYTES:]
        return len(mixed) == _KEY_BYTES and hmac.compare_digest(_mixed(mask, mixed), self._key(of))

    def _key(self, of: str) -> bytes:
        return hmac.new(self._secret, of.encode(), hashlib.sha256).digest()


def _mixed(one: bytes, other: bytes) -> bytes:
    return bytes(left ^ right for left, right in zip(one, other, strict=True))
