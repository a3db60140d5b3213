"""The control that checks on whose behalf an agent says it acts.

A plan names the agents above the caller, outermost first, each with the trace in which it acted. Each link is held
against the log: that agent must have been allowed a plan in that trace, with exactly the chain above it that this plan
names. So nobody can be put into a chain who did not act, and nobody can be left out of it: an agent that was itself
called by another cannot stand at the top.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from aisecops_server.domain.decisions.decision import Decision
from aisecops_server.domain.documents.input_document import Circumstances
from aisecops_server.domain.plans.plan import Delegate
from aisecops_server.ports.delegations import Delegations
from aisecops_server.usecases.decisions.controls import Asked, Commitment

_REMEMBERED = 4096
_Link = tuple[Delegate, tuple[Delegate, ...]]


@dataclass(frozen=True, slots=True)
class DelegationControl:
    """Implements ``Control``. What the log once showed stays true, so it is remembered; what it did not is not."""

    log: Delegations
    _shown: OrderedDict[_Link, None] = field(default_factory=OrderedDict)

    async def facts(self, asked: Asked, known: Circumstances) -> Circumstances:
        """Return ``known`` with which links of the plan's chain the log shows.

        Raises:
            IntegrityError, LogUnavailableError: the log cannot say.
        """
        chain = asked.plan.delegation
        if not chain:
            return known
        verified = [await self._is_shown(link, chain[:at]) for at, link in enumerate(chain)]
        return replace(known, verified_links=tuple(verified))

    async def commitment(self, asked: Asked, decision: Decision) -> Commitment:
        """Return nothing: a chain changes no state."""
        del asked, decision
        return Commitment()

    async def _is_shown(self, link: Delegate, below: Sequence[Delegate]) -> bool:
        key = (link, tuple(below))
        if key in self._shown:
            return True
        if not link.trace_id or not await self.log.acted(link.agent_id, link.trace_id, below=below):
            return False
        self._shown[key] = None
        if len(self._shown) > _REMEMBERED:
            self._shown.popitem(last=False)
        return True
