from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aisecops_server.domain.bundles.bundle import Bundle, BundleDigest, CommitId, PolicyTree
from aisecops_server.domain.errors import BundleRejectedError, RepositoryUnavailableError, UnknownRevisionError
from aisecops_server.domain.replays.recorded_decision import Doubt, RecordedDecision
from aisecops_server.usecases.replays.resolve_policy import ResolvePolicy, WantedPolicy

pytestmark = pytest.mark.asyncio

OLD, NEW = CommitId("1" * 40), CommitId("2" * 40)


@dataclass
class Repository:
    """Knows some commits at once, and others only after it was read again."""

    known: set[CommitId] = field(default_factory=lambda: {OLD})
    fetched: set[CommitId] = field(default_factory=lambda: {NEW})
    away: bool = False

    async def fetch(self, *, proposal: str = "") -> None:
        if self.away:
            raise RepositoryUnavailableError("away")
        self.known |= self.fetched

    async def resolve(self, name: str) -> CommitId:
        found = {"main": max(self.known, default=OLD)}.get(name, CommitId(name))
        if found not in self.known:
            raise UnknownRevisionError("unknown", revision=name)
        return found

    async def tree(self, commit_id: CommitId) -> PolicyTree:
        return PolicyTree(commit_id, {"bundle.yaml": b"name: x\n"})


@dataclass
class Builder:
    """Builds bundles whose digests say which product version built them."""

    version: str = "new"
    kept: dict[str, Bundle] = field(default_factory=dict)
    broken: bool = False

    async def build(self, tree: PolicyTree) -> Bundle:
        if self.broken:
            raise BundleRejectedError("it does not compile")
        return Bundle(tree.commit, BundleDigest(f"{self.version}-{tree.commit}"), Path(), ())

    async def exact(self, revision: CommitId, digest: str) -> Bundle | None:
        return self.kept.get(digest)


class Engines:
    engine = "1.22.2"

    def named(self, name: str) -> str:
        return name or self.engine


def resolving(repository: Repository | None = None, builder: Builder | None = None) -> ResolvePolicy:
    return ResolvePolicy(repository or Repository(), builder or Builder(), Builder(), None, Engines())  # type: ignore[arg-type]


def decision(revision: str, digest: str) -> RecordedDecision:
    return RecordedDecision(1, {"bundle_revision": revision, "bundle_digest": digest}, b"", {})


async def test_the_very_bundle_that_decided_is_taken_whoever_built_it():
    old = Bundle(OLD, BundleDigest(f"old-{OLD}"), Path("kept"), ())
    found = await resolving(builder=Builder(kept={old.digest: old})).own_bundle(decision(OLD, old.digest))
    assert found is old


async def test_a_bundle_that_can_only_be_built_anew_must_have_the_digest_that_decided():
    policies = resolving()
    assert await policies.own_bundle(decision(OLD, f"old-{OLD}")) is Doubt.BUNDLE_CHANGED
    assert isinstance(await policies.own_bundle(decision(OLD, f"new-{OLD}")), Bundle)


@pytest.mark.parametrize("revision", ["", "main", "3" * 40, "../x"])
async def test_a_revision_that_nobody_has_is_missing(revision):
    assert await resolving().own_bundle(decision(revision, "d")) is Doubt.BUNDLE_MISSING


async def test_a_revision_that_no_longer_builds_is_missing():
    policies = resolving(builder=Builder(broken=True))
    assert await policies.own_bundle(decision(OLD, "d")) is Doubt.BUNDLE_MISSING


async def test_names_are_read_again_and_what_is_known_counts_when_nobody_answers():
    assert (await resolving()(WantedPolicy(revision="main"))).side.revision == NEW
    assert (await resolving(Repository(away=True))(WantedPolicy(revision="main"))).side.revision == OLD
    with pytest.raises(UnknownRevisionError):
        await resolving(Repository(away=True))(WantedPolicy(revision=NEW))


async def test_a_side_says_what_was_asked_for_and_what_that_was():
    side = (await resolving()(WantedPolicy(revision="main", engine="1.22.9"))).side
    assert (side.name, side.revision, side.digest, side.engine) == ("main", NEW, f"new-{NEW}", "1.22.9")
