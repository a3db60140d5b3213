"""The composition root: the one place where use cases meet the adapters that serve them.

Reads top to bottom: state directory, log, engine, repository, use cases, listeners. Nothing below reads settings,
the environment or a registry; whatever a part needs, it is handed here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from aisecops_server.adapters.bundles.policy_places import TreePlaces
from aisecops_server.adapters.evidence.archive import pack
from aisecops_server.adapters.identity.issuer import TokenIssuer, local_issuer
from aisecops_server.adapters.opa import binary
from aisecops_server.adapters.opa.pool import OpaEnginePool
from aisecops_server.adapters.records.python_records import python_scalars
from aisecops_server.adapters.records.yaml_records import yaml_scalars
from aisecops_server.adapters.signing.grants import grant_key
from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.adapters.signing.log_keys import LogKeyFiles
from aisecops_server.adapters.sqlite.activation_state import ActivationState
from aisecops_server.adapters.sqlite.checkpoint_store import SqliteCheckpointStore
from aisecops_server.adapters.sqlite.event_log import SqliteEventLog, open_log
from aisecops_server.adapters.sqlite.witness_store import SqliteWitnessStore
from aisecops_server.adapters.system import RandomChance, RandomIds, SystemClock
from aisecops_server.adapters.webhooks.courier import WebhookCourier
from aisecops_server.adapters.webhooks.endpoint import read_endpoint
from aisecops_server.adapters.witness.http_witness import read_witness
from aisecops_server.bootstrap_assurance import Watched, compliance_of, drift_of, metrics
from aisecops_server.bootstrap_authentication import authenticating, listeners
from aisecops_server.bootstrap_keys import vote_proofs
from aisecops_server.bootstrap_replay import replaying, retention_of
from aisecops_server.bootstrap_source import Grounds, Opens, edge_use_cases, repository_policy
from aisecops_server.domain.errors import AisecopsError, IntegrityError, InvalidRequestError
from aisecops_server.domain.log_keys import earlier_keys
from aisecops_server.domain.signed_note import KeyKind, NoteKey, read_key
from aisecops_server.domain.source_text import Scalar, json_scalars
from aisecops_server.entrypoints.grpc.approval_service import ApprovalUseCases
from aisecops_server.entrypoints.grpc.budget_service import BudgetUseCases
from aisecops_server.entrypoints.grpc.bundle_service import PolicyUseCases
from aisecops_server.entrypoints.grpc.compliance_service import ComplianceUseCases
from aisecops_server.entrypoints.grpc.drift_service import DriftUseCases
from aisecops_server.entrypoints.grpc.edge_service import EdgeUseCases
from aisecops_server.entrypoints.grpc.execution_service import GrantUseCases
from aisecops_server.entrypoints.grpc.replay_service import ReplayUseCases
from aisecops_server.entrypoints.grpc.retention_service import RetentionUseCases
from aisecops_server.entrypoints.grpc.server import Listening, RunningServer, serve
from aisecops_server.entrypoints.grpc.services import Served
from aisecops_server.ports import Authenticator, Clock, EventLog, Ids
from aisecops_server.ports.grants import GrantSigner, GrantStore
from aisecops_server.settings import Settings
from aisecops_server.usecases.activate import PolicySwitch
from aisecops_server.usecases.adjust_budget import AdjustBudget
from aisecops_server.usecases.approval_control import ApprovalControl
from aisecops_server.usecases.approvals import ReadApprovals, WithdrawApprovals
from aisecops_server.usecases.budgets import BudgetControl, Settlements
from aisecops_server.usecases.checkpoint import CheckpointKeys, Committer, PublishCheckpoint, origin_of
from aisecops_server.usecases.complete_grant import Complete
from aisecops_server.usecases.decide import Decide
from aisecops_server.usecases.delegation_control import DelegationControl
from aisecops_server.usecases.expire_approvals import ExpireApprovals
from aisecops_server.usecases.expire_grants import ExpireGrants
from aisecops_server.usecases.expire_reservations import ExpireReservations
from aisecops_server.usecases.explain import Explain
from aisecops_server.usecases.export_evidence import ExportEvidence
from aisecops_server.usecases.export_records import ExportRecords
from aisecops_server.usecases.investigate import Investigate
from aisecops_server.usecases.issue_grants import GrantControl, HandOut
from aisecops_server.usecases.live_policy import LivePolicy
from aisecops_server.usecases.raise_incident import RaiseIncident
from aisecops_server.usecases.read_agents import ReadAgents
from aisecops_server.usecases.read_maturity import ReadMaturity
from aisecops_server.usecases.read_replays import ReadReplays
from aisecops_server.usecases.reaper import Reaper
from aisecops_server.usecases.record_refusals import RecordRefusals
from aisecops_server.usecases.redeem_grant import Redeem
from aisecops_server.usecases.release_reservation import ReleaseReservation
from aisecops_server.usecases.report_execution import ReportExecution
from aisecops_server.usecases.resend_notices import ResendNotices
from aisecops_server.usecases.revoke_grants import Revoke
from aisecops_server.usecases.rotate_log_key import RotateLogKey
from aisecops_server.usecases.screen import Screen
from aisecops_server.usecases.send_notices import SendNotices
from aisecops_server.usecases.sync import Poller, Resume
from aisecops_server.usecases.vote import CastVotes
from aisecops_server.usecases.witness import Cosign

EVIDENCE_KEY = "evidence"
WITNESS_KEY = "witness"
GRACE_SECONDS = 5.0
_PROBE_SECONDS = 1.0
_REAP_SECONDS = 5.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Everything that a process of the control plane can do, composed."""

    settings: Settings
    clock: Clock
    ids: Ids
    log: SqliteEventLog
    publish: PublishCheckpoint
    rotate: RotateLogKey
    live: LivePolicy
    decide: Decide
    explain: Explain
    export: ExportEvidence
    screen: Screen
    policy: PolicyUseCases
    agents: ReadAgents
    maturity: Callable[[ReadReplays, Clock], ReadMaturity]
    approvals: ApprovalUseCases
    expire: ExpireApprovals
    notices: SendNotices
    grants: GrantUseCases
    budgets: BudgetUseCases
    retention: RetentionUseCases
    resume: Resume
    poller: Poller
    reapers: tuple[Reaper, ...]
    authenticator: Authenticator

    def problem(self) -> str:
        """Return why no plan can be decided now, or an empty string when one can."""
        if self.log.sealed:
            return f"the log is sealed: {self.log.sealed}"
        try:
            return self.live.current().problem
        except AisecopsError as error:
            return error.message


