"""Which policy decides now: the engine of the live revision, the one before it, and what went wrong last.

Owns the pointer that every decision reads. Reading it never waits. Only ``activate.PolicySwitch`` moves it, by one
assignment, so a decision sees the old engine or the new one and keeps the one it took until it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aisecops_server.domain.bundles.bundle import Bundle, Commit, CommitId, Revision, RevisionState
from aisecops_server.domain.bundles.bundle_status import BundleStatus
from aisecops_server.domain.bundles.channel_standing import ChannelStanding
from aisecops_server.domain.errors import AisecopsError, NoLiveRevisionError
from aisecops_server.ports import BundleBuilder, EnginePool, PolicyEngine, PolicyRepository

_REMEMBERED_REJECTIONS = 256


@dataclass(frozen=True, slots=True)
class Served:
    """A revision with the engine that serves it."""

    commit: Commit
    engine: PolicyEngine

    def revision(self, state: RevisionState) -> Revision:
        """Return it as one line of a list of revisions."""
        return Revision(self.commit, state, self.engine.bundle.digest, problem="")


async def bundle_of(commit_id: CommitId, repository: PolicyRepository, builder: BundleBuilder) -> Bundle:
    """Return the bundle of a commit, whose tree is read only when it was not built before.

    Raises:
        BundleRejectedError: it cannot be built.
    """
    return await builder.stored(commit_id) or await builder.build(await repository.tree(commit_id))


@dataclass(frozen=True, slots=True)
class _Pointer:
    live: Served | None = None
    previous: Served | None = None


class LivePolicy:
    """The live revision and the one before it, with engines of other revisions on demand."""

    def __init__(
        self,
        *,
        repository: PolicyRepository,
        builder: BundleBuilder,
        pool: EnginePool,
        channel: Callable[[], ChannelStanding] | None = None,
    ) -> None:
        self._repository = repository
        self._builder = builder
        self._pool = pool
        self._channel = channel
        self._pointer = _Pointer()
        self._rejections: dict[CommitId, AisecopsError] = {}
        self._synced_at_ns = 0
        self._wanted = ""
        self.followed = CommitId("")
        self.sync_problem = ""
        self.problem = ""

    @property
    def live(self) -> Served | None:
        """Return the live revision."""
        return self._pointer.live

    @property
    def previous(self) -> Served | None:
        """Return the revision that was live before."""
        return self._pointer.previous

    def current(self) -> PolicyEngine:
        """Return the engine of the live revision.

        Raises:
            NoLiveRevisionError: nothing is live.
        """
        served = self._pointer.live
        if served is None:
            raise NoLiveRevisionError(
                "no policy revision is live, so nothing can be decided",
                hint=self._problems() or "'aisecops bundle sync' reads the policy repository",
            )
        return served.engine

    async def engine_at(self, revision: str) -> PolicyEngine:
        """Return an engine of any revision, named by commit id, branch or tag; the live one does not change.

        Raises:
            UnknownRevisionError: nothing has that name.
            BundleRejectedError: the revision cannot be built.
            EngineUnavailableError: no engine could be started.
        """
        served = self._pointer.live
        if served is not None and served.commit.id == revision:
            return served.engine
        bundle = await self._builder.stored(CommitId(revision))
        if bundle is None:
            bundle = await bundle_of(await self._repository.resolve(revision), self._repository, self._builder)
        return await self._pool.acquire(bundle)

    def status(self) -> BundleStatus:
        """Return what is served and what went wrong last."""
        pointer = self._pointer
        return BundleStatus(
            live=pointer.live.revision(RevisionState.LIVE) if pointer.live else None,
            previous=pointer.previous.revision(RevisionState.PREVIOUS) if pointer.previous else None,
            wanted=self._wanted,
            problem=self._problems(),
            synced_at_ns=self._synced_at_ns,
            channel=self._channel() if self._channel else None,
        )

    def flip(self, served: Served) -> None:
        """Make ``served`` live and what was live the previous one, in one step that nothing can come between."""
        self._pointer = _Pointer(served, self._pointer.live)
        self._rejections.pop(served.commit.id, None)
        self.problem = ""

    def restore_previous(self, served: Served) -> None:
        """Put back, after a restart, what was live before."""
        self._pointer = _Pointer(self._pointer.live, served)

    def synced(self, wanted: CommitId, at_ns: int) -> None:
        """Note that the repository was read and what its branch wants live."""
        self._wanted, self._synced_at_ns, self.sync_problem = wanted, at_ns, ""

    def reject(self, commit_id: CommitId, error: AisecopsError) -> None:
        """Note why a revision cannot be live."""
        self.problem = error.message
        self._rejections[commit_id] = error
        while len(self._rejections) > _REMEMBERED_REJECTIONS:
            self._rejections.pop(next(iter(self._rejections)))

    def rejection(self, commit_id: CommitId) -> AisecopsError | None:
        """Return why a revision was rejected last, if it was."""
        return self._rejections.get(commit_id)

    def _problems(self) -> str:
        frozen = self._channel().problem if self._channel else ""
        return "; ".join(filter(None, (self.problem, self.sync_problem, frozen)))
