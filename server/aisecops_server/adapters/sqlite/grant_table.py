"""Grants as state beside the log: issued with their decision, redeemed once, closed once.

The writer's thread alone uses ``GrantTable``; the functions below it read, on any connection. ``claims`` hold the whole
grant, as its event does, so that one that was issued can be signed again. ``redemption`` is the key of the call that
used it, ``report`` the digest of the report that closed it.
"""

from __future__ import annotations

from collections.abc import Sequence

import apsw
import orjson

from aisecops_server.adapters.sqlite.statements import Row, insert
from aisecops_server.domain.errors import AisecopsError, ContendedError, GrantNotUsableError, IntegrityError
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.grants.grant import Grant, GrantId, GrantState, StoredGrant, grant_of
from aisecops_server.domain.grants.grant_changes import CloseGrant, IssueGrants, RedeemGrant, RevokeGrants
from aisecops_server.domain.plans.plan import StepId

_COLUMNS = "claims, state, revoked, report, redemption"


class GrantTable:
    """Implements ``StagedTable`` for the changes of grants: those of a commit are issued together."""

    def __init__(self) -> None:
        self._issued: list[Row] = []
        self._before = 0

    def holds(self, change: Change) -> bool:
        """Return whether a change only issues grants, which nothing can refuse."""
        return isinstance(change, IssueGrants)

    def begin(self) -> None:
        """Begin with the changes of another entry."""
        self._before = len(self._issued)

    def undo(self) -> None:
        """Take back what was issued since ``begin``."""
        del self._issued[self._before :]

    def settle(self, connection: apsw.Connection) -> None:
        """Write what was issued: a grant may be redeemed in the commit that issues it."""
        self.store(connection)

    def store(self, connection: apsw.Connection) -> None:
        """Write what was issued."""
        if self._issued:
            insert(connection, "INSERT INTO execution_grant", self._issued)
        self._issued, self._before = [], 0

    def reread(self) -> None:
        """Nothing is believed from memory."""

    def apply(self, connection: apsw.Connection, change: Change) -> AisecopsError | None:
        """Check and apply one change."""
        match change:
            case IssueGrants():
                self._issued += _rows(change)
                return None
            case RedeemGrant():
                return _redeem(connection, change)
            case CloseGrant():
                return _close(connection, change)
            case RevokeGrants():
                connection.executemany(
                    "UPDATE execution_grant SET revoked = 1 WHERE grant_id = ?", [(name,) for name in change.grant_ids]
                )
                return None
            case _:
                return IntegrityError("this is no change of a grant")

    def committed(self) -> None:
        """Keep nothing in memory."""

    def forget(self) -> None:
        """Give up what would have been issued."""
        self._issued, self._before = [], 0


