"""Approvals on a real store: an agent that asks, people who answer, a clock that stands still until it is moved."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aisecops_server.adapters.signing.keys import open_key
from aisecops_server.adapters.signing.vote_keys import SigningVoteKeys
from aisecops_server.adapters.sqlite.event_log import LogOptions, SqliteEventLog, open_log
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.approvals.approval import Approval, Choice
from aisecops_server.domain.bundles.bundle import Bundle, CommitId
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.decisions.decision import Mode
from aisecops_server.domain.events.event import Event
from aisecops_server.domain.plans.plan_builder import Fresh, PlanDraft, StepDraft, build_plan
from aisecops_server.usecases.approvals.approval_control import ApprovalControl
from aisecops_server.usecases.approvals.approvals import ReadApprovals, WithdrawApprovals
from aisecops_server.usecases.approvals.expire_approvals import ExpireApprovals
from aisecops_server.usecases.approvals.vote import CastVotes, VoteCommand
from aisecops_server.usecases.approvals.vote_proofs import VoteProofs
from aisecops_server.usecases.approvals.vote_together import VoteTogether
from aisecops_server.usecases.decisions.decide import Decide, DecideCommand, Decided
from aisecops_server.usecases.decisions.lifetimes import Lifetimes

from tests.fakes.clock import FakeClock
from tests.fakes.policy_engine import FakeEngine, fake_bundle

AGENT = "spiffe://corp.example/agent/clerk"
OTHER_AGENT = "spiffe://corp.example/agent/porter"
PAY = b'{"to": "NL91ABNA0417164300", "amount": 500}'
TABLES: Mapping[str, Any] = {
    "agents": {AGENT: {"owner": "clerks"}, OTHER_AGENT: {"owner": "porters"}},
    "tools": {"bank/pay": {"effect": "spend"}, "bank/read": {"effect": "read"}, "bank/delete": {"effect": "delete"}},
    "people": {
        "ada": {"aliases": ["ada@corp.example", "spiffe://corp.example/people/ada"], "groups": ["treasury"]},
        "bob": {"aliases": ["bob@corp.example"], "groups": ["treasury"]},
        "cleo": {"aliases": ["cleo@corp.example"], "teams": ["clerks"], "groups": ["treasury"]},
        "dan": {"aliases": ["dan@corp.example"]},
    },
}


@dataclass
class ApprovalScene:
    """Everything that decides, asks and answers, over one log."""

    root: Path
    log: SqliteEventLog
    clock: FakeClock = field(default_factory=FakeClock)
    engine: FakeEngine = field(default_factory=lambda: FakeEngine(bundle=bundle()))
    endpoints: tuple[str, ...] = ()
    most_open: int = 100

    def __post_init__(self) -> None:
        self.ids = RandomIds()
        self.store = self.log.approvals
        self.key = open_key(self.root / "keys", "approval")
        self.proofs = VoteProofs(SigningVoteKeys(self.key))
        lifetimes = Lifetimes(self.clock)
        self.control = ApprovalControl(self.store, self.proofs, self.ids, lifetimes, self.endpoints, self.most_open)
        self.decide = Decide(
            self.engine, self.log, self.clock, self.ids, deadline_seconds=5.0, controls=(self.control,)
        )
        self.votes = CastVotes(
            self.log, self.store, lambda: self.engine.bundle.tables, self.proofs, self.clock, self.ids
        )
        self.together = VoteTogether(self.store, self.votes, self.votes.refuse, self.clock)
        self.read = ReadApprovals(self.log, self.store, self.clock)
        self.withdraw = WithdrawApprovals(self.log, self.store, self.clock, self.ids)
        self.expire = ExpireApprovals(self.log, self.store, self.clock, self.ids)

    @property
    def now(self) -> int:
        return self.clock.now_ns() // 1_000_000_000

    def amend(self, table: str, **entries: Any) -> None:
        """Make another revision live, whose ``table`` has other entries."""
        tables = {**self.engine.bundle.tables, table: {**self.engine.bundle.tables[table], **entries}}
        revision = CommitId(f"{int(self.engine.bundle.revision, 16) + 1:040x}")
        self.engine.bundle = replace(self.engine.bundle, tables=tables, revision=revision)

    def command(
        self,
        tool: str = "bank/pay",
        arguments: bytes = PAY,
        *,
        agent: str = AGENT,
        approval: str = "",
        key: str = "",
        mode: Mode = Mode.ENFORCE,
        trace: str = "",
        step: str = "s1",
        **parts: Any,
    ) -> DecideCommand:
        steps = (StepDraft(step, tool, arguments),)
        draft = PlanDraft(**{"steps": steps, "intent": "pay the invoice", "trace_id": trace, **parts})
        plan = build_plan(draft, Fresh(self.ids.trace_id(), self.ids.plan_id()))
        return DecideCommand(principal(agent, Role.AGENT), plan, mode, key, f"digest {approval}", approval_id=approval)

    async def ask(self, *args: Any, **kwargs: Any) -> Decided:
        return await self.decide(self.command(*args, **kwargs))

    async def asked(self, *args: Any, **kwargs: Any) -> str:
        """Return the id of the request that asking opens."""
        decided = await self.ask(*args, **kwargs)
        assert decided.outcome == "REQUIRE_APPROVAL"
        return str(decided.details["approval_id"])

    async def vote(
        self, approval_id: str, who: str, choice: Choice = Choice.APPROVE, *, note: str = "", signature: str = ""
    ) -> Approval:
        approval = await self.store.approval(approval_id)
        return await self.votes(
            VoteCommand(
                voter=principal(who, Role.SECOPS),
                approval_id=approval_id,
                choice=choice,
                note=note,
                statement_digest=approval.statement_digest,
                signature=signature,
            )
        )

    async def granted(self, *args: Any, **kwargs: Any) -> str:
        """Return the id of an approval that people gave."""
        approval_id = await self.asked(*args, **kwargs)
        await self.vote(approval_id, "ada@corp.example")
        return approval_id

    async def events(self, kind: str = "") -> list[Event]:
        """Return the events whose type begins with ``kind``, in log order."""
        stored = [item.event async for item in self.log.events(from_index=0, follow=False, trace_id="")]
        return [event for event in stored if event.type.startswith(kind)]


def bundle() -> Bundle:
    return replace(fake_bundle(), tables=TABLES)


def principal(name: str, role: Role) -> Principal:
    return Principal(PrincipalId(name), "token", frozenset({role}), "ab" * 32)


@asynccontextmanager
async def approval_scene(root: Path, **fields: Any) -> AsyncIterator[ApprovalScene]:
    """Open the log in ``root``, or open it again, and close it."""
    log = open_log(root / "audit.db", LogOptions(minimum_free_bytes=0))
    try:
        yield ApprovalScene(root, log, **fields)
    finally:
        await log.close()
