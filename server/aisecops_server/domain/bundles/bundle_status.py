"""What a control plane serves now, and what went wrong last."""

from __future__ import annotations

from dataclasses import dataclass

from aisecops_server.domain.bundles.bundle import Revision
from aisecops_server.domain.bundles.channel_standing import ChannelStanding


@dataclass(frozen=True, slots=True)
class BundleStatus:
    """What is served and what went wrong last. ``synced_at_ns`` is 0 before the first sync.

    ``channel`` is how the channel stands whose word is required, if any is.
    """

    live: Revision | None
    previous: Revision | None
    wanted: str
    problem: str
    synced_at_ns: int
    channel: ChannelStanding | None = None
