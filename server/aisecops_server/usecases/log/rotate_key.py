"""Which key signs: follows what the log says, and rotates the key while everything runs.

One mechanism for the keys of grants, of evidence packages and of bundles. Ordering rules: the new key is durable before
the event that names it; what signs changes in the very step that learns that the event is durable, so nothing that was
recorded behind it is signed with the old key; the old private key is destroyed last. A stop in between leaves a key
file that nobody uses, or an old one that signs nothing any more, and the next start goes by the log alone.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.formats.signed_note import Verify
from aisecops_server.domain.log.key_rotation import (
    KeyChain,
    KeyUse,
    RotateKey,
    Rotation,
    SignedRotation,
    chain_of,
    rotated_event,
)
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.ports import Clock, EventLog, Ids, ProvenLog, Signer
from aisecops_server.ports.keys import KeyLog, KeyRing, KeyStore
from aisecops_server.usecases.budgets.adjust_budget import require_reason

_SECOND = 1_000_000_000
_logger = logging.getLogger(__name__)
Ring = TypeVar("Ring", bound=KeyRing)


class RotationLog(EventLog, ProvenLog, KeyLog, Protocol):
    """The log, with what it tells of keys."""


@dataclass(slots=True)
class FollowKeys(Generic[Ring]):
    """Keeps what signs with the key for ``use`` at what the log says. ``chain`` is what it said last."""

    use: KeyUse
    log: RotationLog
    store: KeyStore
    ring: Ring
    clock: Clock
    verify: Verify
    chain: KeyChain = field(default_factory=KeyChain)
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def open(self, *, waiting: bool = False) -> None:
        """Take up the key that the log names; ``waiting`` for one that is not here, nothing is signed until it is.

        Raises:
            IntegrityError: it is not here and not waited for, or the log hands over from a key that was not its own.
        """
        async with self._busy:
            chain = await self._told()
            now_ns = max(self.clock.now_ns(), await self._latest())
            if chain.current is None:
                self._turn(chain, self.store.first(), now_ns=now_ns)
                return
            try:
                signer = self.store.current(chain.number, chain.current)
            except IntegrityError as error:
                if not waiting:
                    raise
                self._miss(chain, error, now_ns=now_ns)
            else:
                self._turn(chain, signer, now_ns=now_ns)
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
        chain = await self._told()
        if chain.current is None or (chain == self.chain and not self.ring.problem):
            return 0
        try:
            signer = await asyncio.to_thread(self.store.current, chain.number, chain.current)
        except IntegrityError as error:
            self._miss(chain, error, now_ns=self.clock.now_ns())
            # What it had signs no more either, whoever took it.
            await self.destroy_earlier()
            return 0
        self._turn(chain, signer, now_ns=self.clock.now_ns())
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

    def follow(self, chain: KeyChain, signer: Signer) -> None:
        """Sign with ``signer`` from here on, as the log says by now."""
        self._turn(chain, signer, now_ns=self.clock.now_ns())

    def _turn(self, chain: KeyChain, signer: Signer, *, now_ns: int) -> None:
        self.chain = chain
        self.ring.turn(signer, chain, now_ns=now_ns)

    def _miss(self, chain: KeyChain, error: IntegrityError, *, now_ns: int) -> None:
        if self.ring.problem != error.message:
            _logger.error("no %s are signed here: %s", self.use.signs, error.diagnostics())
        self.chain = chain
        self.ring.miss(chain, problem=error.message, now_ns=now_ns)

    async def _told(self) -> KeyChain:
        return chain_of(await self.log.key_rotations(self.use), self.verify, self.use)

    async def _latest(self) -> int:
        """Return the time of the newest event, 0 without any."""
        size = (await self.log.head()).size
        async with aclosing(self.log.events(from_index=max(size - 1, 0), follow=False, trace_id="")) as events:
            return max([stored.event.occurred_at_ns async for stored in events], default=0)


@dataclass(frozen=True, slots=True)
class RotatedKey:
    """A rotation that is in force: the ``number``-th of the log, and in which event it stands."""

    number: int
    log_index: int


@dataclass(frozen=True, slots=True)
class RotateKeys(Generic[Ring]):
    """Rotates the key that ``keys`` follows."""

    keys: FollowKeys[Ring]
    ids: Ids
    _under_way: set[asyncio.Task[RotatedKey]] = field(default_factory=set)

    async def __call__(self, *, principal: str, reason: str, revoke: bool = False) -> RotatedKey:
        """Rotate the key; with ``revoke`` nothing that any earlier key signed counts from there on.

        Once begun it goes on to its end, also when the caller leaves.

        Raises:
            InvalidRequestError: there is no reason.
            GrantKeyMissingError, SigningKeyMissingError: the key that signs now is not here.
            IntegrityError: the new key cannot be made or used; the old one goes on.
            ContendedError: another control plane rotated it meanwhile.
            LogUnavailableError: it could not be recorded; the old key goes on.
        """
        require_reason(reason)
        task = asyncio.ensure_future(self._rotated(principal, reason, grace=not revoke))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _rotated(self, principal: str, reason: str, *, grace: bool) -> RotatedKey:
        keys = self.keys
        async with keys.apart():
            # An event may be there whose acknowledgement was lost, or another control plane's.
            await keys.look()
            chain, old = keys.chain, keys.ring.signer
            new = await asyncio.to_thread(keys.store.following, chain.number)
            now_ns = keys.clock.now_ns()
            number, at_seconds = chain.number + 1, now_ns // _SECOND
            rotation = Rotation(number, old.public_raw, new.public_raw, at_seconds, grace, keys.use)
            if new.public_raw in {old.public_raw, *(key.public for key in chain.earlier)}:
                raise IntegrityError(
                    f"the key that is prepared for rotation {number} signed {keys.use.signs} before",
                    hint="Move its file away; a new one is made then",
                )
            text = rotation.text()
            signed = SignedRotation(rotation, old.sign(text), new.sign(text))
            event = rotated_event(signed, id=self.ids.event_id(), now_ns=now_ns, principal=principal, reason=reason)
            receipt = await keys.log.append_change(ChangeRecord((event,), (RotateKey(keys.use, chain.last),)))
            following = chain.followed(rotation, index=receipt.log_index)
            keys.follow(following, new)
            await keys.destroy_earlier()
            return RotatedKey(following.number, receipt.log_index)