def stored_grant(connection: apsw.Connection, grant_id: str) -> StoredGrant | None:
    """Return one grant with what became of it."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM execution_grant WHERE grant_id = ?", (grant_id,)).get  # noqa: S608 - constant parts
    return None if row is None else _stored(connection, row)


def grants_of(connection: apsw.Connection, decision_id: str) -> list[StoredGrant]:
    """Return the grants of one decision."""
    first = f"grt-{decision_id.removeprefix('dec-')}."
    query = f"SELECT {_COLUMNS} FROM execution_grant WHERE grant_id > ? AND grant_id < ?"  # noqa: S608 - constant parts
    rows = connection.execute(query, (first, f"{first}:")).fetchall()
    return sorted((_stored(connection, row) for row in rows), key=lambda stored: stored.grant.step_index)


def open_grants_of(connection: apsw.Connection, agent_id: str) -> list[StoredGrant]:
    """Return the grants of one agent that are not closed."""
    query = f"SELECT {_COLUMNS} FROM execution_grant WHERE agent_id = ? AND state IN ('issued', 'redeemed')"  # noqa: S608 - constant parts
    return [_stored(connection, row) for row in connection.execute(query, (agent_id,)).fetchall()]


def overdue_grants(connection: apsw.Connection, *, now_seconds: int, limit: int) -> list[StoredGrant]:
    """Return grants of which nobody said in time what came of them, the longest overdue first."""
    query = (
        f"SELECT {_COLUMNS} FROM execution_grant WHERE state IN ('issued', 'redeemed') AND overdue_at <= ?"  # noqa: S608 - constant parts
        " ORDER BY overdue_at LIMIT ?"
    )
    return [_stored(connection, row) for row in connection.execute(query, (now_seconds, limit)).fetchall()]


def _rows(change: IssueGrants) -> list[Row]:
    return [
        (
            grant.id,
            grant.trace_id,
            grant.step_id,
            grant.agent_id,
            claims,
            grant.expires_at_seconds + change.report_seconds,
            GrantState.ISSUED.value,
            0,
            "",
            "",
        )
        for grant, claims in zip(change.grants, change.claims, strict=True)
    ]


def _redeem(connection: apsw.Connection, change: RedeemGrant) -> GrantNotUsableError | None:
    grant = change.grant
    row = connection.execute(
        "SELECT state, revoked, redemption FROM execution_grant WHERE grant_id = ?", (grant.id,)
    ).get
    if row is None:
        return _unusable(grant.id, "unknown", "this control plane holds no such grant")
    state, revoked, redemption = row
    if state == GrantState.REDEEMED and redemption == change.key:
        return _unusable(grant.id, "retried", "the grant was redeemed by this very call before")
    if state != GrantState.ISSUED:
        return _unusable(grant.id, "reused", f"the grant was used before: it is {state}")
    if revoked:
        return _unusable(grant.id, "revoked", "the grant was revoked")
    if waiting := _waiting_for(connection, grant):
        return _unusable(grant.id, "out_of_order", f"step {waiting[0]} has to run first")
    connection.execute(
        "UPDATE execution_grant SET state = ?, redemption = ? WHERE grant_id = ?",
        (GrantState.REDEEMED.value, change.key, grant.id),
    )
    return None


def _close(connection: apsw.Connection, change: CloseGrant) -> ContendedError | None:
    connection.execute(
        "UPDATE execution_grant SET state = ?, report = ? WHERE grant_id = ? AND state = ? AND report = ''",
        (change.final.value, change.report, change.grant_id, change.seen.value),
    )
    if not connection.changes():
        return ContendedError("the grant is no longer as it was read", hint="Report again")
    return None


def _stored(connection: apsw.Connection, row: Row) -> StoredGrant:
    claims, state, revoked, report, redemption = row
    grant = grant_of(orjson.loads(claims))
    waiting_for = _waiting_for(connection, grant)
    return StoredGrant(grant, GrantState(state), bool(revoked), report, waiting_for, redeemed=bool(redemption))


def _waiting_for(connection: apsw.Connection, grant: Grant) -> tuple[StepId, ...]:
    return tuple(step for step in grant.depends_on if not _has_run(connection, grant, step))


def _has_run(connection: apsw.Connection, grant: Grant, step: StepId) -> bool:
    # A step of the same plan, or one that was decided earlier in the same session: the latest of that name counts.
    found: Sequence[Row] = connection.execute(
        "SELECT grant_id, state FROM execution_grant WHERE trace_id = ? AND step_id = ? AND agent_id = ?",
        (grant.trace_id, step, grant.agent_id),
    ).fetchall()
    own = f"{grant.id.rpartition('.')[0]}."
    states = [state for name, state in sorted(found) if name.startswith(own)] or [state for _, state in sorted(found)]
    return bool(states) and states[-1] == GrantState.EXECUTED


def _unusable(grant: GrantId, why: str, message: str) -> GrantNotUsableError:
    return GrantNotUsableError(message, hint="Nothing may run by it. Ask for a decision again", why=why, grant=grant)
