"""From what a person names to what decides: a commit, a draft of one, or each decision's own policy, on an engine.

Reads policy and builds bundles; it makes nothing live. Drafts (working copies and changed tables) are built into a
store of their own, so that nothing that stands in no commit can ever be found where live policy is looked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from aisecops_server.domain.bundles.bundle import Bundle, CommitId, PolicyTree
from aisecops_server.domain.errors import AisecopsError, InvalidRequestError, UnknownRevisionError
from aisecops_server.domain.policy.policy_draft import changed_tree, drafted_tree
from aisecops_server.domain.replays.recorded_decision import Doubt, RecordedDecision
from aisecops_server.domain.replays.replay import Side
from aisecops_server.domain.tables.table_patch import MOST_CHANGES, TableChange, table_change
from aisecops_server.ports import BundleBuilder, PolicyRepository
from aisecops_server.ports.replay import Engines, PolicyReader

_WHOLE_COMMIT_ID = 40
_SHOWN_COMMIT = 12
_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class WantedPolicy:
    """What is asked for: a revision or the files of a working copy, changed values of tables, an engine.

    With neither revision nor files it is each decision's own recorded policy.
    """

    revision: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    engine: str = ""


@dataclass(frozen=True, slots=True)
class ResolvedPolicy:
    """What decides. ``tree`` and ``bundle`` are missing where each decision's own policy does."""

    side: Side
    changes: tuple[TableChange, ...] = ()
    tree: PolicyTree | None = None
    bundle: Bundle | None = None


