"""The composition root of an edge: the same use cases beside the agent, with policy from the centre and a log for it.

An edge decides by the last policy that the centre signed for it, whether or not the centre can be reached, for as long
as that policy allows. What it decides is in its own log before it is answered; the centre records that log later.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

from aisecops_server.adapters.bundles.opa_cli import OpaCli
from aisecops_server.adapters.bundles.policy_reader import OpaPolicyReader
from aisecops_server.adapters.bundles.shelf import MOST_BYTES, BundleShelf
from aisecops_server.adapters.centre.client import Access, GrpcCentre
from aisecops_server.adapters.opa.profile import Trust
from aisecops_server.adapters.signing.grants import key_set_of
from aisecops_server.adapters.signing.keys import open_key
from aisecops_server.adapters.signing.pinned_key import read_pinned_key
from aisecops_server.adapters.sqlite.event_log import SqliteEventLog
from aisecops_server.adapters.sqlite.feed_store import SqliteFeedStore
from aisecops_server.adapters.system import SystemClock
from aisecops_server.bootstrap.authentication import listeners
from aisecops_server.bootstrap.control_plane import ControlPlane, compose
from aisecops_server.bootstrap.replay import BUNDLE_KEY
from aisecops_server.bootstrap.serving import running
from aisecops_server.bootstrap.source import Following, Grounds, PolicySource
from aisecops_server.domain.callers.identity import DEFAULT_TENANT
from aisecops_server.domain.edges.edge import EdgeId
from aisecops_server.domain.errors import AisecopsError, InvalidRequestError
from aisecops_server.domain.formats.identifiers import is_agent_id
from aisecops_server.entrypoints.grpc.bundle_service import PolicyUseCases
from aisecops_server.entrypoints.grpc.server import RunningServer
from aisecops_server.ports import Clock, Ids
from aisecops_server.settings import Settings
from aisecops_server.usecases.bundles.activate import PolicySwitch
from aisecops_server.usecases.bundles.list_revisions import ListRevisions, ReadPolicyFile, ShowRevision
from aisecops_server.usecases.bundles.live_policy import LivePolicy
from aisecops_server.usecases.bundles.sync import Resume
from aisecops_server.usecases.edges.edge_control import EdgeControl, staleness
from aisecops_server.usecases.edges.edge_feed import EdgeFeed
from aisecops_server.usecases.edges.follow_releases import (
    FollowReleases,
    refuse_activation,
    refuse_rollback,
    refuse_vote,
)
from aisecops_server.usecases.edges.forward_log import Forwarder, ForwardLog
from aisecops_server.usecases.replays.compare_policies import CompareMeanings, TellDifference


@dataclass(frozen=True, slots=True)
class EdgePlane:
    """Everything that an edge can do, composed."""

    plane: ControlPlane
    feed: EdgeFeed
    forward: ForwardLog

    def problem(self) -> str:
        """Return why no plan can be decided now, or an empty string when one can."""
        return self.plane.problem() or _stale(self.feed, self.plane.live)


def _stale(feed: EdgeFeed, live: LivePolicy) -> str:
    """Return what is wrong with the age of the policy in force, or an empty string."""
    try:
        stale = staleness(feed.standing(live.current().bundle))
    except AisecopsError as error:
        return error.message
    return stale.message if stale else ""


@dataclass(slots=True)
class _Centre:
    """What an edge has of its centre, opened with the policy and used beside it."""

    client: GrpcCentre
    edge_id: EdgeId
    pinned: Path
    opened: list[tuple[EdgeFeed, SqliteFeedStore]] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def policy(self, grounds: Grounds) -> AsyncIterator[PolicySource]:
        """Give the policies that the centre released."""
        key = read_pinned_key(self.pinned, field="centre_bundle_key")
        store = SqliteFeedStore(grounds.settings.edge_path)
        async with contextlib.AsyncExitStack() as closing:
            closing.callback(store.close)
            closing.push_async_callback(self.client.close)
            feed = EdgeFeed(
                edge_id=self.edge_id,
                centre=self.client,
                store=store,
                shelf=BundleShelf(grounds.settings.state_dir / "bundles" / "released"),
                verifies=key.verifies,
                clock=grounds.clock,
                ids=grounds.ids,
                most_bytes=MOST_BYTES,
            )
            await feed.open(latest_wall_ns=await _latest(grounds.log))
            self.opened.append((feed, store))

            meanings = CompareMeanings(OpaPolicyReader(OpaCli(lambda: grounds.opa.path)))

            def follow(switch: PolicySwitch, live: LivePolicy) -> Following:
                resume = Resume(switch)
                sync = FollowReleases(switch, feed, store, resume)
                use_cases = PolicyUseCases(
                    activate=refuse_activation,
                    rollback=refuse_rollback,
                    sync=sync,
                    list_revisions=ListRevisions(feed, feed, live),
                    show_revision=ShowRevision(feed, feed, live),
                    status=live.status,
                    read_file=ReadPolicyFile(feed),
                    tell_difference=TellDifference(feed, meanings),
                )
                return Following(resume, sync, use_cases)

            yield PolicySource(feed, feed, Trust(key.pem), follow, controls=(EdgeControl(feed),))


@contextlib.asynccontextmanager
async def compose_edge(
    settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None
) -> AsyncIterator[EdgePlane]:
    """Compose an edge over the state directory and take it down again.

    Raises:
        InvalidRequestError: a setting does not fit or is missing.
        EngineUnavailableError, LogUnavailableError, IntegrityError: see ``bootstrap.compose``.
    """
    centre = _centre(settings)
    if settings.channel_keys:
        raise InvalidRequestError(
            "an edge follows what its centre releases, and no channel",
            hint="Set channel_keys at the centre, and leave it out here",
            field="channel_keys",
        )
    async with compose(settings, clock=clock, ids=ids, policy=centre.policy) as plane:
        [(feed, store)] = centre.opened
        signing = plane.grant_keys.keys
        forward = ForwardLog(
            plane.log, plane.log, centre.client, store, plane.publish.keys, lambda: key_set_of(signing.first)
        )
        # What was granted before is no authority either once policy is too old, or nobody knows how old anything is.
        redeem = replace(plane.grants.redeem, held=lambda: _stale(feed, plane.live))
        here = replace(
            plane,
            approvals=replace(plane.approvals, vote=refuse_vote, together=refuse_vote),
            grants=replace(plane.grants, redeem=redeem),
        )
        yield EdgePlane(here, feed, forward)


@contextlib.asynccontextmanager
async def serving_edge(settings: Settings) -> AsyncIterator[tuple[Mapping[str, ControlPlane], RunningServer]]:
    """Compose an edge, serve it, follow the centre, have it record the log, and take it all down again.

    Raises:
        InvalidRequestError, EngineUnavailableError, LogUnavailableError, IntegrityError: see ``compose_edge``.
    """
    if settings.tenants_file:
        raise InvalidRequestError(
            "an edge is of one tenant", hint="Leave tenants_file out; its credential says whose it is", field="profile"
        )
    async with compose_edge(settings) as edge, running_edge(edge) as server:
        yield {DEFAULT_TENANT: edge.plane}, server


@contextlib.asynccontextmanager
async def running_edge(edge: EdgePlane) -> AsyncIterator[RunningServer]:
    """Serve an edge, follow the centre and have it record the log while the block runs.

    Raises:
        InvalidRequestError: it may not or cannot listen where the settings say.
    """
    settings = edge.plane.settings
    forwarder = Forwarder(edge.forward, interval_seconds=settings.reconcile_seconds)
    tasks = {"have the centre record the log": forwarder.run}
    listening = listeners(settings, SystemClock())
    async with running(edge.plane, listening, readiness=edge.problem, tasks=tasks) as server:
        yield server


def bundle_key(settings: Settings) -> str:
    """Return the public key that this control plane signs bundles and releases with, in PEM, making it on first use."""
    return open_key(settings.state_dir / "keys", BUNDLE_KEY).public_pem


def _centre(settings: Settings) -> _Centre:
    if not settings.centre or not is_agent_id(settings.edge_id) or settings.centre_bundle_key is None:
        missing = next(
            name
            for name, is_set in (
                ("centre", bool(settings.centre)),
                ("edge_id", is_agent_id(settings.edge_id)),
                ("centre_bundle_key", settings.centre_bundle_key is not None),
            )
            if not is_set
        )
        raise InvalidRequestError(
            f"an edge needs the setting {missing}",
            hint="Set centre (host:port), edge_id (what its credential proves) and centre_bundle_key (what 'aisecops"
            " edge key' prints at the centre)",
            field=missing,
        )
    access = Access(
        settings.centre,
        ca=settings.centre_ca,
        certificate=settings.centre_certificate,
        key=settings.centre_key,
        token_file=settings.centre_token_file,
    )
    access.require_usable()
    return _Centre(GrpcCentre(access), EdgeId(settings.edge_id), settings.centre_bundle_key)


async def _latest(log: SqliteEventLog) -> int:
    """Return the time of the newest event, 0 without any."""
    size = (await log.head()).size
    async with aclosing(log.events(from_index=max(size - 1, 0), follow=False, trace_id="")) as events:
        return max([event.event.occurred_at_ns async for event in events], default=0)
