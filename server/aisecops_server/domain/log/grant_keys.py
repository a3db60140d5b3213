"""How long a replaced key of grants still counts, and how a centre knows of the keys of its edges.

What the earlier key signed counts for as long as a grant could live that was issued by then, and no longer; after a
revocation nothing of any earlier key counts. How keys are replaced is in ``key_rotation``.
"""

from __future__ import annotations

from aisecops_server.domain.events.event import Event, EventId, control_event
from aisecops_server.domain.log.key_rotation import KeyUse, SignedRotation

ROTATED = KeyUse.GRANT.rotated
# At the centre: the same of an edge, whose log says so.
OF_EDGE = "edge.grant_key_rotated"
# How long after a rotation the earlier key may have issued something, in seconds: by clocks that differ a little, and
# until every control plane on one log has heard of it.
SKEW_SECONDS = 5
# No grant lives longer.
LONGEST_SECONDS = 300
GRACE_SECONDS = LONGEST_SECONDS + SKEW_SECONDS


def rotated_at_edge_event(edge: str, signed: SignedRotation, *, index: int, id: EventId, now_ns: int) -> Event:
    """Return the event by which a centre knows an edge's grants by another key; ``index`` is its place at the edge."""
    return control_event(OF_EDGE, {"edge": edge, "edge_index": index, **signed.details()}, id=id, now_ns=now_ns)
