"""What becomes of a rollout that replicas share, inside the transaction that appends what is told of it.

The row of a rollout and the event of a step are stored together, so nobody dies between the two; of two who move it
from the same step, one wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from aisecops_server.domain.bundles.bundle import Activated
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.rollouts.rollout import Rollout

KIND = "rollout"


@dataclass(frozen=True, slots=True)
class MadeLive:
    """What becomes live with a step of a rollout, in the place of the bundle with the digest ``over``."""

    live: Activated
    previous: Activated
    over: str


@dataclass(frozen=True, slots=True)
class MoveRollout(Change):
    """Begin a rollout while none is under way, or bring one to its next step. ``tally`` is what is counted so far."""

    kind: ClassVar[str] = KIND
    rollout: Rollout
    tally: Mapping[str, JsonValue]
    made_live: MadeLive | None = None


@dataclass(frozen=True, slots=True)
class RequireRollout(Change):
    """Let the candidate of a rollout have decided only while the rollout is at this step, or was promoted from it."""

    kind: ClassVar[str] = KIND
    rollout_id: str
    step: int