@dataclass(frozen=True, slots=True)
class Central:
    """What a control plane offers that is no edge of another."""

    maturity: ReadMaturity
    replays: ReplayUseCases
    compliance: ComplianceUseCases
    drift: DriftUseCases
    edges: EdgeUseCases


def issuer(settings: Settings) -> TokenIssuer:
    """Return the local issuer of tokens, for development and demos."""
    return local_issuer(
        settings.state_dir / "keys",
        SystemClock(),
        audience=settings.token_audience,
        issuer=settings.token_issuer,
    )


@contextlib.asynccontextmanager
async def compose(
    settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None, policy: Opens = repository_policy
) -> AsyncIterator[ControlPlane]:
    """Compose a control plane over the state directory and take it down again.

    Nothing is live yet: call ``resume`` or ``policy.sync``. ``policy`` opens where policy comes from.

    Raises:
        InvalidRequestError: a setting does not fit.
        EngineUnavailableError: there is no usable engine.
        LogUnavailableError, IntegrityError: the log cannot be opened.
    """
    state = _private(settings.state_dir)
    clock, ids = clock or SystemClock(), ids or RandomIds()
    opa = await asyncio.to_thread(binary.locate, settings.engine_dir, given=settings.engine_path)
    _private(state / "keys")
    async with contextlib.AsyncExitStack() as closing:
        log = open_log(settings.log_path)
        closing.push_async_callback(log.close)
        publish = await _publishing(settings, log, closing)
        store = ActivationState(state / "activation.db")
        closing.callback(store.close)
        source = await closing.enter_async_context(policy(Grounds(settings, opa, log, clock, ids)))
        pool = OpaEnginePool(
            engine=opa,
            trust=source.trust,
            run_directory=settings.engine_run_dir,
            capacity=settings.max_engines,
        )
        closing.push_async_callback(pool.close)
        callers = closing.enter_context(authenticating(settings, clock))
        live = LivePolicy(repository=source.repository, builder=source.builder, pool=pool)
        switch = PolicySwitch(
            repository=source.repository,
            builder=source.builder,
            pool=pool,
            log=log,
            store=store,
            live=live,
            clock=clock,
            ids=ids,
        )
        couriers = _couriers(settings)
        proofs = vote_proofs(state / "keys")
        approvals = ApprovalControl(log.approvals, proofs, ids, tuple(couriers))
        following = source.follow(switch, live)
        yield ControlPlane(
            settings=settings,
            clock=clock,
            ids=ids,
            log=log,
            publish=publish,
            rotate=RotateLogKey(log, publish, LogKeyFiles(state / "keys"), clock, ids),
            live=live,
            decide=Decide(
                engines=live,
                log=log,
                clock=clock,
                ids=ids,
                deadline_seconds=settings.deadline_seconds,
                read_records=_records,
                controls=(
                    *source.controls,
                    DelegationControl(log),
                    BudgetControl(log.budgets, ids, settings.reservation_seconds),
                    approvals,
                    GrantControl(ids, settings.grant_seconds, settings.report_seconds),
                ),
            ),
            explain=Explain(engines=live, log=log, deadline_seconds=settings.deadline_seconds),
            export=ExportEvidence(
                log=log,
                publish=publish,
                bundles=source.builder,
                signer=open_key(state / "keys", EVIDENCE_KEY),
                clock=clock,
                ids=ids,
                pack=pack,
                tell=Investigate(log, json.loads),
            ),
            screen=Screen(live, log, clock, ids, settings.deadline_seconds, controls=(*source.controls, approvals)),
            policy=following.use_cases,
            # Replays are composed apart from everything that acts.
            maturity=partial(
                ReadMaturity, lambda: live.current().bundle, log.adoption, TreePlaces(source.repository), publish
            ),
            agents=ReadAgents(lambda: live.current().bundle, log.agents, clock),
            approvals=ApprovalUseCases(
                vote=CastVotes(log, log.approvals, lambda: live.current().bundle.tables, proofs, clock, ids),
                read=ReadApprovals(log, log.approvals, clock),
                withdraw=WithdrawApprovals(log, log.approvals, clock, ids),
                notices=ResendNotices(log, log.approvals, clock, ids),
            ),
            expire=ExpireApprovals(log, log.approvals, clock, ids),
            notices=SendNotices(log, log.approvals, couriers, clock, ids, RandomChance()),
            grants=_granting(log, state, clock, ids),
            budgets=_budget_use_cases(log, clock, ids),
            retention=retention_of(log, state, live, clock=clock, ids=ids),
            resume=following.resume,
            poller=Poller(following.sync, interval_seconds=settings.poll_seconds),
            reapers=_reapers(log, clock, ids),
            authenticator=callers,
        )


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[ControlPlane, RunningServer]]:
    """Compose a control plane, serve it, follow the policy repository, and take it all down again.

    What was live before is served again at once, whether or not the repository can be reached. The server
    answers (and refuses plans) even when nothing can be made live, so that its status can tell why.

    Raises:
        InvalidRequestError, EngineUnavailableError, LogUnavailableError, IntegrityError: see ``compose``.
    """
    listening = listeners(settings, SystemClock())
    async with compose(settings) as plane, replaying(settings) as replays:
        watched = _watched(plane)
        drift = drift_of(settings, replays, watched, clock=plane.clock, ids=plane.ids)
        central = Central(
            maturity=plane.maturity(replays.reads, plane.clock),
            replays=replays.use_cases,
            compliance=compliance_of(settings, replays, watched),
            drift=drift,
            edges=edge_use_cases(settings, plane.log, plane.live, clock=plane.clock, ids=plane.ids),
        )
        async with (
            running(plane, listening, central=central, tasks=drift.tasks) as server,
            metrics(settings, watched, drift),
        ):
            yield plane, server


