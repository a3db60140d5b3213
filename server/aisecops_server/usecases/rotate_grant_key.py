"""Which key signs grants: follows what the log says, and rotates the key while everything runs.

Ordering rules: the new key is durable before the event that names it; what signs changes in the very step that learns
that the event is durable, so nothing that was recorded behind it is signed with the old key; the old private key is
destroyed last. A stop in between leaves a key file that nobody uses, or an old one that signs nothing any more, and
the next start goes by the log alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.event import StoredEvent
from aisecops_server.domain.grant_keys import (
    GRACE_SECONDS,
    ROTATED,
    EarlierGrantKey,
    GrantKeyChain,
    RotateGrantKey,
    Rotation,
    SignedRotation,
    chain_of,
    rotated_event,
)
from aisecops_server.domain.record import ChangeRecord
from aisecops_server.domain.signed_note import Verify
from aisecops_server.ports import Clock, EventLog, Ids, ProvenLog, Signer
from aisecops_server.ports.grants import CountingKey, GrantKeyLog, GrantKeyRing, GrantKeyStore
from aisecops_server.usecases.adjust_budget import require_reason

_SECOND = 1_000_000_000
_logger = logging.getLogger(__name__)


class RotationLog(EventLog, ProvenLog, GrantKeyLog, Protocol):
    """The log, with what it tells of keys."""


@dataclass(slots=True)
class FollowGrantKeys:
    """Keeps what signs and verifies grants at what the log says. ``chain`` is what it said last."""

    log: RotationLog
    store: GrantKeyStore
    ring: GrantKeyRing
    clock: Clock
    verify: Verify
    chain: GrantKeyChain = field(default_factory=GrantKeyChain)
    _until: dict[bytes, int] = field(default_factory=dict)
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def open(self) -> None:
        """Take up the key that the log names.

        Raises:
            IntegrityError: it is not here, or the log hands over from a key that was not its own.
        """
        async with self._busy:
            chain = chain_of(await self._events(), self.verify)
            earlier = self._counting(chain, now_ns=max(self.clock.now_ns(), await self._latest()))
            signer = self.store.first() if chain.current is None else self.store.current(chain.number, chain.current)
            self._turn(chain, earlier, signer)
            await self.destroy_earlier()

    async def __call__(self) -> int:
        """Take up what changed in the log since; return how many keys were taken up.

        A key that is not here is waited for: until it is, nothing is signed.

        Raises:
            LogUnavailableError: the log cannot be read.
        """
        async with self._busy:
            return await self.look()

    async def look(self) -> int:
        """Do the same, for a caller who stands ``apart``."""
        chain = chain_of(await self._events(), self.verify)
        if chain.current is None or (chain == self.chain and not self.ring.problem):
            return 0
        earlier = self._counting(chain, now_ns=self.clock.now_ns())
        try:
            signer = await asyncio.to_thread(self.store.current, chain.number, chain.current)
        except IntegrityError as error:
            if self.ring.problem != error.message:
                _logger.error("no grant is signed: %s", error.diagnostics())  # noqa: TRY400 - no fault of the program
            self.chain = chain
            self.ring.miss(chain.current, earlier, problem=error.message)
            return 0
        self._turn(chain, earlier, signer)
        await self.destroy_earlier()
        return 1

    async def destroy_earlier(self) -> None:
        """Delete the private keys that sign no more; one that cannot be deleted now is at the next start."""
        try:
            await asyncio.to_thread(self.store.destroy_before, self.chain.number)
        except IntegrityError as error:
            _logger.error("%s", error.diagnostics())  # noqa: TRY400 - no fault of the program

    def apart(self) -> asyncio.Lock:
        """Return what keeps others from taking up keys meanwhile."""
        return self._busy

    @property
    def first(self) -> bytes:
        """Return the public half of the first key that the log had, by which others know it for good."""
        return self.chain.earlier[0].public if self.chain.earlier else self.ring.signer.public_raw

    def follow(self, chain: GrantKeyChain, signer: Signer) -> None:
        """Sign with ``signer`` from here on, as the log says by now."""
        self._turn(chain, self._counting(chain, now_ns=self.clock.now_ns()), signer)

    def _turn(self, chain: GrantKeyChain, earlier: Sequence[CountingKey], signer: Signer) -> None:
        self.chain = chain
        self.ring.turn(signer, earlier)

    def _counting(self, chain: GrantKeyChain, *, now_ns: int) -> list[CountingKey]:
        """Return the earlier keys that count; ``now_ns`` is the time by which one that was not seen before is judged.

        Once it was seen, time is counted here, whatever anybody does to the wall clock.
        """
        found = [CountingKey(key.public, key.ended_at_seconds, self._end(key, now_ns)) for key in chain.counting]
        self._until = {key.public: key.until_ns for key in found}
        return found

    def _end(self, key: EarlierGrantKey, now_ns: int) -> int:
        if (known := self._until.get(key.public)) is not None:
            return known
        left = GRACE_SECONDS * _SECOND - max(0, now_ns - key.ended_at_seconds * _SECOND)
        return self.clock.monotonic_ns() + left

    async def _events(self) -> list[StoredEvent]:
        return [stored for stored in await self.log.grant_key_events() if stored.event.type == ROTATED]

    async def _latest(self) -> int:
        """Return the time of the newest event, 0 without any."""
        size = (await self.log.head()).size
        async with aclosing(self.log.events(from_index=max(size - 1, 0), follow=False, trace_id="")) as events:
            return max([stored.event.occurred_at_ns async for stored in events], default=0)


@dataclass(frozen=True, slots=True)
class RotatedGrantKey:
    """A rotation that is in force: in which event it stands, and the keys by now, as a JWKS document."""

    number: int
    log_index: int
    key_set: bytes


@dataclass(frozen=True, slots=True)
class RotateGrantKeys:
    """Rotates the key that signs grants."""

    keys: FollowGrantKeys
    ids: Ids
    _under_way: set[asyncio.Task[RotatedGrantKey]] = field(default_factory=set)

    async def __call__(self, *, principal: str, reason: str, revoke: bool = False) -> RotatedGrantKey:
        """Rotate the key; with ``revoke`` nothing that any earlier key signed counts from there on.

        Once begun it goes on to its end, also when the caller leaves.

        Raises:
            InvalidRequestError: there is no reason.
            GrantKeyMissingError: the key that signs now is not here.
            IntegrityError: the new key cannot be made or used; the old one goes on.
            ContendedError: another control plane rotated it meanwhile.
            LogUnavailableError: it could not be recorded; the old key goes on.
        """
        require_reason(reason)
        task = asyncio.ensure_future(self._rotated(principal, reason, grace=not revoke))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _rotated(self, principal: str, reason: str, *, grace: bool) -> RotatedGrantKey:
        keys = self.keys
        async with keys.apart():
            # An event may be there whose acknowledgement was lost, or another control plane's.
            await keys.look()
            chain, old = keys.chain, keys.ring.signer
            new = await asyncio.to_thread(keys.store.following, chain.number)
            now_ns = keys.clock.now_ns()
            rotation = Rotation(chain.number + 1, old.public_raw, new.public_raw, now_ns // _SECOND, grace)
            if new.public_raw in {old.public_raw, *(key.public for key in chain.earlier)}:
                raise IntegrityError(
                    f"the key that is prepared for rotation {rotation.number} signed grants before",
                    hint="Move its file away; a new one is made then",
                )
            text = rotation.text()
            signed = SignedRotation(rotation, old.sign(text), new.sign(text))
            event = rotated_event(signed, id=self.ids.event_id(), now_ns=now_ns, principal=principal, reason=reason)
            receipt = await keys.log.append_change(ChangeRecord((event,), (RotateGrantKey(chain.last),)))
            following = chain.followed(rotation, index=receipt.log_index)
            keys.follow(following, new)
            await keys.destroy_earlier()
            return RotatedGrantKey(following.number, receipt.log_index, keys.ring.key_set())
