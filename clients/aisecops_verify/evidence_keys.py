"""The keys that sign packages: how one followed another, and what a package counts that one of them signed.

A rotation is signed by both of its keys and stands in the log. Whoever knows an earlier key goes on from it by the
rotations in the package. A key that was revoked proves nothing by its own signature any more: what follows it is
believed only where the reader knows the log's key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aisecops_verify.notes import HASH_BYTES, require_signature
from aisecops_verify.package import EvidenceError, Json, parsed, whole
from aisecops_verify.record import Event

ROTATED_EVIDENCE = "evidence_key.rotated"
_ROTATION = "aisecops/evidence-key-rotation/v1"
_KEY = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Handover:
    """One key followed another, as both of them signed: the ``number``-th time, and in which event."""

    number: int
    old: str
    new: str
    grace: bool
    index: int


@dataclass(frozen=True)
class EvidenceKeys:
    """The keys that sign packages of one log, oldest first, and how each but the first came to be."""

    first: str
    handovers: tuple[Handover, ...] = ()

    @property
    def current(self) -> str:
        """Return the key that signs."""
        return self.handovers[-1].new if self.handovers else self.first

    @property
    def all(self) -> tuple[str, ...]:
        """Return all keys, oldest first."""
        return (self.first, *(handover.new for handover in self.handovers))


def handover_of(details: Mapping[str, Json], index: int) -> Handover:
    """Return what an event, or somebody who tells of it, says of a rotation that both keys signed.

    Raises:
        EvidenceError: it says nothing of that kind, or one of the keys did not sign it.
    """
    what = f"the rotation of the evidence key in event {index}"
    try:
        number, at_seconds, grace = details["number"], details["at_seconds"], details["grace"]
        old, new, by_old, by_new = (bytes.fromhex(details[name]) for name in ("old", "new", "by_old", "by_new"))
    except (KeyError, TypeError, ValueError) as error:
        raise EvidenceError(f"{what} cannot be read") from error
    if type(number) is not int or type(at_seconds) is not int or type(grace) is not bool or len(new) != HASH_BYTES:
        raise EvidenceError(f"{what} cannot be read")
    ends = "grace" if grace else "revoked"
    lines = (_ROTATION, number, old.hex(), new.hex(), at_seconds, ends)
    text = "".join(f"{line}\n" for line in lines).encode()
    for public, signature in ((old, by_old), (new, by_new)):
        require_signature(public, text, signature, what)
    return Handover(number, old.hex(), new.hex(), grace, index)


def keys_told(handovers: Sequence[Handover], otherwise: str) -> EvidenceKeys:
    """Return the keys that all handovers of a log tell of, from its first key on; ``otherwise`` when there are none.

    Raises:
        EvidenceError: one is missing, or does not go on from the one before it.
    """
    found: list[Handover] = []
    for handover in handovers:
        # An event that is told twice is one.
        if found and (handover.old, handover.new) == (found[-1].old, found[-1].new):
            continue
        known = {found[0].old, *(before.new for before in found)} if found else {handover.old}
        follows = not found or handover.old == found[-1].new
        if not follows or handover.number != len(found) + 1 or handover.new in known:
            raise EvidenceError(
                f"the rotation of the evidence key in event {handover.index} does not go on from the key before it"
            )
        found.append(handover)
    return EvidenceKeys(found[0].old if found else otherwise, tuple(found))


def handovers_in(events: Sequence[Event]) -> list[Handover]:
    """Return the rotations of the evidence key that stand among ``events``, in log order.

    Raises:
        EvidenceError: one of them is not signed by both of its keys.
    """
    found = [event for event in events if event.body.get("type") == ROTATED_EVIDENCE]
    return [handover_of(event.details, event.index) for event in sorted(found, key=lambda event: event.index)]


def read_history(text: str) -> EvidenceKeys:
    """Return the keys that 'aisecops evidence keys' printed.

    Raises:
        EvidenceError: it printed something else.
    """
    try:
        told = parsed(text.encode("utf-8", "replace"), "the history of evidence keys")
        key, rotations = str(told["key"]), [(one, whole(one["log_index"])) for one in told["rotations"]]
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise EvidenceError("the history of evidence keys is not what 'aisecops evidence keys' prints") from error
    found = keys_told([handover_of(one, index) for one, index in rotations], key)
    if found.current != key:
        raise EvidenceError("the history of evidence keys does not lead to the key that it names")
    return found


def known_keys(given: str, history: str | None) -> EvidenceKeys | None:
    """Return the keys that a reader brings along: one, or all of a history; none when neither is given.

    Raises:
        EvidenceError: the key or the history is none, or the history does not have the key.
    """
    key = given.strip().lower()
    if given and not _KEY.fullmatch(key):
        raise EvidenceError("the evidence key that you gave is no key: one is 64 hexadecimal digits")
    if history is None:
        return EvidenceKeys(key) if key else None
    found = read_history(history)
    if key and key not in found.all:
        raise EvidenceError("the history of evidence keys that you gave does not have the key that you gave")
    return found


def check_keys(own: str, told: EvidenceKeys, known: EvidenceKeys | None, *, size: int, proven: bool) -> list[str]:
    """Check that ``own`` may have signed a package of a log of ``size`` events, and return what was found out.

    ``told`` are the keys as the package tells of them, ``known`` those that the reader brings along; ``proven`` says
    that the reader brought the log's key, too.

    Raises:
        EvidenceError: it may not.
    """
    if own not in told.all:
        raise EvidenceError("the package is signed with a key that its log does not know as one for packages")
    _require_good(own, told, size)
    if known is None:
        return _said(told.handovers)
    _require_agreeing(told, known)
    if own in known.all:
        _require_good(own, known, size)
        return _said(known.handovers)
    if known.current not in told.all:
        raise EvidenceError(
            "the package was made with another evidence key than the one you gave, and no rotation in it leads there"
        )
    steps = told.handovers[told.all.index(known.current) :]
    revoked = [step for step in steps if not step.grace]
    if revoked and not proven:
        raise EvidenceError(
            f"the evidence key that you gave was revoked in event {revoked[-1].index}: what it says of the key that"
            " follows counts only where the log's key is known; give --log-key"
        )
    return _said((*known.handovers, *steps))


def _require_good(own: str, keys: EvidenceKeys, size: int) -> None:
    """Check that ``own`` was not revoked, and signed for nothing behind the event in which another followed it."""
    steps = keys.handovers[keys.all.index(own) :]
    for step in steps:
        if not step.grace:
            raise EvidenceError(
                f"the package is signed with an evidence key that was revoked in event {step.index}: whoever stole it"
                " may have made it; ask for the package anew"
            )
    if steps and steps[0].index < size:
        raise EvidenceError(
            f"the package is signed with an evidence key that was followed by another in event {steps[0].index}, and"
            " speaks of events behind that"
        )


def _require_agreeing(told: EvidenceKeys, known: EvidenceKeys) -> None:
    """Check that the package tells of no other key in a place that the reader knows."""
    ours = {step.old: step for step in known.handovers}
    for step in told.handovers:
        if step.old in ours and step.new != ours[step.old].new:
            raise EvidenceError(
                f"event {step.index} of the package hands an evidence key over to another one than you know: one of the"
                " logs was rewritten"
            )


def _said(steps: Sequence[Handover]) -> list[str]:
    return [
        f"the evidence key {step.old[:16]} was {'followed by' if step.grace else 'revoked, and replaced by'}"
        f" {step.new[:16]} in event {step.index}"
        for step in steps
    ]
