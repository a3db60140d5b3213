"""What an edge believes of what it is told to be policy: what its centre signed, for it, just now, and never less."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from aisecops_server.adapters.bundles.archive import bundle_digest, pack
from aisecops_server.adapters.bundles.shelf import BundleShelf
from aisecops_server.adapters.signing.keys import SigningKey, open_key
from aisecops_server.adapters.sqlite.feed_store import SqliteFeedStore, edge_report
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.bundles.bundle import Bundle, Commit, CommitId, PolicyTree
from aisecops_server.domain.bundles.release import Release, SignedRelease, signed_message
from aisecops_server.domain.edges.edge import EdgeId
from aisecops_server.domain.errors import (
    BundleRejectedError,
    PolicyStaleError,
    RepositoryUnavailableError,
    UnknownRevisionError,
)
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.log.record import LogHead
from aisecops_server.ports.edges import Batch
from aisecops_server.usecases.edges.edge_control import staleness
from aisecops_server.usecases.edges.edge_feed import EdgeFeed

from tests.fakes.clock import FakeClock

EDGE = EdgeId("spiffe://corp.example/edge/shop-7")
LIFETIME = 3600


def policy(number: int) -> tuple[Release, bytes]:
    """Return a release of a small bundle, with its archive."""
    revision = CommitId(f"{number:040x}")
    files = {
        ".manifest": canonical_bytes({"revision": revision}),
        "data.json": canonical_bytes({"tables": {"number": number}}),
    }
    archive = pack(files)
    release = Release(
        edge_id=EDGE,
        nonce="",
        counter=number,
        commit=Commit(revision, "Ada", f"Policy {number}", 1_790_000_000),
        digest=bundle_digest(files),
        archive_sha256=hashlib.sha256(archive).hexdigest(),
        issued_at_seconds=1_800_000_000,
        expires_at_seconds=1_800_000_000 + LIFETIME,
        rules=(),
        tools=(),
    )
    return release, archive


@dataclass
class FakeCentre:
    """Says what it is told to say. ``bend`` changes a release before it is signed, ``spoil`` what arrives."""

    key: SigningKey
    number: int = 1
    bend: Callable[[Release], Release] = lambda release: release
    spoil: Callable[[SignedRelease], SignedRelease] = lambda signed: signed
    spoil_archive: Callable[[bytes], bytes] = lambda archive: archive
    down: bool = False
    archives: int = 0
    meanwhile: Callable[[], None] = lambda: None
    said: list[SignedRelease] = field(default_factory=list)

    async def release(self, nonce: str) -> SignedRelease:
        self.meanwhile()
        if self.down:
            raise RepositoryUnavailableError("the centre cannot be reached")
        body = self.bend(replace(policy(self.number)[0], nonce=nonce)).body()
        signed = SignedRelease(body, self.key.sign(signed_message(body)))
        self.said.append(signed)
        return self.spoil(signed)

    async def archive(self, digest: str, *, limit: int) -> bytes:
        self.archives += 1
        return self.spoil_archive(policy(self.number)[1])

    async def enrol(self, log_key: str, grant_keys: bytes) -> LogHead:
        raise AssertionError("nothing is reconciled here")

    async def reconcile(self, batch: Batch) -> LogHead:
        raise AssertionError("nothing is reconciled here")


@dataclass
class Stand:
    """A feed with everything around it."""

    feed: EdgeFeed
    centre: FakeCentre
    clock: FakeClock
    root: Path

    async def bundle(self) -> Bundle:
        found = await self.feed.stored(await self.feed.head())
        assert found is not None
        return found


@asynccontextmanager
async def stand(
    root: Path, *, clock: FakeClock | None = None, centre: FakeCentre | None = None, latest_wall_ns: int = 0
) -> AsyncIterator[Stand]:
    """Open a feed while the block runs; what is in ``root`` already is taken up."""
    key, clock = open_key(root / "centre", "bundle"), clock or FakeClock()
    centre = centre or FakeCentre(key)
    store = SqliteFeedStore(root / "edge.db")
    feed = EdgeFeed(
        edge_id=EDGE,
        centre=centre,
        store=store,
        shelf=BundleShelf(root / "released"),
        verifies=key.verifies,
        clock=clock,
        ids=RandomIds(),
        most_bytes=1_000_000,
    )
    await feed.open(latest_wall_ns=latest_wall_ns)
    try:
        yield Stand(feed, centre, clock, root)
    finally:
        store.close()


@pytest.mark.asyncio
async def test_what_the_centre_released_is_kept_and_is_there_after_a_restart_without_it(tmp_path: Path) -> None:
    async with stand(tmp_path) as found:
        with pytest.raises(UnknownRevisionError):
            await found.feed.head()
        await found.feed.fetch()
        await found.feed.fetch()
        assert found.centre.archives == 1
        bundle = await found.bundle()
        assert (bundle.revision, bundle.tables) == (f"{1:040x}", {"number": 1})
        assert found.feed.standing(bundle).counter == 1
    async with stand(tmp_path) as again:
        again.centre.down = True
        with pytest.raises(RepositoryUnavailableError):
            await again.feed.fetch()
        assert (await again.bundle()).digest == bundle.digest
        assert await again.feed.exact(bundle.revision, bundle.digest) is not None
        assert await again.feed.commits(after="", limit=5) == [policy(1)[0].commit]
        with pytest.raises(BundleRejectedError, match="builds no policy"):
            await again.feed.build(PolicyTree(CommitId("a" * 40), {}))
        with pytest.raises(BundleRejectedError, match="builds no policy"):
            await again.feed.tree(CommitId("a" * 40))
        with pytest.raises(UnknownRevisionError):
            await again.feed.resolve("main")


def unsigned(signed: SignedRelease) -> SignedRelease:
    return SignedRelease(signed.body, bytes(64))


def altered(signed: SignedRelease) -> SignedRelease:
    return SignedRelease(signed.body.replace(b'"counter":1', b'"counter":9'), signed.signature)


REFUSED: dict[str, tuple[Callable[[FakeCentre], object], str]] = {
    "another key": (lambda centre: setattr(centre, "spoil", unsigned), "was not signed with the pinned key"),
    "a word of it changed": (lambda centre: setattr(centre, "spoil", altered), "was not signed with the pinned key"),
    "for another edge": (
        lambda centre: setattr(centre, "bend", lambda said: replace(said, edge_id=EdgeId("other"))),
        "is for the edge other",
    ),
    "an answer to another question": (
        lambda centre: setattr(centre, "bend", lambda said: replace(said, nonce="0" * 32)),
        "played again",
    ),
    "one that ends before it begins": (
        lambda centre: setattr(centre, "bend", lambda said: replace(said, expires_at_seconds=0)),
        "ends before it begins",
    ),
    "another archive": (
        lambda centre: setattr(centre, "spoil_archive", lambda archive: policy(2)[1]),
        "its bytes are others",
    ),
    "an archive with one bit changed": (
        lambda centre: setattr(centre, "spoil_archive", lambda archive: archive[:-1] + bytes([archive[-1] ^ 1])),
        "its bytes are others",
    ),
    "no archive": (lambda centre: setattr(centre, "spoil_archive", lambda archive: b""), "its bytes are others"),
    "a digest that is not the content's": (
        lambda centre: setattr(centre, "bend", lambda said: replace(said, digest="0" * 64)),
        "its content or its revision is another",
    ),
    "another revision than the bundle's own": (
        lambda centre: setattr(
            centre, "bend", lambda said: replace(said, commit=replace(said.commit, id=CommitId("f" * 40)))
        ),
        "its content or its revision is another",
    ),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
async def test_anything_but_the_centre_s_word_to_this_edge_now_is_refused(
    tmp_path: Path, case: tuple[Callable[[FakeCentre], object], str]
) -> None:
    harm, why = case
    async with stand(tmp_path) as found:
        harm(found.centre)
        with pytest.raises(BundleRejectedError, match=why):
            await found.feed.fetch()
        assert found.feed.newest is None
    assert edge_report(tmp_path / "edge.db").releases == ()


@pytest.mark.asyncio
async def test_a_policy_that_was_live_before_is_not_taken_back_without_a_new_number(tmp_path: Path) -> None:
    async with stand(tmp_path) as found:
        found.centre.number = 2
        await found.feed.fetch()
        found.centre.number = 1
        with pytest.raises(BundleRejectedError, match="rolled back: the centre says 1, and had said 2 before"):
            await found.feed.fetch()
        assert (await found.bundle()).tables == {"number": 2}
    # The mark outlives the process.
    async with stand(tmp_path) as again:
        with pytest.raises(BundleRejectedError, match="rolled back"):
            await again.feed.fetch()
        # People at the centre who go back give the old policy a new number.
        again.centre.bend = lambda said: replace(said, counter=3)
        await again.feed.fetch()
        assert (await again.bundle()).tables == {"number": 1}
        assert await again.feed.is_descendant(CommitId(f"{1:040x}"), of=CommitId(f"{2:040x}"))


@pytest.mark.asyncio
async def test_one_number_is_not_two_policies(tmp_path: Path) -> None:
    async with stand(tmp_path) as found:
        await found.feed.fetch()
        found.centre.number = 2
        found.centre.bend = lambda said: replace(said, counter=1)
        with pytest.raises(BundleRejectedError, match="two policies as number 1"):
            await found.feed.fetch()
        assert (await found.bundle()).tables == {"number": 1}


@pytest.mark.asyncio
async def test_a_feed_that_is_frozen_by_playing_old_answers_makes_nothing_younger(tmp_path: Path) -> None:
    async with stand(tmp_path) as found:
        await found.feed.fetch()
        [first] = found.centre.said
        found.centre.spoil = lambda _signed: first
        for _ in range(3):
            found.clock.advance(1800)
            with pytest.raises(BundleRejectedError, match="played again"):
                await found.feed.fetch()
        standing = found.feed.standing(await found.bundle())
        assert standing.age_seconds == 5400
        stale = staleness(standing)
        assert stale is not None
        assert stale.metadata() == {"age": "5400", "limit": "3600", "why": "age"}


@pytest.mark.asyncio
async def test_the_age_counts_from_before_the_question_so_a_slow_answer_is_no_younger(tmp_path: Path) -> None:
    async with stand(tmp_path) as found:
        found.centre.meanwhile = lambda: found.clock.advance(500)
        await found.feed.fetch()
        assert found.feed.standing(await found.bundle()).age_seconds == 500


@pytest.mark.asyncio
async def test_a_clock_that_goes_back_denies_until_the_centre_was_reached(tmp_path: Path) -> None:
    async with stand(tmp_path) as found:
        await found.feed.fetch()
        found.clock.at_ns -= 7200 * 10**9
        standing = found.feed.standing(await found.bundle())
        stale = staleness(standing)
        assert stale is not None
        assert stale.metadata()["why"] == "clock"
        # Setting it right again is not enough: nobody knows how long it was wrong.
        found.clock.at_ns += 7200 * 10**9
        assert staleness(found.feed.standing(await found.bundle())) is not None
        await found.feed.fetch()
        assert staleness(found.feed.standing(await found.bundle())) is None


@pytest.mark.asyncio
async def test_a_restart_with_the_clock_set_back_makes_nothing_younger(tmp_path: Path) -> None:
    clock = FakeClock()
    async with stand(tmp_path, clock=clock) as found:
        await found.feed.fetch()
        clock.advance(3000)
        await found.feed.keep_time()
    clock.at_ns -= 2900 * 10**9
    async with stand(tmp_path, clock=clock) as again:
        standing = again.feed.standing(await again.bundle())
        assert (standing.age_seconds, standing.clock_sound) == (3000, False)


@pytest.mark.asyncio
async def test_a_restart_is_held_against_the_newest_entry_of_the_log_as_well(tmp_path: Path) -> None:
    clock = FakeClock()
    async with stand(tmp_path, clock=clock) as found:
        await found.feed.fetch()
    newest = clock.at_ns + 1000 * 10**9
    async with stand(tmp_path, clock=clock, latest_wall_ns=newest) as again:
        standing = again.feed.standing(await again.bundle())
        assert (standing.age_seconds, standing.clock_sound) == (1000, False)


@pytest.mark.asyncio
async def test_what_is_kept_on_the_disk_and_altered_there_is_not_used(tmp_path: Path) -> None:
    async with stand(tmp_path) as found:
        await found.feed.fetch()
        bundle = await found.bundle()
    bundle.archive.write_bytes(policy(2)[1])
    async with stand(tmp_path) as again:
        assert await again.feed.stored(bundle.revision) is None
        await again.feed.fetch()
        assert (again.centre.archives, (await again.bundle()).tables) == (1, {"number": 1})
        with pytest.raises(PolicyStaleError, match="never released"):
            again.feed.standing(replace(bundle, digest="0" * 64))