@contextlib.asynccontextmanager
async def running(
    plane: ControlPlane,
    listening: Listening,
    *,
    central: Central | None = None,
    readiness: Callable[[], str] | None = None,
    tasks: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = MappingProxyType({}),
) -> AsyncIterator[RunningServer]:
    """Serve a control plane, with what it does by itself and the given ``tasks`` by name, while the block runs."""
    await _begin(plane)
    refusals = RecordRefusals(plane.log, plane.clock, plane.ids)
    server = await serve(
        Served(
            decide=plane.decide,
            explain=plane.explain,
            screen=plane.screen,
            policy=plane.policy,
            agents=plane.agents,
            maturity=central.maturity if central else None,
            approvals=plane.approvals,
            grants=plane.grants,
            budgets=plane.budgets,
            retention=plane.retention,
            log=plane.log,
            publish=plane.publish,
            rotate=plane.rotate,
            export=replace(plane.export, mapped=central.compliance.check.decided) if central else plane.export,
            records=ExportRecords(plane.log, plane.publish.keys.origin, metadata.version("aisecops")),
            replays=central.replays if central else None,
            compliance=central.compliance if central else None,
            drift=central.drift if central else None,
            authenticator=plane.authenticator,
            note_refusal=refusals.note,
            ids=plane.ids,
            readiness=readiness or plane.problem,
            max_in_flight=plane.settings.max_in_flight,
            edges=central.edges if central else None,
        ),
        listening,
    )
    committer = Committer(plane.publish, interval_seconds=plane.settings.checkpoint_seconds)
    standing = [
        asyncio.create_task(plane.poller.run(), name="follow the policy"),
        asyncio.create_task(committer.run(), name="commit to the log"),
        asyncio.create_task(plane.expire.run(), name="end requests for approval"),
        asyncio.create_task(plane.notices.run(), name="tell people of requests for approval"),
        *(asyncio.create_task(reaper.run(), name=f"end overdue {reaper.what}") for reaper in plane.reapers),
        asyncio.create_task(refusals.run(), name="record who was turned away"),
        *(asyncio.create_task(run(), name=name) for name, run in tasks.items()),
    ]
    try:
        yield server
    finally:
        for task in standing:
            task.cancel()
        await asyncio.gather(*standing, return_exceptions=True)
        await server.stop(GRACE_SECONDS)
        await refusals.flush()


