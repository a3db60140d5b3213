"""The API over a real store with budgets, whose policy is limits alone; also as a process that can be killed.

    python -m tests.scenes.budgets.budget_server DIRECTORY LIMITS LEASE_SECONDS

prints the address once it serves, and serves until its standard input ends. LIMITS is JSON: a list of the fields of
``Limit``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from aisecops_client import AsyncClient, Client
from aisecops_server.adapters.identity.callers import CallerAuthenticator
from aisecops_server.adapters.identity.issuer import KEY_SET_FILE, TokenIssuer, local_issuer
from aisecops_server.adapters.identity.key_set import KeySet
from aisecops_server.adapters.identity.tokens import TokenAuthenticator
from aisecops_server.adapters.identity.watched_file import WatchedFile
from aisecops_server.adapters.sqlite.event_log import LogOptions, SqliteEventLog, open_log
from aisecops_server.adapters.system import RandomIds, SystemClock
from aisecops_server.bootstrap.controls import grant_use_cases
from aisecops_server.domain.callers.identity import Role
from aisecops_server.entrypoints.grpc.budget_service import BudgetUseCases
from aisecops_server.entrypoints.grpc.server import Listening, serve
from aisecops_server.ports import Clock
from aisecops_server.usecases.budgets.adjust_budget import AdjustBudget
from aisecops_server.usecases.budgets.budgets import BudgetControl, Settlements
from aisecops_server.usecases.budgets.expire_reservations import ExpireReservations
from aisecops_server.usecases.budgets.release_reservation import ReleaseReservation
from aisecops_server.usecases.decisions.decide import Decide
from aisecops_server.usecases.decisions.explain import Explain
from aisecops_server.usecases.grants.issue_grants import GrantControl
from aisecops_server.usecases.log.rounds import Rounds

from tests.fakes.charging_engine import ChargingEngine, Limit
from tests.fakes.policy_engine import fake_bundle
from tests.integration.api.running import served_by
from tests.scenes.grants.grant_keys import grant_key

AGENT = "spiffe://example.org/agent/support"
TABLES = {"agents": {AGENT: {"owner": "support"}}}
LOG = "audit.db"
GRANT_SECONDS = 30


@dataclass
class BudgetApi:
    """A running API and what is behind it."""

    address: str
    issuer: TokenIssuer
    engine: ChargingEngine
    log: SqliteEventLog
    settlements: Settlements
    expire: ExpireReservations

    def token(self, *roles: Role, subject: str = AGENT) -> str:
        return self.issuer.mint(subject, roles or (Role.AGENT,), seconds=3600)

    def client(self, *roles: Role, subject: str = AGENT) -> AsyncClient:
        return AsyncClient.connect(self.address, self.token(*roles, subject=subject))

    def blocking(self, *roles: Role, subject: str = AGENT) -> Client:
        return Client.connect(self.address, self.token(*roles, subject=subject))


@asynccontextmanager
async def serving(
    directory: Path, limits: Sequence[Limit], *, clock: Clock | None = None, lease_seconds: int = 600
) -> AsyncIterator[BudgetApi]:
    """Serve while the block runs."""
    clock, ids = clock or SystemClock(), RandomIds()
    engine = ChargingEngine(bundle=replace(fake_bundle(), tables=TABLES), limits=tuple(limits))
    issuer = local_issuer(directory / "keys", clock)
    keys = KeySet(WatchedFile(directory / "keys" / KEY_SET_FILE, clock))
    log = open_log(directory / LOG, LogOptions(minimum_free_bytes=0))
    settlements = Settlements(log.budgets, ids)
    served = replace(
        served_by(directory / "keys" / KEY_SET_FILE),
        decide=Decide(
            engine,
            log,
            clock,
            ids,
            deadline_seconds=5.0,
            controls=(BudgetControl(log.budgets, ids, lease_seconds), GrantControl(ids, GRANT_SECONDS, lease_seconds)),
        ),
        grants=grant_use_cases(
            log.grants, grant_key(directory / "keys"), log, settlements=settlements, clock=clock, ids=ids
        ),
        explain=Explain(engine, log, deadline_seconds=5.0),
        budgets=BudgetUseCases(
            ledger=log.budgets,
            clock=clock,
            adjust=AdjustBudget(log.budgets, log, clock, ids),
            release=ReleaseReservation(log.budgets, log, clock, ids),
        ),
        log=log,
        authenticator=CallerAuthenticator(TokenAuthenticator(keys, clock)),
    )
    server = await serve(served, Listening(directory / "run" / "api.sock"))
    expire = ExpireReservations(log.budgets, log, clock, settlements)
    try:
        yield BudgetApi(f"unix:{server.socket}", issuer, engine, log, settlements, expire)
    finally:
        await server.stop(0)
        await log.close()


async def _main(directory: Path, limits: Sequence[Limit], lease_seconds: int) -> None:
    async with serving(directory, limits, lease_seconds=lease_seconds) as api:
        reaper = asyncio.create_task(Rounds(api.expire, done="ended", failed="not ended", interval_seconds=0.2).run())
        sys.stdout.write(f"{api.address} {api.token()}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
        reaper.cancel()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), [Limit(**fields) for fields in json.loads(sys.argv[2])], int(sys.argv[3])))
