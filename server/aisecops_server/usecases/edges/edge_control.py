"""At an edge: the control that tells policy how old it is, and that lets nothing be kept once it is too old.

Policy decides by the age and says so in its findings. What the centre signed holds whatever the policy says: a policy
that has no rule about edges cannot be used longer for that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from aisecops_server.domain.decisions.decision import Decision, Outcome
from aisecops_server.domain.documents.input_document import Circumstances
from aisecops_server.domain.edges.edge import EdgeStanding
from aisecops_server.domain.errors import PolicyStaleError
from aisecops_server.usecases.decisions.controls import Asked, Commitment
from aisecops_server.usecases.edges.edge_feed import EdgeFeed

_NEXT = "Let the edge reach its centre and ask again; 'aisecops edge status' on the edge says why it does not"


@dataclass(frozen=True, slots=True)
class EdgeControl:
    """Implements ``Control``."""

    feed: EdgeFeed

    async def facts(self, asked: Asked, known: Circumstances) -> Circumstances:
        """Return ``known`` with how old the centre's word on the deciding policy is.

        Raises:
            PolicyStaleError: the centre never gave its word.
        """
        return replace(known, edge=self.feed.standing(asked.bundle))

    async def commitment(self, asked: Asked, decision: Decision) -> Commitment:
        """Return nothing to add, or refuse to keep anything but a denial.

        Raises:
            PolicyStaleError: the policy is older than the centre signed, or nobody knows how old it is.
        """
        problem = staleness(self.feed.standing(asked.bundle))
        if problem is not None and decision.outcome is not Outcome.DENY:
            raise problem
        return Commitment()


def staleness(standing: EdgeStanding) -> PolicyStaleError | None:
    """Return what is wrong with the age of a policy, if anything is."""
    age, limit = standing.age_seconds, standing.lifetime_seconds
    if not standing.clock_sound:
        return PolicyStaleError(
            "the clock of this edge's machine went back since the centre confirmed its policy",
            hint=f"Set the clock right. {_NEXT}",
            age=str(age),
            limit=str(limit),
            why="clock",
        )
    if age > limit:
        return PolicyStaleError(
            f"the centre confirmed the policy of this edge {age} seconds ago, and it counts for {limit} seconds",
            hint=_NEXT,
            age=str(age),
            limit=str(limit),
            why="age",
        )
    return None