def witness_key(settings: Settings, name: str) -> NoteKey:
    """Return the key of the witness whose state directory is the one of ``settings``, making it on first use."""
    return NoteKey(name, KeyKind.WITNESS, open_key(_private(settings.state_dir) / "keys", WITNESS_KEY).public_raw)


@contextlib.contextmanager
def witness(settings: Settings, *, name: str, logs: Sequence[str]) -> Iterator[Cosign]:
    """Compose a witness of ``logs`` (their keys) over the state directory, and take it down again.

    Raises:
        InvalidRequestError: a key is none of a log.
        IntegrityError, LogUnavailableError: its key or its store cannot be used.
    """
    state = _private(settings.state_dir)
    keys = [read_key(text) for text in logs]
    if others := [key.name for key in keys if key.kind is not KeyKind.LOG]:
        raise InvalidRequestError(f"{others[0]} is no log", hint="Give what 'aisecops log key' prints", field="log")
    store = SqliteWitnessStore(state / "witness.db")
    with contextlib.closing(store):
        yield Cosign(
            name=name,
            signer=open_key(state / "keys", WITNESS_KEY),
            logs={key.name: key for key in keys},
            store=store,
            clock=SystemClock(),
            verify=verifies_ed25519,
        )


def grant_use_cases(
    store: GrantStore, signer: GrantSigner, log: EventLog, *, settlements: Settlements, clock: Clock, ids: Ids
) -> GrantUseCases:
    """Return what gives grants out, uses them up and follows what came of them."""
    incidents = RaiseIncident(log, clock, ids)
    return GrantUseCases(
        hand_out=HandOut(signer, store, clock),
        redeem=Redeem(signer, log, clock, ids, incidents),
        complete=Complete(store, log, clock, ids, incidents, settlements),
        report=ReportExecution(store, log, clock, ids, incidents),
        revoke=Revoke(store, log, clock, ids),
        key_set=signer.key_set,
        store=store,
    )


