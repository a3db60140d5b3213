"""How much may be held at once, over all and for one caller. What does not fit is told so at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aisecops_server.domain.errors import OverloadedError
from aisecops_server.domain.identity import Principal, PrincipalId


@dataclass(slots=True)
class Admission:
    """Counts what is held. One caller gets at most half, so that a flood of one leaves room for the others.

    ``full`` and ``hint`` are what a caller is told for whom there is no room.
    """

    limit: int
    full: str = "too many decisions are in flight"
    hint: str = "Retry after a moment"
    _total: int = 0
    _of_principal: dict[PrincipalId, int] = field(default_factory=dict)

    @property
    def in_flight(self) -> int:
        """Return the weight of what is held."""
        return self._total

    @contextmanager
    def admit(self, principal: Principal, *, weight: int = 1) -> Iterator[None]:
        """Hold a place of ``weight`` while the block runs.

        Raises:
            OverloadedError: there is no room.
        """
        own = self._of_principal.get(principal.id, 0)
        share = max(1, self.limit // 2)
        weight = min(weight, share)
        if own + weight > share or self._total + weight > self.limit:
            raise OverloadedError(self.full, hint=self.hint, limit=str(self.limit))
        self._total += weight
        self._of_principal[principal.id] = own + weight
        try:
            yield
        finally:
            self._release(principal.id, weight)

    def _release(self, principal_id: PrincipalId, weight: int) -> None:
        self._total -= weight
        left = self._of_principal[principal_id] - weight
        if left:
            self._of_principal[principal_id] = left
        else:
            del self._of_principal[principal_id]
