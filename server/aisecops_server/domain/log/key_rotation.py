"""How a key that signs for a log is replaced: one form for the keys of grants, of evidence packages and of bundles.

The log decides and nothing else. A rotation is an event that names both keys and that both signed; what they sign says
what the key is for, so that no rotation can be taken for one of another key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.events.event import Event, EventId, StoredEvent, control_event
from aisecops_server.domain.formats.canonical import JsonValue

KIND = "key"

Verifies = Callable[[bytes, bytes, bytes], bool]


class KeyUse(StrEnum):
    """What a key signs."""

    GRANT = "grant"
    EVIDENCE = "evidence"
    BUNDLE = "bundle"

    @property
    def rotated(self) -> str:
        """Return the type of the event in which such a key was replaced."""
        return _ROTATED[self]

    @property
    def signs(self) -> str:
        """Return for people what such a key signs."""
        return _SIGNS[self]


_ROTATED = {
    KeyUse.GRANT: "grant_key.rotated",
    KeyUse.EVIDENCE: "evidence_key.rotated",
    KeyUse.BUNDLE: "bundle_key.rotated",
}
_SIGNS = {KeyUse.GRANT: "grants", KeyUse.EVIDENCE: "evidence packages", KeyUse.BUNDLE: "bundles"}


@dataclass(frozen=True, slots=True)
class RotateKey(Change):
    """Let a rotation follow the one whose event was ``seen`` last; -1 when there was none."""

    kind: ClassVar[str] = KIND
    use: KeyUse
    seen: int


@dataclass(frozen=True, slots=True)
class Rotation:
    """A change of the key: the ``number``-th of its log, by the raw public keys. No ``grace``: the key was stolen."""

    number: int
    old: bytes
    new: bytes
    at_seconds: int
    grace: bool
    use: KeyUse = KeyUse.GRANT

    def text(self) -> bytes:
        """Return what both keys sign."""
        ends = "grace" if self.grace else "revoked"
        name = f"aisecops/{self.use.value}-key-rotation/v1"
        lines = (name, self.number, self.old.hex(), self.new.hex(), self.at_seconds, ends)
        return "".join(f"{line}\n" for line in lines).encode()


@dataclass(frozen=True, slots=True)
class SignedRotation:
    """A rotation with the signatures of both keys."""

    rotation: Rotation
    by_old: bytes
    by_new: bytes

    def details(self) -> dict[str, JsonValue]:
        """Return it as events carry it."""
        return {
            "number": self.rotation.number,
            "old": self.rotation.old.hex(),
            "new": self.rotation.new.hex(),
            "at_seconds": self.rotation.at_seconds,
            "grace": self.rotation.grace,
            "by_old": self.by_old.hex(),
            "by_new": self.by_new.hex(),
        }


@dataclass(frozen=True, slots=True)
class ReplacedKey:
    """A key that another one replaced: when, in Unix seconds, in which event, and whether what it had signed counts."""

    public: bytes
    ended_at_seconds: int
    grace: bool
    index: int = -1


@dataclass(frozen=True, slots=True)
class KeyChain:
    """The keys as a log tells of them, oldest first. ``current`` is ``None`` as long as there was but one.

    ``last`` is the index of the last event, -1 without any.
    """

    earlier: tuple[ReplacedKey, ...] = ()
    current: bytes | None = None
    last: int = -1

    @property
    def number(self) -> int:
        """Return how often the key changed: by keys, because an event that is told twice changes nothing."""
        return len(self.earlier)

    @property
    def counting(self) -> tuple[ReplacedKey, ...]:
        """Return the earlier keys that may count still, by what became of them; when they end is not looked at."""
        revoked = [place for place, key in enumerate(self.earlier, start=1) if not key.grace]
        return self.earlier[max(revoked, default=0) :]

    def followed(self, rotation: Rotation, *, index: int) -> KeyChain:
        """Return the chain with one rotation more.

        Raises:
            IntegrityError: it does not continue the chain.
        """
        if self.earlier and (rotation.old, rotation.new) == (self.earlier[-1].public, self.current):
            return KeyChain(self.earlier, self.current, index)
        known = {key.public for key in self.earlier} | {rotation.old}
        if self.current not in (None, rotation.old) or rotation.number != self.number + 1 or rotation.new in known:
            raise IntegrityError(
                f"event {index} does not go on from the key that signed {rotation.use.signs} before it",
                index=str(index),
            )
        replaced = ReplacedKey(rotation.old, rotation.at_seconds, rotation.grace, index)
        return KeyChain((*self.earlier, replaced), rotation.new, index)


def rotated_event(signed: SignedRotation, *, id: EventId, now_ns: int, principal: str, reason: str) -> Event:
    """Return the event by which another key signs."""
    details: dict[str, JsonValue] = {"principal": principal, "reason": reason, **signed.details()}
    return control_event(signed.rotation.use.rotated, details, id=id, now_ns=now_ns)


def read_rotation(details: Mapping[str, JsonValue], verifies: Verifies, use: KeyUse = KeyUse.GRANT) -> SignedRotation:
    """Return the rotation that an event tells of.

    Raises:
        IntegrityError: it tells of none, or both keys did not sign it.
    """
    unreadable = f"what tells of a rotation of the key that signs {use.signs} cannot be read"
    try:
        old, new = (bytes.fromhex(str(details[name])) for name in ("old", "new"))
        by_old, by_new = (bytes.fromhex(str(details[name])) for name in ("by_old", "by_new"))
        number, at_seconds, grace = details["number"], details["at_seconds"], details["grace"]
    except (KeyError, ValueError) as error:
        raise IntegrityError(unreadable) from error
    if not (isinstance(number, int) and isinstance(at_seconds, int) and isinstance(grace, bool)):
        raise IntegrityError(unreadable)
    rotation = Rotation(number, old, new, at_seconds, grace, use)
    text = rotation.text()
    if old == new or not verifies(old, text, by_old) or not verifies(new, text, by_new):
        raise IntegrityError(f"the rotation of the key that signs {use.signs} is not signed by both keys")
    return SignedRotation(rotation, by_old, by_new)


def chain_of(events: Sequence[StoredEvent], verifies: Verifies, use: KeyUse = KeyUse.GRANT) -> KeyChain:
    """Return the keys that ``events``, of one log and in its order, tell of.

    Raises:
        IntegrityError: an event does not go on from the key before it, or both keys did not sign it.
    """
    chain = KeyChain()
    for stored in events:
        chain = chain.followed(read_rotation(stored.event.details(), verifies, use).rotation, index=stored.index)
    return chain
