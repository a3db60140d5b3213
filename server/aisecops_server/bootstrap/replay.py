"""The composition root of replay: what reads history, builds policy and asks engines, and nothing that acts.

Serves inside a control plane, and by itself beside one: history is opened for reading only, engines are its own, and
what it finds is kept in a database of its own. No log to append to is ever handed to it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.adapters.bundles.builder import OpaBundleBuilder
from aisecops_server.adapters.bundles.opa_cli import OpaCli
from aisecops_server.adapters.bundles.policy_reader import OpaPolicyReader
from aisecops_server.adapters.corpus.corpus_file import CorpusHistory
from aisecops_server.adapters.git.mirror import GitRepository
from aisecops_server.adapters.git.shipped import library_root
from aisecops_server.adapters.opa import binary
from aisecops_server.adapters.opa.engines import NICENESS, OpaEngines
from aisecops_server.adapters.opa.profile import Trust
from aisecops_server.adapters.signing.keys import open_key
from aisecops_server.adapters.sqlite.event_log import SqliteEventLog
from aisecops_server.adapters.sqlite.history import SqliteHistory
from aisecops_server.adapters.sqlite.recorded_traces import RecordedCopies
from aisecops_server.adapters.sqlite.replay_copies import ReplayCopies
from aisecops_server.adapters.sqlite.replay_store import SqliteReplayStore
from aisecops_server.adapters.system import SystemClock
from aisecops_server.bootstrap.collector import seldom_collecting
from aisecops_server.bootstrap.store import history_of
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.tables.compiled_tables import compile_tables
from aisecops_server.entrypoints.grpc.replay_service import ReplayUseCases
from aisecops_server.entrypoints.grpc.retention_service import RetentionUseCases
from aisecops_server.ports import Clock, Ids, PolicyRepository, Signer
from aisecops_server.ports.replay import Parts, ReplayStore
from aisecops_server.settings import Settings
from aisecops_server.usecases.bundles.live_policy import LivePolicy
from aisecops_server.usecases.policy.export_corpus import ExportCorpus
from aisecops_server.usecases.replays.attribute_change import AttributeChange
from aisecops_server.usecases.replays.bisect_decisions import BisectDecisions
from aisecops_server.usecases.replays.check_fidelity import CheckFidelity
from aisecops_server.usecases.replays.compare_policies import CompareMeanings
from aisecops_server.usecases.replays.compare_revisions import CompareRevisions
from aisecops_server.usecases.replays.evaluate_documents import EvaluateDocuments
from aisecops_server.usecases.replays.explain_change import ExplainChange, Judges, SeekOtherwise
from aisecops_server.usecases.replays.face_sides import FaceSides
from aisecops_server.usecases.replays.group_flips import GroupFlips
from aisecops_server.usecases.replays.judge_decisions import JudgeDecisions
from aisecops_server.usecases.replays.judge_parts import JudgePart, JudgeParts
from aisecops_server.usecases.replays.offer_grant import OfferGrant
from aisecops_server.usecases.replays.read_replays import ReadReplays
from aisecops_server.usecases.replays.replay import PART_DECISIONS, Replay
from aisecops_server.usecases.replays.resolve_policy import ResolvePolicy
from aisecops_server.usecases.replays.run_replays import RunReplays
from aisecops_server.usecases.replays.search_change import SearchChange
from aisecops_server.usecases.retention.erase_payloads import ApplyRetention, EraseTrace
from aisecops_server.usecases.retention.hold_traces import HoldTraces

BUNDLE_KEY = "bundle"
# A batch is asked at once and its machine may be busy with decisions that somebody waits for.
_PATIENCE = 10


@dataclass(frozen=True, slots=True)
class Replaying:
    """Everything about replay that a process can do, composed. ``given_engine`` names the binary that was given.

    ``log`` is the history when it is a log's, and no corpus's.
    """

    history: SqliteHistory | CorpusHistory
    runs: RunReplays
    reads: ReadReplays
    why: ExplainChange
    compare: CompareRevisions
    bisect: BisectDecisions
    policies: ResolvePolicy
    engines: OpaEngines
    judges: Judges
    part: JudgePart
    groups: GroupFlips
    given_engine: str = ""

    @property
    def log(self) -> SqliteHistory | None:
        """Return the history when it is a log's, and no corpus's."""
        return self.history if isinstance(self.history, SqliteHistory) else None

    @property
    def parts(self) -> JudgeParts:
        """Return what judges parts of replays that another process runs."""
        return JudgeParts(self.history, self.policies, self.part)

    @property
    def export(self) -> ExportCorpus:
        """Return what takes recorded decisions along."""
        return ExportCorpus(self.history, self.policies, self.engines, self.why.judges.evaluate)

    @property
    def use_cases(self) -> ReplayUseCases:
        """Return what the API offers of it."""
        return ReplayUseCases(self.runs, self.reads, self.why, self.compare, self.bisect, self.groups)


@contextlib.asynccontextmanager
async def replaying(
    settings: Settings,
    *,
    clock: Clock | None = None,
    niceness: int = NICENESS,
    engine: Path | None = None,
    part_decisions: int = PART_DECISIONS,
    instead: CorpusHistory | SqliteHistory | None = None,
    repository: PolicyRepository | None = None,
    cluster: Parts | None = None,
) -> AsyncIterator[Replaying]:
    """Compose replay over the state directory of ``settings`` and take it down again.

    ``engine`` is a binary that may be asked for besides the installed ones, by the name that it gets. What is given
    ``instead`` is replayed, and not the log, and a ``repository`` read instead of that of ``settings``. The workers of
    a ``cluster`` judge instead of this process.

    Raises:
        InvalidRequestError: a setting does not fit.
        EngineUnavailableError: there is no usable engine.
        LogUnavailableError: there is no log to read.
    """
    history = instead or history_of(settings)
    async with contextlib.AsyncExitStack() as closing:
        closing.enter_context(seldom_collecting())
        closing.push_async_callback(history.close)
        state = settings.state_dir
        opa = await asyncio.to_thread(binary.locate, settings.engine_dir, given=settings.engine_path)
        signer = open_key(state / "keys", BUNDLE_KEY)
        engines = OpaEngines(
            default=opa,
            engine_directory=settings.engine_dir,
            trust=Trust(signer.public_pem),
            run_directory=settings.engine_run_dir,
            capacity=settings.max_engines,
            niceness=niceness,
        )
        closing.push_async_callback(engines.close)
        given = engines.add(await asyncio.to_thread(binary.examine, engine, source="given path")) if engine else ""
        store = SqliteReplayStore(state / "replay" / "replay.db")
        closing.push_async_callback(store.close)
        repository = repository or repository_of(settings)
        policies = ResolvePolicy(
            repository=repository,
            builder=_builder(state / "bundles", signer, opa.path),
            drafts=_builder(state / "replay" / "bundles", signer, opa.path),
            reader=OpaPolicyReader(OpaCli(lambda: opa.path)),
            engines=engines,
        )
        clock = clock or SystemClock()
        judges = _judges(policies, store, settings.deadline_seconds * _PATIENCE)
        part = JudgePart(history, judges.judge)
        replay = Replay(
            history=history,
            store=store,
            policies=policies,
            fidelity=judges.fidelity,
            judge=judges.judge,
            meanings=judges.meanings,
            part=part,
            cluster=cluster,
            part_decisions=part_decisions,
        )
        runs = RunReplays(history=history, store=store, policies=policies, replay=replay, clock=clock)
        closing.push_async_callback(runs.close)
        reads = ReadReplays(store, runs)
        why = ExplainChange(history, store, reads, judges, _seeking(judges, clock), repository)
        compare = CompareRevisions(history, policies, judges.judge)
        groups = GroupFlips(store, reads)
        bisect = BisectDecisions(compare, repository, judges.meanings)
        yield Replaying(history, runs, reads, why, compare, bisect, policies, engines, judges, part, groups, given)


def _judges(policies: ResolvePolicy, store: ReplayStore, deadline_seconds: float) -> Judges:
    evaluate = EvaluateDocuments(policies.engines, store, deadline_seconds=deadline_seconds)
    meanings = CompareMeanings(policies.reader)
    return Judges(
        policies=policies,
        engines=policies.engines,
        evaluate=evaluate,
        judge=JudgeDecisions(policies, evaluate, meanings),
        fidelity=CheckFidelity(policies, policies.engines, evaluate),
        meanings=meanings,
    )


def _seeking(judges: Judges, clock: Clock) -> SeekOtherwise:
    policies, evaluate = judges.policies, judges.evaluate
    return SeekOtherwise(
        SearchChange(clock),
        OfferGrant(policies, evaluate, policies.reader),
        AttributeChange(policies, evaluate, policies.reader),
        FaceSides(policies, evaluate, policies.reader, policies.engines),
    )


def repository_of(settings: Settings) -> GitRepository:
    """Return the policy repository of ``settings``.

    Raises:
        InvalidRequestError: none is set.
    """
    if not settings.repository:
        raise InvalidRequestError(
            "no policy repository is set",
            hint="Set AISECOPS_REPOSITORY to a path or URL; 'aisecops dev policy DIR' makes one to start from",
            field="repository",
        )
    return GitRepository(
        settings.repository,
        mirror=settings.state_dir / "mirror.git",
        branch=settings.branch,
        fetch_timeout_seconds=settings.fetch_timeout_seconds,
        follow=settings.follow,
    )


def _builder(directory: Path, signer: Signer, opa: Path) -> OpaBundleBuilder:
    return OpaBundleBuilder(
        directory=directory,
        library=library_root() / "rego",
        signer=signer,
        binary=lambda: opa,
        compile_tables=compile_tables,
    )


def retention_of(log: SqliteEventLog, state: Path, live: LivePolicy, *, clock: Clock, ids: Ids) -> RetentionUseCases:
    """Return what erases and holds traces of ``log``; what else ``state`` keeps of them goes too."""

    def tables() -> Mapping[str, JsonValue]:
        return live.current().bundle.tables

    copies = (ReplayCopies(state / "replay" / "replay.db"), RecordedCopies(state / "traces.db"))
    erase = EraseTrace(log, log.keeping, copies, clock, ids)
    return RetentionUseCases(
        erase=erase,
        retention=ApplyRetention(log.keeping, erase, tables, clock),
        holds=HoldTraces(log, log.keeping, tables, clock, ids),
    )
