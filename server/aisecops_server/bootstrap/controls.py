"""What follows a decision, composed: grants and budgets, and the ends of those that nobody closed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from aisecops_server.adapters.signing.grants import TimedGrantKeys
from aisecops_server.adapters.signing.key_files import KeyFiles
from aisecops_server.adapters.signing.keys import verifies_ed25519
from aisecops_server.adapters.signing.one_key import OneSigningKey
from aisecops_server.adapters.sqlite.event_log import SqliteEventLog
from aisecops_server.bootstrap.state import private
from aisecops_server.domain.log.key_rotation import KeyUse
from aisecops_server.entrypoints.grpc.budget_service import BudgetUseCases
from aisecops_server.entrypoints.grpc.execution_service import GrantUseCases
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.grants import GrantKeyRing, GrantSigner, GrantStore
from aisecops_server.ports.keys import SigningRing
from aisecops_server.usecases.budgets.adjust_budget import AdjustBudget
from aisecops_server.usecases.budgets.budgets import Settlements
from aisecops_server.usecases.budgets.expire_reservations import ExpireReservations
from aisecops_server.usecases.budgets.release_reservation import ReleaseReservation
from aisecops_server.usecases.decisions.lifetimes import Lifetimes
from aisecops_server.usecases.grants.complete_grant import Complete
from aisecops_server.usecases.grants.expire_grants import ExpireGrants
from aisecops_server.usecases.grants.issue_grants import HandOut
from aisecops_server.usecases.grants.raise_incident import RaiseIncident
from aisecops_server.usecases.grants.redeem_grant import Redeem
from aisecops_server.usecases.grants.report_execution import ReportExecution
from aisecops_server.usecases.grants.revoke_grants import Revoke
from aisecops_server.usecases.log.rotate_key import FollowKeys
from aisecops_server.usecases.log.rounds import Rounds

_REAP_SECONDS = 5.0


def grant_use_cases(
    store: GrantStore, signer: GrantSigner, log: EventLog, *, settlements: Settlements, clock: Clock, ids: Ids
) -> GrantUseCases:
    """Return what gives grants out, uses them up and follows what came of them."""
    incidents, lifetimes = RaiseIncident(log, clock, ids), Lifetimes(clock)
    return GrantUseCases(
        hand_out=HandOut(signer, store, clock, lifetimes),
        redeem=Redeem(signer, log, clock, ids, incidents, lifetimes),
        complete=Complete(store, log, clock, ids, incidents, settlements),
        report=ReportExecution(store, log, clock, ids, incidents),
        revoke=Revoke(store, log, clock, ids),
        key_set=signer.key_set,
        store=store,
    )


async def grant_keys(log: SqliteEventLog, state: Path, clock: Clock) -> FollowKeys[GrantKeyRing]:
    """Return what signs grants with the key that the log names, which ``state`` keeps.

    Raises:
        IntegrityError: it does not keep it.
    """
    files = KeyFiles(private(state / "keys"), KeyUse.GRANT)
    keys = FollowKeys[GrantKeyRing](KeyUse.GRANT, log, files, TimedGrantKeys(clock), clock, verifies_ed25519)
    await keys.open()
    return keys


async def signing_keys(log: SqliteEventLog, state: Path, clock: Clock, use: KeyUse) -> FollowKeys[SigningRing]:
    """Return what signs for ``use`` with the key that the log names, once ``state`` keeps it.

    Decisions are made without it: a key that is missing stops what it would sign, and nothing else.

    Raises:
        IntegrityError: the log hands over from a key that was not its own, or the first key cannot be used.
    """
    files = KeyFiles(private(state / "keys"), use)
    keys = FollowKeys[SigningRing](use, log, files, OneSigningKey(use), clock, verifies_ed25519)
    await keys.open(waiting=True)
    return keys


def granting(
    log: SqliteEventLog, signer: GrantSigner, clock: Clock, ids: Ids, *, held: Callable[[], str]
) -> GrantUseCases:
    """Return the use cases of grants.

    While ``held`` names a reason, what was granted before opens nothing.
    """
    settlements = Settlements(log.budgets, ids)
    made = grant_use_cases(log.grants, signer, log, settlements=settlements, clock=clock, ids=ids)
    return replace(made, redeem=replace(made.redeem, held=held))


def budget_use_cases(log: SqliteEventLog, clock: Clock, ids: Ids) -> BudgetUseCases:
    """Return the use cases of the ledger."""
    return BudgetUseCases(
        ledger=log.budgets,
        clock=clock,
        adjust=AdjustBudget(log.budgets, log, clock, ids),
        release=ReleaseReservation(log.budgets, log, clock, ids),
    )


def reapers(log: SqliteEventLog, clock: Clock, ids: Ids) -> dict[str, Rounds]:
    """Return what ends grants nobody reported on, and reservations nobody settled, once their time is over.

    They stand by the names of the things that they end.
    """
    settlements = Settlements(log.budgets, ids)
    close = ExpireGrants(log.grants, log, clock, ids, settlements)
    charge = ExpireReservations(log.budgets, log, clock, settlements)
    return {what: _reaper(what, expire) for what, expire in (("grants", close), ("reservations", charge))}


def _reaper(what: str, expire: Callable[[], Awaitable[int]]) -> Rounds:
    return Rounds(
        expire,
        done=f"{what} that ended without a report",
        failed=f"overdue {what} were not ended",
        interval_seconds=_REAP_SECONDS,
    )