def is_served(settings: Settings) -> bool:
    """Return whether a control plane answers on the socket of ``settings``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(str(settings.socket))
        except OSError:
            return False
    return True


async def _begin(plane: ControlPlane) -> None:
    """Make live what can be; whatever cannot stands in the status, and plans are refused with that reason."""
    if plane.live.live is None:
        try:
            await plane.resume()
        except AisecopsError as error:
            _logger.warning("%s", error.diagnostics())
    if plane.live.live is None:
        # What goes wrong here goes wrong again in the poller's first round, which tells it.
        with contextlib.suppress(AisecopsError):
            await plane.policy.sync()


async def _publishing(settings: Settings, log: SqliteEventLog, closing: contextlib.AsyncExitStack) -> PublishCheckpoint:
    """Return what commits to the log, after holding the log against what it committed to last."""
    store = SqliteCheckpointStore(settings.checkpoint_path)
    closing.callback(store.close)
    earlier, current = earlier_keys(await log.rotations(), verifies_ed25519)
    signer = LogKeyFiles(_private(settings.state_dir / "keys")).current(
        len(earlier), current.public if current else None
    )
    publish = PublishCheckpoint(
        log=log,
        sealing=log,
        store=store,
        keys=CheckpointKeys(settings.log_origin or origin_of(await log.identity()), signer, earlier),
        witnesses=[read_witness(text) for text in settings.witnesses],
        verify=verifies_ed25519,
    )
    try:
        await publish.check()
    except IntegrityError as error:
        # The log is sealed now; it can be read, and every plan is refused with this reason.
        _logger.error("%s", error.diagnostics())  # noqa: TRY400 - no fault of the program
    return publish


def _watched(plane: ControlPlane) -> Watched:
    return Watched(
        plane.log, plane.publish, lambda: plane.live.current().bundle, plane.live.status, plane.log.append_event
    )


def _granting(log: SqliteEventLog, state: Path, clock: Clock, ids: Ids) -> GrantUseCases:
    settlements = Settlements(log.budgets, ids)
    return grant_use_cases(log.grants, grant_key(state / "keys"), log, settlements=settlements, clock=clock, ids=ids)


def _budget_use_cases(log: SqliteEventLog, clock: Clock, ids: Ids) -> BudgetUseCases:
    return BudgetUseCases(
        ledger=log.budgets,
        clock=clock,
        adjust=AdjustBudget(log.budgets, log, clock, ids),
        release=ReleaseReservation(log.budgets, log, clock, ids),
    )


def _reapers(log: SqliteEventLog, clock: Clock, ids: Ids) -> tuple[Reaper, ...]:
    settlements = Settlements(log.budgets, ids)
    close = ExpireGrants(log.grants, log, clock, ids, settlements)
    charge = ExpireReservations(log.budgets, log, clock, settlements)
    return (
        Reaper(close, what="grants", interval_seconds=_REAP_SECONDS),
        Reaper(charge, what="reservations", interval_seconds=_REAP_SECONDS),
    )


def _records(text: str) -> Sequence[Scalar] | None:
    return json_scalars(text) or yaml_scalars(text) or python_scalars(text)


def _couriers(settings: Settings) -> dict[str, WebhookCourier]:
    endpoints = [read_endpoint(text) for text in settings.webhooks]
    if len({endpoint.name for endpoint in endpoints}) != len(endpoints):
        raise InvalidRequestError(
            "two webhooks have the same name", hint="Give each a name of its own", field="webhooks"
        )
    return {endpoint.name: WebhookCourier(endpoint) for endpoint in endpoints}


def _private(directory: Path) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory
