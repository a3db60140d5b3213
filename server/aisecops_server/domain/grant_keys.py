"""Which key signs grants, and which earlier ones still count: decided by the log and by nothing else.

A rotation is an event that names both keys and that both signed. What the earlier key signed counts for as long as a
grant could live that was issued by then, and no longer; after a revocation nothing of any earlier key counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from aisecops_server.domain.canonical import JsonValue
from aisecops_server.domain.change import Change
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.event import Event, EventId, StoredEvent, control_event

KIND = "grant_key"
ROTATED = "grant_key.rotated"
# At the centre: the same of an edge, whose log says so.
OF_EDGE = "edge.grant_key_rotated"
# How long after a rotation the earlier key may have issued something, in seconds: by clocks that differ a little, and
# until every control plane on one log has heard of it.
SKEW_SECONDS = 5
# No grant lives longer.
LONGEST_SECONDS = 300
GRACE_SECONDS = LONGEST_SECONDS + SKEW_SECONDS

_Verifies = Callable[[bytes, bytes, bytes], bool]


@dataclass(frozen=True, slots=True)
class RotateGrantKey(Change):
    """Let a rotation follow the one whose event was ``seen`` last; -1 when there was none."""

    kind: ClassVar[str] = KIND
    seen: int


@dataclass(frozen=True, slots=True)
class Rotation:
    """A change of the key: the ``number``-th of its log, by the raw public keys. No ``grace``: the key was stolen."""

    number: int
    old: bytes
    new: bytes
    at_seconds: int
    grace: bool

    def text(self) -> bytes:
        """Return what both keys sign."""
        ends = "grace" if self.grace else "revoked"
        lines = ("aisecops/grant-key-rotation/v1", self.number, self.old.hex(), self.new.hex(), self.at_seconds, ends)
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
class EarlierGrantKey:
    """A key that another one replaced: when, in Unix seconds, and whether what it had signed went on counting."""

    public: bytes
    ended_at_seconds: int
    grace: bool


@dataclass(frozen=True, slots=True)
class GrantKeyChain:
    """The keys as a log tells of them, oldest first. ``current`` is ``None`` as long as there was but one.

    ``last`` is the index of the last event, -1 without any.
    """

    earlier: tuple[EarlierGrantKey, ...] = ()
    current: bytes | None = None
    last: int = -1

    @property
    def number(self) -> int:
        """Return how often the key changed: by keys, because an event that is told twice changes nothing."""
        return len(self.earlier)

    @property
    def counting(self) -> tuple[EarlierGrantKey, ...]:
        """Return the earlier keys that may count still, by what became of them; when they end is not looked at."""
        revoked = [place for place, key in enumerate(self.earlier, start=1) if not key.grace]
        return self.earlier[max(revoked, default=0) :]

    def followed(self, rotation: Rotation, *, index: int) -> GrantKeyChain:
        """Return the chain with one rotation more.

        Raises:
            IntegrityError: it does not continue the chain.
        """
        if self.earlier and (rotation.old, rotation.new) == (self.earlier[-1].public, self.current):
            return GrantKeyChain(self.earlier, self.current, index)
        known = {key.public for key in self.earlier} | {rotation.old}
        if self.current not in (None, rotation.old) or rotation.number != self.number + 1 or rotation.new in known:
            raise IntegrityError(
                f"event {index} does not go on from the key that signed grants before it", index=str(index)
            )
        earlier = EarlierGrantKey(rotation.old, rotation.at_seconds, rotation.grace)
        return GrantKeyChain((*self.earlier, earlier), rotation.new, index)


def rotated_event(signed: SignedRotation, *, id: EventId, now_ns: int, principal: str, reason: str) -> Event:
    """Return the event by which another key signs grants."""
    return control_event(ROTATED, {"principal": principal, "reason": reason, **signed.details()}, id=id, now_ns=now_ns)


def rotated_at_edge_event(edge: str, signed: SignedRotation, *, index: int, id: EventId, now_ns: int) -> Event:
    """Return the event by which a centre knows an edge's grants by another key; ``index`` is its place at the edge."""
    return control_event(OF_EDGE, {"edge": edge, "edge_index": index, **signed.details()}, id=id, now_ns=now_ns)


def read_rotation(details: Mapping[str, JsonValue], verifies: _Verifies) -> SignedRotation:
    """Return the rotation that an event tells of.

    Raises:
        IntegrityError: it tells of none, or both keys did not sign it.
    """
    try:
        old, new = (bytes.fromhex(str(details[name])) for name in ("old", "new"))
        by_old, by_new = (bytes.fromhex(str(details[name])) for name in ("by_old", "by_new"))
        number, at_seconds, grace = details["number"], details["at_seconds"], details["grace"]
    except (KeyError, ValueError) as error:
        raise IntegrityError("what tells of a rotation of the key of grants cannot be read") from error
    if not (isinstance(number, int) and isinstance(at_seconds, int) and isinstance(grace, bool)):
        raise IntegrityError("what tells of a rotation of the key of grants cannot be read")
    rotation = Rotation(number, old, new, at_seconds, grace)
    text = rotation.text()
    if old == new or not verifies(old, text, by_old) or not verifies(new, text, by_new):
        raise IntegrityError("the rotation of the key of grants is not signed by both keys")
    return SignedRotation(rotation, by_old, by_new)


def chain_of(events: Sequence[StoredEvent], verifies: _Verifies) -> GrantKeyChain:
    """Return the keys that ``events``, of one log and in its order, tell of.

    Raises:
        IntegrityError: an event does not go on from the key before it, or both keys did not sign it.
    """
    chain = GrantKeyChain()
    for stored in events:
        chain = chain.followed(read_rotation(stored.event.details(), verifies).rotation, index=stored.index)
    return chain
