"""Everything around grants on a real log: decisions by a tiny policy, redemption, completion, and a clock to move."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aisecops_server.adapters.signing.grants import GrantKey
from aisecops_server.adapters.sqlite.event_log import LogOptions, SqliteEventLog, open_log
from aisecops_server.adapters.system import RandomIds
from aisecops_server.bootstrap.controls import grant_use_cases
from aisecops_server.domain.callers.identity import BY_CERTIFICATE, Principal, PrincipalId, Role
from aisecops_server.domain.decisions.decision import Mode
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.formats.canonical import canonical_bytes, digest
from aisecops_server.domain.grants.execution import ExecutionCost, ExecutionOutcome, ExecutionReport
from aisecops_server.domain.grants.grant import Grant, StoredGrant
from aisecops_server.domain.plans.plan import PlanId, TraceId
from aisecops_server.domain.plans.plan_builder import Fresh, PlanDraft, StepDraft, build_plan
from aisecops_server.entrypoints.grpc.execution_service import GrantUseCases
from aisecops_server.usecases.budgets.budgets import Settlements
from aisecops_server.usecases.decisions.decide import Decide, DecideCommand, Decided
from aisecops_server.usecases.grants.complete_grant import CompleteCommand, Completed
from aisecops_server.usecases.grants.expire_grants import ExpireGrants
from aisecops_server.usecases.grants.issue_grants import GrantControl, SignedGrant
from aisecops_server.usecases.grants.redeem_grant import Bearer, RedeemCommand, Redeemed

from tests.fakes.clock import FakeClock
from tests.fakes.policy_engine import FakeEngine
from tests.scenes.grants.grant_keys import grant_key

GRANT_SECONDS = 30
REPORT_SECONDS = 300
IDS = RandomIds()


def principal(name: str = "agent-a", credential: str = "credential", by: str = "token") -> Principal:
    return Principal(PrincipalId(name), by, frozenset({Role.AGENT}), digest(credential.encode()))


AGENT = principal()
# The same agent, proved by a certificate.
HOLDER = principal(credential="certificate", by=BY_CERTIFICATE)


def step(tool: str = "mail/send", *, id: str = "s1", depends_on: Sequence[str] = (), **arguments: object) -> StepDraft:
    return StepDraft(id, tool, json.dumps(arguments).encode(), depends_on=tuple(depends_on))


def arguments_digest(**arguments: object) -> str:
    return digest(canonical_bytes(arguments))


def report(grant: Grant, **changed: Any) -> ExecutionReport:
    """Return the report of a call that ran as granted, but for what is ``changed``."""
    fields: dict[str, Any] = {
        "outcome": ExecutionOutcome.EXECUTED,
        "tool": grant.tool,
        "arguments_digest": grant.arguments_digest,
        "result_digest": digest(b"result"),
        "cost": ExecutionCost(wall_milliseconds=5),
        "started_at_seconds": grant.issued_at_seconds,
        "failure": "",
    }
    return ExecutionReport(**fields | changed)


@dataclass
class Workshop:
    """The use cases of grants over one state directory."""

    log: SqliteEventLog
    key: GrantKey
    clock: FakeClock = field(default_factory=FakeClock)
    log_path: Path = Path()

    def __post_init__(self) -> None:
        self.store = self.log.grants
        settlements = Settlements(self.log.budgets, IDS)
        self.use: GrantUseCases = grant_use_cases(
            self.store, self.key, self.log, settlements=settlements, clock=self.clock, ids=IDS
        )
        self.expire = ExpireGrants(self.store, self.log, self.clock, IDS, settlements)
        controls = [GrantControl(IDS, GRANT_SECONDS, REPORT_SECONDS)]
        self.engine = FakeEngine()
        self._decide = Decide(self.engine, self.log, self.clock, IDS, deadline_seconds=1.0, controls=controls)

    async def decided(
        self,
        *steps: StepDraft,
        by: Principal = AGENT,
        mode: Mode = Mode.ENFORCE,
        key: str = "",
        trace_id: str = "",
        redeem: str = "",
    ) -> tuple[Decided, tuple[SignedGrant, ...]]:
        plan = build_plan(PlanDraft(steps=steps, trace_id=trace_id), Fresh(IDS.trace_id(), IDS.plan_id()))
        decided = await self._decide(DecideCommand(by, plan, mode, key, f"digest {redeem}", redemption_key=redeem))
        return decided, await self.use.hand_out(decided, by)

    async def granted(self, *steps: StepDraft, by: Principal = AGENT) -> tuple[SignedGrant, ...]:
        return (await self.decided(*(steps or (step(to="ada"),)), by=by))[1]

    async def redeem(self, signed: SignedGrant, *, by: Principal = AGENT, **changed: Any) -> Redeemed:
        fields: dict[str, Any] = {
            "caller": by.id,
            "bearer": Bearer(by.id, by.thumbprint),
            "token": signed.token,
            "key": IDS.event_id(),
            "tool": signed.grant.tool,
            "arguments_digest": signed.grant.arguments_digest,
        }
        return await self.use.redeem(RedeemCommand(**fields | changed))

    async def complete(self, signed: SignedGrant, *, by: Principal = AGENT, **changed: Any) -> Completed:
        return await self.use.complete(CompleteCommand(by, signed.grant.id, report(signed.grant, **changed)))

    async def run(self, signed: SignedGrant) -> None:
        await self.redeem(signed)
        await self.complete(signed)

    async def state(self, signed: SignedGrant) -> StoredGrant:
        return await self.store.grant(signed.grant.id)

    async def events(self, prefix: str = "") -> list[StoredEvent]:
        found = self.log.events(from_index=0, follow=False, trace_id="")
        return [stored async for stored in found if stored.event.type.startswith(prefix)]

    async def incidents(self) -> list[str]:
        return [stored.event.type.removeprefix("incident.") for stored in await self.events("incident.")]


def details(stored: StoredEvent) -> dict[str, Any]:
    found: dict[str, Any] = stored.event.details()
    return found


@asynccontextmanager
async def workshop(place: Path, clock: FakeClock | None = None) -> AsyncIterator[Workshop]:
    """Open the state in ``place`` and close it again; the same place gives the same state."""
    path = place / "audit.db"
    log = open_log(path, LogOptions(minimum_free_bytes=0))
    try:
        yield Workshop(log, grant_key(place / "keys"), clock or FakeClock(), path)
    finally:
        await log.close()


def fresh(number: int = 0) -> Fresh:
    return Fresh(TraceId(f"{number:032x}"), PlanId(f"plan-{number}"))
