"""The seam of delegation: what the log can say of an agent that is said to stand above another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aisecops_server.domain.plans.plan import Delegate


class Delegations(Protocol):
    """Answers from the record of decisions."""

    async def acted(self, agent_id: str, trace_id: str, *, below: Sequence[Delegate]) -> bool:
        """Return whether that agent was allowed a plan in that trace, with exactly ``below`` above itself.

        Only what was decided for real counts.

        Raises:
            IntegrityError: what is stored does not verify.
            LogUnavailableError: it cannot be read.
        """
        ...