@dataclass(frozen=True, slots=True)
class ResolvePolicy:
    """Resolves policies and remembers bundles and trees."""

    repository: PolicyRepository
    builder: BundleBuilder
    drafts: BundleBuilder
    reader: PolicyReader
    engines: Engines
    _bundles: dict[tuple[str, str, tuple[str, ...]], Bundle | Doubt] = field(default_factory=dict)
    _trees: dict[str, PolicyTree | None] = field(default_factory=dict)

    async def __call__(self, wanted: WantedPolicy) -> ResolvedPolicy:
        """Return what ``wanted`` names, built and checked.

        Raises:
            InvalidRequestError: nothing is named, or a change or file does not fit.
            UnknownRevisionError: nothing has that name, not even after reading the repository again.
            BundleRejectedError: it cannot be built.
            EngineUnavailableError: the engine is not installed.
        """
        engine = self.engines.named(wanted.engine)
        changes = tuple(table_change(text) for text in wanted.changes[: MOST_CHANGES + 1])
        if len(changes) > MOST_CHANGES:
            raise InvalidRequestError(
                f"more than {MOST_CHANGES} changed values", hint="Make a draft of the tables instead", field="set"
            )
        texts = tuple(change.text for change in changes)
        if not wanted.revision and not wanted.files:
            if not changes and not wanted.engine:
                raise InvalidRequestError(
                    "nothing is named to replay on",
                    hint="Name a revision, files, a changed value of a table, or another engine",
                    field="candidate",
                )
            return ResolvedPolicy(Side("recorded policy", engine=engine, changes=texts), changes)
        tree, name = await self._tree(wanted)
        tree = await self._changed(tree, changes)
        bundle = await self.bundle(tree)
        side = Side(name, revision=tree.commit, digest=bundle.digest, engine=engine, changes=texts)
        return ResolvedPolicy(side, changes, tree, bundle)

    async def again(self, side: Side, draft: PolicyTree | None) -> ResolvedPolicy:
        """Return once more what a side of a replay was; ``draft`` are its files where it stands in no commit.

        Raises:
            UnknownRevisionError: its files are nowhere any more.
            BundleRejectedError: it cannot be built.
            EngineUnavailableError: the engine is no longer installed.
        """
        self.engines.named(side.engine)
        changes = tuple(table_change(text) for text in side.changes)
        if side.is_recorded_policy:
            return ResolvedPolicy(side, changes)
        tree = draft or await self.tree_of(side.revision)
        if tree is None:
            raise UnknownRevisionError(
                f"the policy of the replay, {side.name}, cannot be found any more",
                hint="Run the replay again",
                revision=side.revision,
            )
        return ResolvedPolicy(side, changes, tree, await self.bundle(tree))

    async def own_tree(self, decision: RecordedDecision, changes: tuple[TableChange, ...] = ()) -> PolicyTree | None:
        """Return the files of the policy that decided, with ``changes`` to them, or nothing when they are gone."""
        tree = await self.tree_of(decision.text("bundle_revision"))
        return None if tree is None else await self._changed(tree, changes)

    async def bundle(self, tree: PolicyTree) -> Bundle:
        """Return the bundle of a tree, a draft's from the store of drafts.

        Raises:
            BundleRejectedError: it cannot be built.
        """
        if tree.drafted:
            return await self.drafts.build(tree)
        return await self.builder.build(tree)

    async def own_bundle(self, decision: RecordedDecision, changes: tuple[TableChange, ...] = ()) -> Bundle | Doubt:
        """Return the very bundle that decided, or one with ``changes`` to it, or why there is none."""
        revision, digest = decision.text("bundle_revision"), decision.text("bundle_digest")
        key = (revision, digest, tuple(change.text for change in changes))
        if key not in self._bundles:
            if len(self._bundles) >= _REMEMBERED:
                self._bundles.clear()
            found = await self._changed_own(revision, changes) if changes else await self._own(revision, digest)
            self._bundles[key] = found
        return self._bundles[key]

    async def tree_of(self, revision: str) -> PolicyTree | None:
        """Return the files of a recorded revision, or nothing when the repository does not have it."""
        if revision not in self._trees:
            if len(self._trees) >= _REMEMBERED:
                self._trees.clear()
            self._trees[revision] = await self._read_tree(revision)
        return self._trees[revision]

    async def commit_id(self, name: str) -> CommitId:
        """Return the commit that a name means now.

        Raises:
            UnknownRevisionError: nothing has that name, not even after reading the repository again.
        """
        if len(name) == _WHOLE_COMMIT_ID:
            with contextlib.suppress(UnknownRevisionError):
                return await self.repository.resolve(name)
        # Names move; what the mirror knows still counts when the remote does not answer.
        with contextlib.suppress(AisecopsError):
            await self.repository.fetch(proposal=name)
        return await self.repository.resolve(name)

    async def _tree(self, wanted: WantedPolicy) -> tuple[PolicyTree, str]:
        if wanted.files:
            if wanted.revision:
                raise InvalidRequestError(
                    "both a revision and files are named", hint="Name one of them", field="candidate"
                )
            tree = drafted_tree(wanted.files)
            return tree, "working copy"
        commit_id = await self.commit_id(wanted.revision)
        named = wanted.revision if wanted.revision != commit_id else commit_id[:_SHOWN_COMMIT]
        return await self.repository.tree(commit_id), named

    async def _changed(self, tree: PolicyTree, changes: tuple[TableChange, ...]) -> PolicyTree:
        if not changes:
            return tree
        text = await self.reader.read(tree, against=tree)
        return changed_tree(tree, text.tables, changes)

    async def _own(self, revision: str, digest: str) -> Bundle | Doubt:
        exact = await self.builder.exact(CommitId(revision), digest) or await self.drafts.exact(
            CommitId(revision), digest
        )
        if exact is not None:
            return exact
        tree = await self.tree_of(revision)
        if tree is None:
            return Doubt.BUNDLE_MISSING
        try:
            built = await self.builder.build(tree)
        except AisecopsError:
            return Doubt.BUNDLE_MISSING
        return built if built.digest == digest else Doubt.BUNDLE_CHANGED

    async def _changed_own(self, revision: str, changes: tuple[TableChange, ...]) -> Bundle | Doubt:
        tree = await self.tree_of(revision)
        # What does not fit these tables, or what they give with it, is told; it is the same for every decision.
        return Doubt.BUNDLE_MISSING if tree is None else await self.bundle(await self._changed(tree, changes))

    async def _read_tree(self, revision: str) -> PolicyTree | None:
        if len(revision) != _WHOLE_COMMIT_ID:
            return None
        try:
            return await self.repository.tree(await self.commit_id(revision))
        except AisecopsError:
            return None
