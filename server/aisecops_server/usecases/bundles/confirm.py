"""What a channel asks of people before policy becomes live: several of them, for the very same change.

The channel of a control plane is a setting; what it asks stands in ``gates.yaml`` of the revision that is live, so a
change cannot lift what it is under itself. A person counts once under whatever name, by the tables of what is live.
What one person asked for is kept until enough have, something else becomes live, or a day is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aisecops_server.domain.bundles.bundle import CommitId
from aisecops_server.domain.callers.people import person_of
from aisecops_server.domain.errors import AisecopsError, RolloutRefusedError
from aisecops_server.domain.policy.accepted_flips import CAUTIOUS, ChannelGate, Gates
from aisecops_server.domain.rollouts.rollout import Proposal, Voice
from aisecops_server.ports.rollout import ProposalStore
from aisecops_server.usecases.bundles.activate import Order, PolicySwitch

CONTROL_PLANE = "control-plane"
LIFE_NS = 24 * 3600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Confirm:
    """Lets a change pass when as many people asked for it as the channel wants."""

    channel: str
    gates: Callable[[CommitId], Awaitable[Gates]]
    store: ProposalStore
    switch: PolicySwitch
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def rules(self) -> ChannelGate:
        """Return what the channel asks; before anything is live, and without a channel, nothing."""
        live = self.switch.live.live
        if not self.channel or live is None:
            return ChannelGate()
        try:
            gates = await self.gates(live.commit.id)
        except AisecopsError:
            return CAUTIOUS
        return gates.channels.get(self.channel, CAUTIOUS)

    async def __call__(self, subject: str, order: Order) -> None:
        """Let ``subject`` pass, or keep that ``order`` asked for it and refuse until somebody else does too.

        Raises:
            RolloutRefusedError: more people have to ask for the very same.
            LogUnavailableError: who asked could not be recorded.
        """
        wanted = (await self.rules()).approvers
        if wanted < 2:  # noqa: PLR2004 - one person is who asks
            return
        async with self._busy:
            await self._count(subject, order, wanted)

    async def _count(self, subject: str, order: Order, wanted: int) -> None:
        live = self.switch.live.current().bundle
        person = person_of(live.tables, order.principal)
        if order.principal == CONTROL_PLANE:
            raise _waits(subject, 0, wanted)
        voices = self._valid(await self.store.proposal(subject), live.revision)
        known = {person_of(live.tables, voice.principal).name for voice in voices}
        if person.name in known:
            raise _waits(subject, len(known), wanted)
        known.add(person.name)
        voices = (*voices, Voice(order.principal, order.reason, self.switch.clock.now_ns()))
        done = len(known) >= wanted
        await self.switch.record(
            "activation.confirmed" if done else "activation.proposed",
            {
                "subject": subject,
                "channel": self.channel,
                "base": live.revision,
                "principal": order.principal,
                "person": person.name,
                "reason": order.reason,
                "people": sorted(known),
                "wanted": wanted,
            },
        )
        await self.store.propose(Proposal(subject, live.revision, () if done else voices))
        if not done:
            raise _waits(subject, len(known), wanted)

    def _valid(self, proposal: Proposal | None, base: str) -> tuple[Voice, ...]:
        if proposal is None or proposal.base != base:
            return ()
        now = self.switch.clock.now_ns()
        return tuple(voice for voice in proposal.voices if 0 <= now - voice.at_ns < LIFE_NS)


def _waits(subject: str, have: int, wanted: int) -> RolloutRefusedError:
    return RolloutRefusedError(
        f"{have} of {wanted} people asked for '{subject}', so nothing changed",
        hint="Another person with the role security or platform gives the very same command within a day",
        why="second_person",
    )
