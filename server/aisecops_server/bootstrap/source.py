"""Where a control plane gets its policy from and how it follows it: a Git repository, or at an edge the centre.

Also what a centre offers to its edges, which stands on the same parts.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from aisecops_server.adapters.bundles.builder import OpaBundleBuilder
from aisecops_server.adapters.bundles.gate_files import gates_of
from aisecops_server.adapters.bundles.opa_cli import OpaCli
from aisecops_server.adapters.bundles.policy_reader import OpaPolicyReader
from aisecops_server.adapters.git.shipped import library_root
from aisecops_server.adapters.opa.binary import EngineBinary
from aisecops_server.adapters.opa.profile import Trust
from aisecops_server.adapters.signing.grants import key_set_of
from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.adapters.signing.pinned_key import read_pinned_key
from aisecops_server.adapters.sqlite.event_log import SqliteEventLog
from aisecops_server.adapters.sqlite.rollout_state import SqliteRolloutStore
from aisecops_server.bootstrap.policy import accepted_of, policies_of
from aisecops_server.bootstrap.replay import BUNDLE_KEY, repository_of
from aisecops_server.bootstrap.store import rollouts_of
from aisecops_server.domain.bundles.announcement import ChannelKey
from aisecops_server.domain.bundles.bundle import CommitId
from aisecops_server.domain.bundles.bundle_status import BundleStatus
from aisecops_server.domain.errors import PolicyStaleError
from aisecops_server.domain.policy.accepted_flips import Gates
from aisecops_server.domain.tables.compiled_tables import compile_tables
from aisecops_server.entrypoints.grpc.bundle_service import PolicyUseCases
from aisecops_server.entrypoints.grpc.edge_service import EdgeUseCases
from aisecops_server.ports import BundleBuilder, Clock, Ids, PolicyRepository
from aisecops_server.ports.announcements import AnnouncementSource, AnnouncementStore
from aisecops_server.ports.rollout import RolloutGate
from aisecops_server.settings import Settings
from aisecops_server.usecases.bundles.activate import Activate, PolicySwitch, Rollback
from aisecops_server.usecases.bundles.channel import Channel
from aisecops_server.usecases.bundles.channel_control import ChannelControl
from aisecops_server.usecases.bundles.confirm import Confirm
from aisecops_server.usecases.bundles.list_revisions import ListRevisions, ReadPolicyFile, ShowRevision
from aisecops_server.usecases.bundles.live_policy import LivePolicy, Served
from aisecops_server.usecases.bundles.sync import Resume, Sync
from aisecops_server.usecases.decisions.controls import Control
from aisecops_server.usecases.edges.reconcile_edges import ReconcileEdges
from aisecops_server.usecases.edges.release_bundle import ReleaseBundles
from aisecops_server.usecases.grants.raise_incident import RaiseIncident
from aisecops_server.usecases.replays.compare_policies import CompareMeanings, TellDifference
from aisecops_server.usecases.rollouts.arrive import ActivateConfirmed, Arrive
from aisecops_server.usecases.rollouts.rollouts import Rollouts
from aisecops_server.usecases.rollouts.shadow import Shadow


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a control plane stands on before it has a policy."""

    settings: Settings
    opa: EngineBinary
    log: SqliteEventLog
    clock: Clock
    ids: Ids
    announcements: AnnouncementStore


@dataclass(frozen=True, slots=True)
class Following:
    """How policy becomes live and follows its source."""

    resume: Resume
    sync: Callable[[], Awaitable[BundleStatus]]
    use_cases: PolicyUseCases
    rollouts: Rollouts | None = None


@dataclass(frozen=True, slots=True)
class PolicySource:
    """Where revisions and bundles come from, whose bundles are believed, and what the source adds to decisions."""

    repository: PolicyRepository
    builder: BundleBuilder
    trust: Trust
    follow: Callable[[PolicySwitch, LivePolicy], Following]
    controls: tuple[Control, ...] = ()
    channel: Channel | None = None


Opens = Callable[[Grounds], contextlib.AbstractAsyncContextManager[PolicySource]]


