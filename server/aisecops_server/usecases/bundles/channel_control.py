"""The control that lets nothing be kept but denials once a channel's word is too old."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aisecops_server.domain.bundles.channel_standing import ChannelStanding, ChannelState
from aisecops_server.domain.decisions.decision import Decision, Outcome
from aisecops_server.domain.documents.input_document import Circumstances
from aisecops_server.domain.errors import PolicyStaleError
from aisecops_server.usecases.decisions.controls import Asked, Commitment


@dataclass(frozen=True, slots=True)
class ChannelControl:
    """Implements ``Control``."""

    standing: Callable[[], ChannelStanding]

    async def facts(self, _asked: Asked, known: Circumstances) -> Circumstances:
        """Return ``known``: how old policy is, is no matter of policy here."""
        return known

    async def commitment(self, _asked: Asked, decision: Decision) -> Commitment:
        """Return nothing to add, or refuse to keep anything but a denial.

        Raises:
            PolicyStaleError: the channel's word ended too long ago.
        """
        standing = self.standing()
        if standing.state is ChannelState.CLOSED and decision.outcome is not Outcome.DENY:
            raise PolicyStaleError(
                standing.problem,
                hint="Announce anew: 'aisecops policy announce'; 'aisecops bundle status' says what is missing",
                why="closed",
            )
        return Commitment()
