"""How a channel stands now: whether its last word still counts, and what holds where it does not.

The last good policy goes on deciding for a time after its word ended, with an alarm; then nothing is allowed. So a
night without a release does not stop agents, and a policy that somebody keeps from being replaced does not decide for
ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from aisecops_server.domain.bundles.announcement import SKEW_SECONDS, Announced


class ChannelState(StrEnum):
    """Whether a channel's word counts."""

    CURRENT = "CURRENT"
    FROZEN = "FROZEN"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True)
class ChannelStanding:
    """A channel at one moment. ``closes_at_seconds`` is from when on nothing is allowed; 0 where nothing ever was."""

    channel: str
    last: Announced | None
    state: ChannelState
    closes_at_seconds: int
    problem: str


def standing_of(
    channel: str, last: Announced | None, *, known: frozenset[str], now_seconds: int, grace_seconds: int
) -> ChannelStanding:
    """Return how a channel stands, of which ``last`` counted last and whose keys are ``known``."""
    if last is None:
        problem = f"the channel {channel} never announced anything that counts, so nothing is allowed"
        return ChannelStanding(channel, None, ChannelState.CLOSED, 0, problem)
    ends = last.announcement.expires_at_seconds
    closes = ends + grace_seconds
    late, why = now_seconds >= closes, _why(last, known, now_seconds)
    if not why:
        return ChannelStanding(channel, last, ChannelState.CURRENT, closes, "")
    state = ChannelState.CLOSED if late else ChannelState.FROZEN
    then = "nothing is allowed" if late else f"{closes - now_seconds} seconds from now nothing will be allowed"
    problem = f"policy is frozen: {why}; {then} until the channel {channel} announces anew"
    return ChannelStanding(channel, last, state, closes, problem)


def _why(last: Announced, known: frozenset[str], now_seconds: int) -> str:
    ends = last.announcement.expires_at_seconds
    if now_seconds >= ends:
        return f"the last announcement ended {now_seconds - ends} seconds ago"
    if last.key_id not in known:
        return f"the last announcement is signed by {last.key_id}, which is no key of the channel any more"
    if now_seconds < last.announcement.issued_at_seconds - SKEW_SECONDS:
        return "the clock of this machine went back behind the last announcement"
    return ""
