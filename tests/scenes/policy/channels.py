"""A channel whose word is required: a bare remote, who announces in a clone of it, and control planes that follow."""

from __future__ import annotations

import contextlib
import functools
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aisecops_client import AsyncClient, PlanBuilder
from aisecops_server.adapters.git.announcing import AnnouncementBranch
from aisecops_server.adapters.git.checkout import Checkout
from aisecops_server.adapters.git.mirror import GitRepository
from aisecops_server.adapters.git.shipped import shipped_policy
from aisecops_server.adapters.signing.keys import SigningKey, open_key, verifies_ed25519
from aisecops_server.adapters.sqlite.activation_state import ActivationState
from aisecops_server.adapters.system import SystemClock
from aisecops_server.bootstrap.authentication import issuer, listeners
from aisecops_server.bootstrap.control_plane import ControlPlane, compose
from aisecops_server.bootstrap.replay import repository_of
from aisecops_server.bootstrap.serving import running
from aisecops_server.domain.bundles.announcement import (
    FILE,
    Announced,
    Announcement,
    ChannelKey,
    channel_branch,
    signed,
)
from aisecops_server.domain.bundles.channel_standing import ChannelState
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import UnknownRevisionError
from aisecops_server.ports.announcements import AnnouncementStore
from aisecops_server.settings import Settings
from aisecops_server.usecases.bundles.announce import Announce, AnnounceCommand
from aisecops_server.usecases.bundles.channel import Channel

from tests.fakes.policies import CountingIds, FakeLog
from tests.scenes.policy.git_remotes import Remote
from tests.scenes.policy.policy_repositories import Clone
from tests.support import opa_binary

AGENT = "spiffe://corp.example/agent/support-assistant"
CHANNEL = "prod"
MODES = "data/modes.yaml"
GATES = b"rollout: {seconds: 0, decisions: 0}\nchannels: {prod: {}}\n"


@functools.cache
def _first() -> Path:
    """Return a repository with the policy that ships, in one commit."""
    root = Path(tempfile.mkdtemp(prefix="aisecops-test-channel-"))
    return Remote.make(root / "first", {**shipped_policy(), "gates.yaml": GATES}).path


@dataclass
class MovedClock:
    """The machine's clock, and how far somebody moved it."""

    moved_seconds: float = 0
    real: SystemClock = field(default_factory=SystemClock)

    def now_ns(self) -> int:
        return self.real.now_ns() + int(self.moved_seconds * 1e9)

    def monotonic_ns(self) -> int:
        return self.real.monotonic_ns()

    def now(self) -> int:
        return self.now_ns() // 1_000_000_000


@dataclass
class Site:
    """Where policy is made and announced."""

    root: Path
    clone: Clone
    clock: MovedClock = field(default_factory=MovedClock)

    @classmethod
    def make(cls, root: Path) -> Site:
        return cls(root, Clone.of(_first(), root))

    def key(self, name: str = "channel") -> SigningKey:
        """Return a key of that name, with its public half in a file beside it."""
        made = open_key(self.root / "announcer", name)
        (self.root / f"{name}.pub.pem").write_text(made.public_pem, encoding="utf-8")
        return made

    def settings(self, *keys: str, **changes: Any) -> Settings:
        """Return settings of a control plane that requires the channel's word, by keys of these names."""
        for name in keys or ("channel",):
            self.key(name)
        values: dict[str, Any] = {
            "state_dir": self.root / "s",
            "engine_path": opa_binary(),
            "repository": str(self.clone.remote),
            "channel": CHANNEL,
            "channel_keys": tuple(self.root / f"{name}.pub.pem" for name in keys or ("channel",)),
            "deadline_milliseconds": 10_000,
            "poll_seconds": 3600,
        }
        return Settings(**{**values, **changes})

    def commit(self, name: str) -> str:
        """Commit a change on main, push it, and return it."""
        self.clone.write({MODES: f"# {name}\ndefault: enforce\nagents: {{}}\nrules: {{}}\n"})
        return self.clone.commit(name)

    def announce(
        self,
        revision: str = "HEAD",
        *,
        key: str = "channel",
        known: tuple[str, ...] = (),
        channel: str = CHANNEL,
        hours: int = 24,
        counter: int = 0,
    ) -> Announced:
        """Announce as the command line does."""
        signer, checkout = self.key(key), Checkout(self.clone.path)
        return Announce(
            place=AnnouncementBranch(self.clone.path),
            key=ChannelKey(signer.public_raw),
            sign=signer.sign,
            known=tuple(ChannelKey(self.key(name).public_raw) for name in known),
            verifies=verifies_ed25519,
            clock=self.clock,
        )(AnnounceCommand(channel, checkout.tree(checkout.commit_id(revision)), hours, counter))

    def put(self, content: bytes, *, channel: str = CHANNEL) -> None:
        """Replace what the channel's branch holds, as somebody who may push can."""
        git = self.clone.work.git
        blob = git("hash-object", "-w", "--stdin", stdin=content)
        tree = git("mktree", stdin=f"100644 blob {blob}\t{FILE}\n".encode())
        commit = git("commit-tree", tree, "-m", "put there")
        git("push", "--quiet", "--force", "origin", f"{commit}:refs/heads/{channel_branch(channel)}")

    def held(self) -> bytes:
        """Return what the channel's branch holds."""
        found = AnnouncementBranch(self.clone.path).newest(channel_branch(CHANNEL))
        assert found is not None
        return found

    def sign(self, announcement: Announcement, key: str = "channel") -> bytes:
        """Return an announcement as it travels, signed with a key whatever it says."""
        signer = self.key(key)
        return signed(announcement, key=ChannelKey(signer.public_raw), sign=signer.sign)

    @asynccontextmanager
    async def plane(self, settings: Settings | None = None) -> AsyncIterator[ControlPlane]:
        """Compose a control plane by the site's clock; what was live is live again where it can be, nothing is read."""
        async with compose(settings or self.settings(), clock=self.clock) as plane:
            # As when it serves: what only the remote has is made live by the first sync.
            with contextlib.suppress(UnknownRevisionError):
                await plane.resume()
            yield plane