@contextlib.asynccontextmanager
async def repository_policy(grounds: Grounds) -> AsyncIterator[PolicySource]:
    """Give the policy repository of the settings, with bundles that are built and signed here.

    Raises:
        InvalidRequestError: no repository is set.
    """
    state, opa = grounds.settings.state_dir, grounds.opa
    signer = open_key(state / "keys", BUNDLE_KEY)
    repository = repository_of(grounds.settings)
    builder = OpaBundleBuilder(
        directory=state / "bundles",
        library=library_root() / "rego",
        signer=signer,
        binary=lambda: opa.path,
        compile_tables=compile_tables,
    )

    meanings = CompareMeanings(OpaPolicyReader(OpaCli(lambda: opa.path)))
    channel = await _channel(grounds, repository)
    closing = contextlib.ExitStack()

    def follow(switch: PolicySwitch, live: LivePolicy) -> Following:
        activate, resume, rollback = Activate(switch), Resume(switch), Rollback(switch)
        store = rollouts_of(grounds.settings, grounds.ids)
        closing.callback(store.close)
        confirm = Confirm(grounds.settings.channel, partial(_gates, repository), store, switch)
        rollouts = Rollouts(
            switch=switch,
            activate=activate,
            roll_back=rollback,
            follow_live=resume.follow,
            store=store,
            shared=None if isinstance(store, SqliteRolloutStore) else store,
            gates=partial(_rollout_gate, repository),
            shadow=Shadow(grounds.log, grounds.clock, grounds.ids, grounds.settings.deadline_seconds),
            confirm=confirm,
        )
        sync = Sync(switch, activate=Arrive(activate, confirm, rollouts, switch), resume=resume)
        use_cases = PolicyUseCases(
            activate=ActivateConfirmed(activate, confirm, switch),
            rollback=rollback,
            sync=sync,
            list_revisions=ListRevisions(repository, builder, live),
            show_revision=ShowRevision(repository, builder, live),
            status=live.status,
            read_file=ReadPolicyFile(repository),
            tell_difference=TellDifference(repository, meanings),
        )
        return Following(resume, sync, use_cases, rollouts)

    with closing:
        controls = (ChannelControl(channel.standing),) if channel else ()
        yield PolicySource(repository, builder, Trust(signer.public_pem), follow, controls, channel)


async def _channel(grounds: Grounds, repository: AnnouncementSource) -> Channel | None:
    """Return the channel whose word is required, if the settings require one.

    Raises:
        InvalidRequestError: there are keys and no channel that could announce, or a key is none.
    """
    settings = grounds.settings
    if not settings.channel_keys:
        return None
    keys = [read_pinned_key(path, field="channel_keys") for path in settings.channel_keys]
    channel = Channel(
        name=settings.channel,
        keys=tuple(ChannelKey(key.raw) for key in keys),
        grace_seconds=round(settings.frozen_hours * 3600),
        source=repository,
        store=grounds.announcements,
        verifies=verifies_ed25519,
        log=grounds.log,
        clock=grounds.clock,
        ids=grounds.ids,
    )
    await channel.open()
    return channel


async def _gates(repository: PolicyRepository, commit_id: CommitId) -> Gates:
    return gates_of(await repository.tree(commit_id))


async def _rollout_gate(repository: PolicyRepository, base: CommitId, candidate: CommitId) -> RolloutGate:
    before, after = await repository.tree(base), await repository.tree(candidate)
    known = policies_of(before)
    return RolloutGate(known.gates, accepted_of(after, before), known.severities)


def _releasable(live: LivePolicy, held: Callable[[], str]) -> Served | None:
    if why := held():
        raise PolicyStaleError(why, hint="Announce anew at the centre: 'aisecops policy announce'", why="closed")
    return live.live


def edge_use_cases(
    settings: Settings,
    log: SqliteEventLog,
    live: LivePolicy,
    *,
    clock: Clock,
    ids: Ids,
    held: Callable[[], str],
) -> EdgeUseCases:
    """Return what a centre offers to its edges; while ``held`` names a reason, no policy is released to them."""
    signer = open_key(settings.state_dir / "keys", BUNDLE_KEY)
    return EdgeUseCases(
        ReleaseBundles(partial(_releasable, live, held), log.edges, log, signer, clock, ids),
        ReconcileEdges(
            log,
            log.edges,
            lambda: live.current().bundle.tables,
            verifies_ed25519,
            clock,
            ids,
            RaiseIncident(log, clock, ids),
            key_set_of,
        ),
    )
