"""A control plane's API over a real Unix socket: real use cases and codecs on a fake engine and a log in memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aisecops_client import AsyncClient
from aisecops_server.adapters.evidence.archive import pack
from aisecops_server.adapters.identity.callers import CallerAuthenticator
from aisecops_server.adapters.identity.issuer import KEY_SET_FILE, TokenIssuer, local_issuer
from aisecops_server.adapters.identity.key_set import KeySet
from aisecops_server.adapters.identity.tokens import TokenAuthenticator
from aisecops_server.adapters.identity.watched_file import WatchedFile
from aisecops_server.adapters.signing.grants import TimedGrantKeys
from aisecops_server.adapters.signing.key_files import KeyFiles
from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.adapters.signing.log_keys import LogKeyFiles
from aisecops_server.adapters.signing.one_key import OneSigningKey
from aisecops_server.adapters.signing.vote_keys import SigningVoteKeys
from aisecops_server.adapters.system import RandomIds
from aisecops_server.bootstrap.admission import work_queue
from aisecops_server.bootstrap.controls import grant_use_cases
from aisecops_server.domain.agents.agent import Activity
from aisecops_server.domain.bundles.bundle import Commit, CommitId, Revision, RevisionState
from aisecops_server.domain.bundles.bundle_status import BundleStatus
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import NotFoundError, UnknownRevisionError
from aisecops_server.domain.log.key_rotation import KeyChain, KeyUse
from aisecops_server.entrypoints.grpc.admission import WorkQueue
from aisecops_server.entrypoints.grpc.approval_service import ApprovalUseCases
from aisecops_server.entrypoints.grpc.budget_service import BudgetUseCases
from aisecops_server.entrypoints.grpc.bundle_service import PolicyUseCases
from aisecops_server.entrypoints.grpc.server import Listening, RunningServer, TcpListening, serve
from aisecops_server.entrypoints.grpc.services import Served
from aisecops_server.ports import Authenticator, EventLog
from aisecops_server.ports.grants import GrantStore
from aisecops_server.ports.keys import SigningRing
from aisecops_server.settings import Settings
from aisecops_server.usecases.approvals.approvals import ReadApprovals, WithdrawApprovals
from aisecops_server.usecases.approvals.resend_notices import ResendNotices
from aisecops_server.usecases.approvals.vote import CastVotes
from aisecops_server.usecases.approvals.vote_proofs import VoteProofs
from aisecops_server.usecases.approvals.vote_together import VoteTogether
from aisecops_server.usecases.budgets.adjust_budget import AdjustBudget
from aisecops_server.usecases.budgets.budgets import Settlements
from aisecops_server.usecases.budgets.release_reservation import ReleaseReservation
from aisecops_server.usecases.bundles.activate import ActivateCommand, Order
from aisecops_server.usecases.bundles.list_revisions import RevisionPage
from aisecops_server.usecases.compliance.read_agents import ReadAgents
from aisecops_server.usecases.compliance.read_maturity import ReadMaturity
from aisecops_server.usecases.decisions.decide import Decide
from aisecops_server.usecases.decisions.explain import Explain
from aisecops_server.usecases.decisions.screen import Screen
from aisecops_server.usecases.evidence.export_evidence import ExportEvidence
from aisecops_server.usecases.evidence.export_records import ExportRecords
from aisecops_server.usecases.evidence.investigate import Investigate
from aisecops_server.usecases.grants.issue_grants import GrantControl
from aisecops_server.usecases.log.record_reads import RecordReads
from aisecops_server.usecases.log.record_refusals import RecordRefusals
from aisecops_server.usecases.log.rotate_key import FollowKeys, RotateKeys
from aisecops_server.usecases.log.rotate_log_key import RotateLogKey
from aisecops_server.usecases.replays.compare_policies import Difference

from tests.fakes.adoption import FixedPlaces, FixedRecords
from tests.fakes.approvals import NoApprovals
from tests.fakes.budgets import MemoryLedger
from tests.fakes.checkpoints import publishing
from tests.fakes.clock import FakeClock
from tests.fakes.compliance import no_compliance
from tests.fakes.drift import no_drift
from tests.fakes.edges import no_edges
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.grants import NoGrants
from tests.fakes.keeping import no_retention
from tests.fakes.policy_engine import REVISION, RULE, FakeEngine
from tests.fakes.replays import no_replays
from tests.fakes.reviews import no_reviews
from tests.fakes.rollouts import no_rollouts

AGENT = "spiffe://example.org/agent/support"
COMMIT = Commit(CommitId(REVISION), "Ada", "First rules", 1_790_000_000)


@dataclass
class FakePolicy:
    """Answers like the activation use cases and remembers what it was asked."""

    asked: list[object] = field(default_factory=list)

    def use_cases(self) -> PolicyUseCases:
        return PolicyUseCases(
            self.activate,
            self.rollback,
            self.sync,
            self.list_revisions,
            self.show_revision,
            self.status,
            self.read_file,
            self.tell_difference,
        )

    async def tell_difference(self, before: str, after: str) -> Difference:
        self.asked.append((before, after))
        return Difference(CommitId(REVISION), CommitId(REVISION), (), "", {"a.yaml": f"{before} to {after}"})

    def status(self) -> BundleStatus:
        return BundleStatus(self._revision(), None, REVISION, "", 1_800_000_000_000_000_000)

    async def activate(self, command: ActivateCommand) -> BundleStatus:
        self.asked.append(command)
        return self.status()

    async def rollback(self, order: Order) -> BundleStatus:
        self.asked.append(order)
        return self.status()

    async def sync(self) -> BundleStatus:
        self.asked.append("sync")
        return self.status()

    async def list_revisions(self, *, page_size: int, page_token: str) -> RevisionPage:
        self.asked.append((page_size, page_token))
        return RevisionPage((self._revision(),), next_token="")

    async def read_file(self, name: str, path: str) -> tuple[CommitId, bytes]:
        if name != REVISION or path != RULE.file:
            raise NotFoundError("no such file", path=path)
        return CommitId(REVISION), b"package aisecops.decision\n"

    async def show_revision(self, name: str) -> tuple[Revision, tuple[object, ...]]:
        if name != REVISION:
            raise UnknownRevisionError("no such revision", revision=name)
        return self._revision(), (RULE,)

    def _revision(self) -> Revision:
        return Revision(COMMIT, RevisionState.LIVE, "b" * 64, "")


class NoBundles:
    """Has no bundle of any revision."""

    async def stored(self, revision: CommitId) -> None:
        return None


class NoActivity:
    """Nobody ever asked."""

    async def of(self, agent_ids: Collection[str]) -> dict[str, Activity]:
        return {}

    async def after(self, agent_id: str, *, limit: int) -> list[Activity]:
        return []

    async def count_others(self, agent_ids: Collection[str]) -> int:
        return 0


@dataclass
class Api:
    """A running API and everything behind it."""

    server: RunningServer
    issuer: TokenIssuer
    clock: FakeClock
    log: MemoryEventLog
    engine: FakeEngine
    policy: FakePolicy
    keys: Path
    problem: list[str]
    refusals: RecordRefusals

    @property
    def address(self) -> str:
        return f"unix:{self.server.socket}"

    def token(self, *roles: Role, subject: str = AGENT, seconds: int = 3600) -> str:
        return self.issuer.mint(subject, roles or (Role.AGENT,), seconds=seconds)

    def client(self, *roles: Role, subject: str = AGENT) -> AsyncClient:
        return AsyncClient.connect(self.address, self.token(*roles, subject=subject))


def served_by(
    keys: Path,
    *,
    clock: FakeClock | None = None,
    log: EventLog | None = None,
    engine: FakeEngine | None = None,
    policy: FakePolicy | None = None,
    grants: GrantStore | None = None,
    problem: list[str] | None = None,
    max_in_flight: int = 256,
    work: WorkQueue | None = None,
    authenticator: Authenticator | None = None,
    refusals: RecordRefusals | None = None,
) -> Served:
    """Return the real use cases on fakes."""
    clock, log, engine, ids = clock or FakeClock(), log or MemoryEventLog(), engine or FakeEngine(), RandomIds()
    reasons = problem if problem is not None else [""]
    publish = publishing(keys.parent, log)
    none = NoApprovals()
    proofs = VoteProofs(SigningVoteKeys(open_key(keys.parent, "approval")))
    signing = FollowKeys(
        KeyUse.GRANT, log, KeyFiles(keys.parent, KeyUse.GRANT), TimedGrantKeys(clock), clock, verifies_ed25519
    )
    signing.ring.turn(signing.store.first(), KeyChain(), now_ns=0)
    files, own = KeyFiles(keys.parent, KeyUse.EVIDENCE), OneSigningKey(KeyUse.EVIDENCE)
    own.turn(files.first(), KeyChain(), now_ns=0)
    evidence = FollowKeys[SigningRing](KeyUse.EVIDENCE, log, files, own, clock, verifies_ed25519)
    return Served(
        decide=Decide(engine, log, clock, ids, deadline_seconds=1.0, controls=[GrantControl(ids, 30, 300)]),
        explain=Explain(engine, log, deadline_seconds=1.0),
        screen=Screen(engine, log, clock, ids, deadline_seconds=1.0),
        policy=(policy or FakePolicy()).use_cases(),
        maturity=ReadMaturity(lambda: engine.bundle, FixedRecords(), FixedPlaces(), publish, no_replays().reads, clock),
        agents=ReadAgents(lambda: engine.bundle, NoActivity(), clock),
        approvals=ApprovalUseCases(
            vote=(votes := CastVotes(log, none, lambda: engine.bundle.tables, proofs, clock, ids)),
            together=VoteTogether(none, votes, votes.refuse, clock),
            read=ReadApprovals(log, none, clock),
            withdraw=WithdrawApprovals(log, none, clock, ids),
            notices=ResendNotices(log, none, clock, ids),
        ),
        grants=grant_use_cases(
            grants or NoGrants(),
            signing.ring,
            log,
            settlements=Settlements(MemoryLedger(), ids),
            clock=clock,
            ids=ids,
        ),
        budgets=budget_use_cases(clock, log, ids),
        log=log,
        publish=publish,
        rotate=RotateLogKey(log, publish, LogKeyFiles(keys.parent), clock, ids),
        grant_keys=RotateKeys(signing, ids),
        signing_keys={KeyUse.EVIDENCE: RotateKeys(evidence, ids)},
        retention=no_retention(log, clock, ids),
        replays=no_replays(),
        review=no_reviews(log, clock, ids),
        compliance=no_compliance(),
        drift=no_drift(log, clock, ids),
        records=ExportRecords(log, publish.keys.origin, "0"),
        export=ExportEvidence(
            log,
            publish,
            bundles=NoBundles(),
            keys=evidence,
            clock=clock,
            ids=ids,
            pack=pack,
            tell=Investigate(log, json.loads),
        ),
        authenticator=authenticator or CallerAuthenticator(TokenAuthenticator(KeySet(WatchedFile(keys, clock)), clock)),
        note_refusal=(refusals or RecordRefusals(log, clock, ids)).note,
        tell_reading=RecordReads(log, clock, ids),
        ids=ids,
        readiness=lambda: reasons[0],
        work=work or work_queue(Settings(max_in_flight=max_in_flight), dict),
        max_in_flight=max_in_flight,
        edges=no_edges(engine, COMMIT, open_key(keys.parent, "bundle"), log=log, clock=clock, ids=ids),
        rollouts=no_rollouts(log, clock, ids),
    )


def budget_use_cases(clock: FakeClock, log: MemoryEventLog, ids: RandomIds) -> BudgetUseCases:
    """Return what reads and corrects books that are empty."""
    ledger = MemoryLedger()
    adjust, release = AdjustBudget(ledger, log, clock, ids), ReleaseReservation(ledger, log, clock, ids)
    return BudgetUseCases(ledger, clock, adjust, release)


@asynccontextmanager
async def running_api(
    *, max_in_flight: int = 256, work: WorkQueue | None = None, tcp: bool = False
) -> AsyncIterator[Api]:
    """Serve while the block runs."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        clock, log, engine, policy = FakeClock(), MemoryEventLog(), FakeEngine(), FakePolicy()
        problem = [""]
        issuer = local_issuer(root / "keys", clock)
        keys = root / "keys" / KEY_SET_FILE
        refusals = RecordRefusals(log, clock, RandomIds())
        served = served_by(
            keys,
            refusals=refusals,
            clock=clock,
            log=log,
            engine=engine,
            policy=policy,
            problem=problem,
            max_in_flight=max_in_flight,
            work=work,
        )
        listening = Listening(root / "run" / "api.sock", (TcpListening("127.0.0.1:0"),) if tcp else ())
        server = await serve(served, listening)
        try:
            yield Api(server, issuer, clock, log, engine, policy, keys, problem, refusals)
        finally:
            await server.stop(0)
