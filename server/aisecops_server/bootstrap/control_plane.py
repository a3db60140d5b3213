"""The composition root: the one place where use cases meet the adapters that serve them.

Reads top to bottom: state directory, log, engine, repository, use cases, listeners. Nothing below reads settings,
the environment or a registry; whatever a part needs, it is handed here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from aisecops_server.adapters.bundles.policy_places import TreePlaces
from aisecops_server.adapters.evidence.archive import pack
from aisecops_server.adapters.opa import binary
from aisecops_server.adapters.opa.pool import OpaEnginePool
from aisecops_server.adapters.records.python_records import python_scalars
from aisecops_server.adapters.records.yaml_records import yaml_scalars
from aisecops_server.adapters.signing.keys import verifies_ed25519
from aisecops_server.adapters.signing.log_keys import LogKeyFiles
from aisecops_server.adapters.sqlite.checkpoint_store import SqliteCheckpointStore
from aisecops_server.adapters.sqlite.event_log import SqliteEventLog
from aisecops_server.adapters.system import RandomChance, RandomIds, SystemClock
from aisecops_server.adapters.webhooks.courier import WebhookCourier
from aisecops_server.adapters.webhooks.endpoint import read_endpoint
from aisecops_server.adapters.witness.http_witness import read_witness
from aisecops_server.bootstrap.controls import budget_use_cases, grant_keys, granting, reapers, signing_keys
from aisecops_server.bootstrap.keys import vote_proofs
from aisecops_server.bootstrap.replay import retention_of
from aisecops_server.bootstrap.source import Grounds, Opens, PolicySource, repository_policy
from aisecops_server.bootstrap.state import private
from aisecops_server.bootstrap.store import activation_of, open_log
from aisecops_server.domain.callers.identity import DEFAULT_TENANT
from aisecops_server.domain.errors import AisecopsError, IntegrityError, InvalidRequestError
from aisecops_server.domain.grounding.source_text import Scalar, json_scalars
from aisecops_server.domain.log.key_rotation import KeyUse
from aisecops_server.domain.log.log_keys import earlier_keys
from aisecops_server.entrypoints.grpc.approval_service import ApprovalUseCases
from aisecops_server.entrypoints.grpc.budget_service import BudgetUseCases
from aisecops_server.entrypoints.grpc.bundle_service import PolicyUseCases
from aisecops_server.entrypoints.grpc.execution_service import GrantUseCases
from aisecops_server.entrypoints.grpc.key_service import SigningKeys
from aisecops_server.entrypoints.grpc.retention_service import RetentionUseCases
from aisecops_server.ports import ActivationStore, Clock, EnginePool, EventLog, Ids
from aisecops_server.ports.grants import GrantKeyRing
from aisecops_server.ports.rollout import NO_ROLLOUT
from aisecops_server.settings import Settings
from aisecops_server.usecases.approvals.approval_control import ApprovalControl
from aisecops_server.usecases.approvals.approvals import ReadApprovals, WithdrawApprovals
from aisecops_server.usecases.approvals.expire_approvals import ExpireApprovals
from aisecops_server.usecases.approvals.resend_notices import ResendNotices
from aisecops_server.usecases.approvals.send_notices import SendNotices
from aisecops_server.usecases.approvals.vote import CastVotes
from aisecops_server.usecases.approvals.vote_together import VoteTogether
from aisecops_server.usecases.budgets.budgets import BudgetControl
from aisecops_server.usecases.bundles.activate import PolicySwitch
from aisecops_server.usecases.bundles.live_policy import LivePolicy
from aisecops_server.usecases.bundles.sync import Poller, Resume
from aisecops_server.usecases.compliance.read_agents import ReadAgents
from aisecops_server.usecases.compliance.read_maturity import ReadMaturity
from aisecops_server.usecases.decisions.decide import Decide
from aisecops_server.usecases.decisions.delegation_control import DelegationControl
from aisecops_server.usecases.decisions.explain import Explain
from aisecops_server.usecases.decisions.lifetimes import Lifetimes
from aisecops_server.usecases.decisions.screen import Screen
from aisecops_server.usecases.evidence.export_evidence import ExportEvidence
from aisecops_server.usecases.evidence.investigate import Investigate
from aisecops_server.usecases.grants.issue_grants import GrantControl
from aisecops_server.usecases.log.checkpoint import CheckpointKeys, PublishCheckpoint, origin_of
from aisecops_server.usecases.log.rotate_key import RotateKeys
from aisecops_server.usecases.log.rotate_log_key import RotateLogKey
from aisecops_server.usecases.log.rounds import Rounds
from aisecops_server.usecases.replays.read_replays import ReadReplays
from aisecops_server.usecases.rollouts.rollouts import Rollouts

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
    grant_keys: RotateKeys[GrantKeyRing]
    signing_keys: SigningKeys
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
    rollouts: Rollouts | None
    poller: Poller
    reapers: Mapping[str, Rounds]
    # Why nothing is allowed although policy decides, or an empty string.
    closed: Callable[[], str]

    def problem(self) -> str:
        """Return why no plan can be decided now, or an empty string when one can."""
        if self.log.sealed:
            return f"the log is sealed: {self.log.sealed}"
        try:
            return self.live.current().problem or self.closed()
        except AisecopsError as error:
            return error.message


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
    state = private(settings.state_dir)
    clock, ids = clock or SystemClock(), ids or RandomIds()
    tenant = settings.tenant or DEFAULT_TENANT
    opa = await asyncio.to_thread(binary.locate, settings.engine_dir, given=settings.engine_path)
    private(state / "keys")
    async with contextlib.AsyncExitStack() as closing:
        log = await open_log(settings)
        closing.push_async_callback(log.close)
        publish = await _publishing(settings, log, closing)
        store = activation_of(settings)
        closing.callback(store.close)
        source = await closing.enter_async_context(policy(Grounds(settings, opa, log, clock, ids, store)))
        pool = OpaEnginePool(
            engine=opa, trust=source.trust, run_directory=settings.engine_run_dir, capacity=settings.max_engines
        )
        closing.push_async_callback(pool.close)
        switch = _switch(source, pool, log=log, store=store, clock=clock, ids=ids, tenant=tenant)
        live, channel = switch.live, switch.channel
        closed = channel.closed if channel else _open
        couriers = _couriers(settings)
        signing = await grant_keys(log, state, clock)
        evidence = await signing_keys(log, state, clock, KeyUse.EVIDENCE)
        proofs = vote_proofs(state / "keys")
        votes = CastVotes(log, log.approvals, lambda: live.current().bundle.tables, proofs, clock, ids)
        approvals = ApprovalControl(log.approvals, proofs, ids, Lifetimes(clock), tuple(couriers))
        following = source.follow(switch, live)
        yield ControlPlane(
            settings=settings,
            clock=clock,
            ids=ids,
            log=log,
            publish=publish,
            rotate=RotateLogKey(log, publish, LogKeyFiles(state / "keys"), clock, ids),
            grant_keys=RotateKeys(signing, ids),
            signing_keys={KeyUse.EVIDENCE: RotateKeys(evidence, ids)},
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
                rollout=following.rollouts or NO_ROLLOUT,
                tenant=tenant,
            ),
            explain=Explain(engines=live, log=log, deadline_seconds=settings.deadline_seconds),
            export=ExportEvidence(
                log=log,
                publish=publish,
                bundles=source.builder,
                keys=evidence,
                clock=clock,
                ids=ids,
                pack=pack,
                tell=Investigate(log, json.loads),
            ),
            screen=Screen(
                engines=live,
                log=log,
                clock=clock,
                ids=ids,
                deadline_seconds=settings.deadline_seconds,
                controls=(*source.controls, approvals),
                rollout=following.rollouts or NO_ROLLOUT,
                tenant=tenant,
            ),
            policy=following.use_cases,
            # Replays are composed apart from everything that acts.
            maturity=partial(
                ReadMaturity, lambda: live.current().bundle, log.adoption, TreePlaces(source.repository), publish
            ),
            agents=ReadAgents(lambda: live.current().bundle, log.agents, clock),
            approvals=ApprovalUseCases(
                vote=votes,
                together=VoteTogether(log.approvals, votes, votes.refuse, clock),
                read=ReadApprovals(log, log.approvals, clock),
                withdraw=WithdrawApprovals(log, log.approvals, clock, ids),
                notices=ResendNotices(log, log.approvals, clock, ids),
            ),
            expire=ExpireApprovals(log, log.approvals, clock, ids),
            notices=SendNotices(log, log.approvals, couriers, clock, ids, RandomChance()),
            grants=granting(log, signing.ring, clock, ids, held=closed),
            budgets=budget_use_cases(log, clock, ids),
            retention=retention_of(log, state, live, clock=clock, ids=ids),
            resume=following.resume,
            rollouts=following.rollouts,
            poller=Poller(following.sync, interval_seconds=settings.poll_seconds, what=_policy_of(settings)),
            reapers=reapers(log, clock, ids),
            closed=closed,
        )


def _policy_of(settings: Settings) -> str:
    return f"policy of {settings.tenant}" if settings.tenant else "policy"


def _open() -> str:
    return ""


def _switch(
    source: PolicySource,
    pool: EnginePool,
    *,
    log: EventLog,
    store: ActivationStore,
    clock: Clock,
    ids: Ids,
    tenant: str,
) -> PolicySwitch:
    """Return what moves the pointer to the policy that decides, with that pointer."""
    channel, repository, builder = source.channel, source.repository, source.builder
    standing = channel.standing if channel else None
    return PolicySwitch(
        repository=repository,
        builder=builder,
        pool=pool,
        log=log,
        store=store,
        live=LivePolicy(repository=repository, builder=builder, pool=pool, channel=standing),
        clock=clock,
        ids=ids,
        tenant=tenant,
        channel=channel,
    )


async def _publishing(settings: Settings, log: SqliteEventLog, closing: contextlib.AsyncExitStack) -> PublishCheckpoint:
    """Return what commits to the log, after holding the log against what it committed to last."""
    store = SqliteCheckpointStore(settings.checkpoint_path)
    closing.callback(store.close)
    earlier, current = earlier_keys(await log.rotations(), verifies_ed25519)
    signer = LogKeyFiles(private(settings.state_dir / "keys")).current(
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


def _records(text: str) -> Sequence[Scalar] | None:
    return json_scalars(text) or yaml_scalars(text) or python_scalars(text)


def _couriers(settings: Settings) -> dict[str, WebhookCourier]:
    endpoints = [read_endpoint(text) for text in settings.webhooks]
    if len({endpoint.name for endpoint in endpoints}) != len(endpoints):
        raise InvalidRequestError(
            "two webhooks have the same name", hint="Give each a name of its own", field="webhooks"
        )
    return {endpoint.name: WebhookCourier(endpoint) for endpoint in endpoints}
