"""What happens to grants, as changes of state that are stored with the events that tell of them.

Each is conditional: of two who race for one grant exactly one wins, and the other gets ``GrantNotUsableError``. Times
are in the changes, because a store has no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from aisecops_server.domain.events.change import Change
from aisecops_server.domain.grants.grant import Grant, GrantId, GrantState

KIND = "grant"


@dataclass(frozen=True, slots=True)
class IssueGrants(Change):
    """Keep ``grants``; who was given one has until ``report_seconds`` after its end to say what came of it.

    ``claims`` are those of each grant in canonical form, which its row and its signature share.
    """

    kind: ClassVar[str] = KIND
    grants: tuple[Grant, ...]
    claims: tuple[bytes, ...]
    report_seconds: int


@dataclass(frozen=True, slots=True)
class RedeemGrant(Change):
    """Use a grant up, once, after everything that its step depends on has run.

    ``key`` is the redeemer's own: the same one again is a retry of the same call and not another use.
    """

    kind: ClassVar[str] = KIND
    grant: Grant
    key: str


@dataclass(frozen=True, slots=True)
class CloseGrant(Change):
    """Give a grant its final state, if it still has the one that was ``seen`` and no report; ``report`` is its digest.

    One that was given up stays so when it is told late what came of its call, and has the report from then on.
    """

    kind: ClassVar[str] = KIND
    grant_id: GrantId
    seen: GrantState
    final: GrantState
    report: str


@dataclass(frozen=True, slots=True)
class RevokeGrants(Change):
    """Let none of these grants be redeemed any more; what was redeemed before runs on."""

    kind: ClassVar[str] = KIND
    grant_ids: tuple[GrantId, ...]
