"""What is erased, and what must not be: tombstones and legal holds, as changes of state and as events.

An erasure is of one trace, up to a place of the log; what is recorded in the trace after it can be erased again. A hold
names traces or agents, and nothing of what it names is erased while it lasts. Both can be read from the log alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar

from aisecops_server.domain.events.change import Change
from aisecops_server.domain.events.event import Event, EventId, Stage, control_event, make_event
from aisecops_server.domain.formats.canonical import JsonValue

KIND = "keeping"
ERASED = "payload.erased"
HOLD_ADDED, HOLD_RELEASE_ASKED, HOLD_RELEASED = "hold.added", "hold.release_asked", "hold.released"
HOLD_EVENTS = (HOLD_ADDED, HOLD_RELEASE_ASKED, HOLD_RELEASED)
# The class of an erasure that a person asked for.
ON_REQUEST = "on_request"


class HeldBy(StrEnum):
    """What the subjects of a hold are."""

    TRACE = "trace"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold. ``asked_by`` is who asked for its release first, where it takes two; ``released_by`` ends it."""

    id: str
    by: HeldBy
    subjects: tuple[str, ...]
    reason: str
    added_by: str
    added_at_ns: int
    asked_by: str = ""
    released_by: str = ""

    @property
    def is_held(self) -> bool:
        """Return whether it still holds."""
        return not self.released_by

    def json(self) -> dict[str, JsonValue]:
        """Return the hold as it is stored and told."""
        return {
            "hold_id": self.id,
            "by": self.by.value,
            "subjects": list(self.subjects),
            "reason": self.reason,
            "added_by": self.added_by,
            "added_at_micros": self.added_at_ns // 1000,
            "asked_by": self.asked_by,
            "released_by": self.released_by,
        }


def hold_of(told: Mapping[str, object]) -> Hold:
    """Return the hold that ``Hold.json`` wrote.

    Raises:
        KeyError, ValueError, TypeError: it wrote none.
    """
    subjects = told["subjects"]
    if not isinstance(subjects, list):
        raise TypeError("the subjects of a hold are a list")
    return Hold(
        id=str(told["hold_id"]),
        by=HeldBy(str(told["by"])),
        subjects=tuple(map(str, subjects)),
        reason=str(told["reason"]),
        added_by=str(told["added_by"]),
        added_at_ns=int(str(told["added_at_micros"])) * 1000,
        asked_by=str(told["asked_by"]),
        released_by=str(told["released_by"]),
    )


@dataclass(frozen=True, slots=True)
class ErasePayloads(Change):
    """Erase what can be erased of a trace up to log index ``through``.

    Refused while a hold names the trace or one of its agents, and while people or grants still wait in it.
    """

    kind: ClassVar[str] = KIND
    trace_id: str
    through: int


@dataclass(frozen=True, slots=True)
class ChangeHold(Change):
    """Store ``hold`` in the place of what was ``seen`` of it, which is nothing for a new one."""

    kind: ClassVar[str] = KIND
    hold: Hold
    seen: Hold | None


@dataclass(frozen=True, slots=True)
class Reason:
    """Who wants something, why, and of which class it is."""

    principal: str
    text: str
    class_name: str


def erased_event(change: ErasePayloads, reason: Reason, *, id: EventId, now_ns: int) -> Event:
    """Return the tombstone: the event that says what was erased, by whom and why."""
    return make_event(
        id=id,
        trace_id=change.trace_id,
        plan_id="",
        decision_id="",
        stage=Stage.RUNTIME_CONTROL,
        type=ERASED,
        occurred_at_ns=now_ns,
        details={
            "principal": reason.principal,
            "reason": reason.text,
            "class": reason.class_name,
            "through": change.through,
        },
    )


def hold_event(hold: Hold, type: str, *, id: EventId, now_ns: int, principal: str, note: str = "") -> Event:
    """Return the event that tells what became of a hold."""
    return control_event(type, {"principal": principal, "note": note, "hold": hold.json()}, id=id, now_ns=now_ns)


def released(hold: Hold, principal: str, *, needs: int) -> tuple[Hold, str]:
    """Return the hold after ``principal`` wants it released, and the type of the event that tells of it.

    Whoever added a hold may ask for its release as well; where it takes two, they must be two.
    """
    if needs > 1 and hold.asked_by in ("", principal):
        return replace(hold, asked_by=principal), HOLD_RELEASE_ASKED
    return replace(hold, released_by=principal), HOLD_RELEASED
