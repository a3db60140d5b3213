"""At an edge: the policies that the centre released to it, and how old the centre's word on each of them is.

Takes the place of the policy repository and of the bundle builder: revisions are those that were released, and nothing
is ever built here. Ordering rules: a release counts only when the pinned key signed it for this edge and this very
question; its counter never falls; its archive is the bytes that it names; and only then is it kept, with the mark that
keeps older ones out. Age is counted from the moment before the question was asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from aisecops_server.domain.bundles.bundle import Bundle, Commit, CommitId, PolicyTree
from aisecops_server.domain.bundles.release import Mark, Release, SignedRelease, read_release, signed_message
from aisecops_server.domain.edges.edge import EdgeId, EdgeStanding
from aisecops_server.domain.edges.policy_age import Instant, Reckoning
from aisecops_server.domain.errors import BundleRejectedError, PolicyStaleError, UnknownRevisionError
from aisecops_server.ports import Clock, Ids
from aisecops_server.ports.edges import BundleShelf, Centre, FeedStore, KeptRelease

Verifies = Callable[[bytes, bytes], bool]
"""(message, signature) to whether the pinned key signed it."""

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Held:
    release: Release
    reckoning: Reckoning
    bundle: Bundle | None


class EdgeFeed:
    """Implements ``PolicyRepository`` and ``BundleBuilder`` with what the centre released. Call ``open`` first."""

    def __init__(
        self,
        *,
        edge_id: EdgeId,
        centre: Centre,
        store: FeedStore,
        shelf: BundleShelf,
        verifies: Verifies,
        clock: Clock,
        ids: Ids,
        most_bytes: int,
    ) -> None:
        self.edge_id = edge_id
        self._centre = centre
        self._store = store
        self._shelf = shelf
        self._verifies = verifies
        self._clock = clock
        self._ids = ids
        self._most_bytes = most_bytes
        self._mark = Mark()
        self._held: dict[str, _Held] = {}

    async def open(self, *, latest_wall_ns: int) -> None:
        """Take up what was kept; ``latest_wall_ns`` is the newest time that the log tells of.

        What does not verify any more is passed over: the edge then waits for the centre.
        """
        self._mark = await self._store.mark()
        for kept in await self._store.releases():
            try:
                release = self._signed(kept.signed)
            except BundleRejectedError:
                continue
            reckoning = kept.reckoning.after_restart(latest_wall_ns=latest_wall_ns)
            self._held[release.digest] = _Held(release, reckoning, await self._shelf.get(release))

    @property
    def newest(self) -> Release | None:
        """Return what the centre released last."""
        return max((held.release for held in self._held.values()), key=lambda release: release.counter, default=None)

    def standing(self, bundle: Bundle) -> EdgeStanding:
        """Return how old the centre's word on ``bundle`` is now.

        Raises:
            PolicyStaleError: the centre never released it.
        """
        held = self._held.get(bundle.digest)
        if held is None:
            raise PolicyStaleError("the centre never released the policy of this edge", hint="Let it reach its centre")
        reckoning = held.reckoning.until(self._now())
        self._held[bundle.digest] = replace(held, reckoning=reckoning)
        return EdgeStanding(
            edge_id=self.edge_id,
            counter=held.release.counter,
            # A second that has begun counts.
            age_seconds=-(-reckoning.counted_ns // _SECOND_NS),
            lifetime_seconds=held.release.lifetime_seconds,
            clock_sound=reckoning.sound,
        )

    async def keep_time(self) -> None:
        """Keep how much time was counted, so that it is not lost with the process."""
        for digest, held in list(self._held.items()):
            reckoning = held.reckoning.until(self._now())
            self._held[digest] = replace(held, reckoning=reckoning)
            await self._store.note(digest, reckoning)

    async def fetch(self, *, proposal: str = "") -> None:
        """Ask the centre which bundle counts and keep what it says.

        Raises:
            RepositoryUnavailableError: the centre cannot be reached, or does not let this edge in.
            BundleRejectedError: what it answers is not its word to this edge now, or is an older one.
        """
        if proposal:
            raise UnknownRevisionError("an edge has no proposals", hint="Ask the centre")
        nonce, asked_at = self._ids.nonce(), self._now()
        signed = await self._centre.release(nonce)
        release = self._signed(signed)
        if release.nonce != nonce:
            raise BundleRejectedError(
                "an earlier answer of the centre was played again",
                hint="The last good policy stays. Ask what stands between this edge and its centre",
                revision=release.commit.id,
            )
        mark = self._mark.moved(release)
        bundle = await self._bundle(release)
        reckoning = Reckoning(asked_at)
        await self._store.keep(KeptRelease(release.digest, signed, reckoning), mark)
        self._mark = mark
        self._held[release.digest] = _Held(release, reckoning, bundle)

    async def head(self) -> CommitId:
        """Return the commit that was released last."""
        newest = self.newest
        if newest is None:
            raise UnknownRevisionError("the centre has released no policy to this edge yet")
        return newest.commit.id

    async def resolve(self, name: str) -> CommitId:
        """Return the commit of that id, if it was released."""
        return self._of(name).commit.id

    async def commit(self, commit_id: CommitId) -> Commit:
        """Return one commit's author, time and summary."""
        return self._of(commit_id).commit

    async def commits(self, *, after: str, limit: int) -> list[Commit]:
        """Return the commits that were released, newest first, starting below ``after``."""
        newest_first = sorted(self._held.values(), key=lambda held: held.release.counter, reverse=True)
        found = list(dict.fromkeys(held.release.commit for held in newest_first))
        names = [commit.id for commit in found]
        if after and after not in names:
            raise UnknownRevisionError("the centre released no such revision to this edge")
        return found[names.index(CommitId(after)) + 1 if after else 0 :][:limit]

    async def is_descendant(self, commit_id: CommitId, *, of: CommitId) -> bool:
        """Return whether ``commit_id`` was released as late as ``of``, or later."""
        return self._of(commit_id).counter >= self._of(of).counter

    async def web_page(self) -> str:
        """Return that nobody looks at the repository from here."""
        return ""

    async def tree(self, commit_id: CommitId) -> PolicyTree:
        """Refuse: an edge has bundles and no files of policy."""
        raise _not_here(commit_id)

    async def build(self, tree: PolicyTree) -> Bundle:
        """Refuse: an edge builds nothing."""
        raise _not_here(tree.commit)

    async def stored(self, revision: CommitId) -> Bundle | None:
        """Return the bundle of ``revision`` that was released last."""
        try:
            return self._held[self._of(revision).digest].bundle
        except UnknownRevisionError:
            return None

    async def exact(self, revision: CommitId, digest: str) -> Bundle | None:
        """Return the very bundle that has ``digest``, if it was released."""
        held = self._held.get(digest)
        return held.bundle if held and held.release.commit.id == revision else None

    async def _bundle(self, release: Release) -> Bundle:
        there = await self._shelf.get(release)
        if there is not None:
            return there
        return await self._shelf.put(release, await self._centre.archive(release.digest, limit=self._most_bytes))

    def _signed(self, signed: SignedRelease) -> Release:
        if not self._verifies(signed_message(signed.body), signed.signature):
            raise BundleRejectedError(
                "a release was not signed with the pinned key of the centre",
                hint="The last good policy stays. 'aisecops edge key' at the centre prints the key to pin",
            )
        release = read_release(signed.body)
        if release.edge_id != self.edge_id:
            raise BundleRejectedError(
                f"the release is for the edge {release.edge_id}, and this one is {self.edge_id}",
                hint="Set edge_id to the id that this edge's credential proves",
                revision=release.commit.id,
            )
        return release

    def _of(self, name: str) -> Release:
        found = [held.release for held in self._held.values() if held.release.commit.id == name]
        if not found:
            raise UnknownRevisionError(
                "the centre released no such revision to this edge",
                hint="An edge knows the revisions that were live while it reached its centre",
                revision=name,
            )
        return max(found, key=lambda release: release.counter)

    def _now(self) -> Instant:
        return Instant(self._clock.now_ns(), self._clock.monotonic_ns())


def _not_here(commit_id: CommitId) -> BundleRejectedError:
    return BundleRejectedError(
        "an edge builds no policy", hint="It has the bundles that its centre released", revision=commit_id
    )