@dataclass
class Follower:
    """What follows a channel, without an engine: a mirror, a store, and a list of events."""

    channel: Channel
    repository: GitRepository
    log: FakeLog

    async def wanted(self) -> str:
        """Fetch, and return the commit that is wanted live."""
        await self.repository.fetch()
        return await self.channel.wanted()

    def told(self) -> list[tuple[str, str]]:
        """Return the type of each event, and why."""
        bodies = [json.loads(event.body) for event in self.log.events]
        return [(body["type"], str(body["details"].get("cause", ""))) for body in bodies]


@asynccontextmanager
async def following(site: Site, *keys: str, store: AnnouncementStore | None = None) -> AsyncIterator[Follower]:
    """Follow the channel while the block runs; without a ``store``, with one of its own that outlives the block."""
    settings = site.settings(*keys)
    repository, log = repository_of(settings), FakeLog()
    settings.state_dir.mkdir(exist_ok=True)
    own = ActivationState(settings.state_dir / "activation.db")
    channel = Channel(
        name=CHANNEL,
        keys=tuple(ChannelKey(site.key(name).public_raw) for name in keys or ("channel",)),
        grace_seconds=3600,
        source=repository,
        store=store or own,
        verifies=verifies_ed25519,
        log=log,  # type: ignore[arg-type] - only what a channel uses of it
        clock=site.clock,
        ids=CountingIds(),  # type: ignore[arg-type] - only what a channel uses of it
    )
    try:
        await channel.open()
        yield Follower(channel, repository, log)
    finally:
        own.close()


@asynccontextmanager
async def asked(plane: ControlPlane) -> AsyncIterator[AsyncClient]:
    """Serve a control plane while the block runs, and be connected as an agent."""
    async with running(plane, listeners(plane.settings, plane.clock)) as server:
        token = issuer(plane.settings).mint(AGENT, [Role.AGENT], seconds=12 * 3600)
        async with AsyncClient.connect(f"unix:{server.socket}", token) as client:
            client.timeout_seconds = 60.0
            yield client


def harmless() -> PlanBuilder:
    """Return a plan that policy allows."""
    plan = PlanBuilder(intent="summarise a ticket", environment="production")
    prompt = plan.source("user_prompt", "Please summarise ticket T-4711.")
    plan.step("tickets/read", {"ticket_id": "T-4711"}, influenced_by=[prompt])
    return plan


def live(plane: ControlPlane) -> str:
    """Return the commit that decides."""
    return plane.live.current().bundle.revision


def state(plane: ControlPlane) -> ChannelState:
    """Return how the channel stands, as the status has it."""
    channel = plane.policy.status().channel
    assert channel is not None
    return channel.state


async def told(plane: ControlPlane, *families: str) -> list[str]:
    """Return the types of the events of these families, in order."""
    events = plane.log.events(from_index=0, follow=False, trace_id="")
    return [stored.event.type async for stored in events if stored.event.type.partition(".")[0] in families]
