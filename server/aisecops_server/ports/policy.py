"""Where policy comes from, what it is packed into, what decides by it, and which of it was activated."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from aisecops_server.domain.bundles.bundle import Activated, Bundle, Commit, CommitId, PolicyTree
from aisecops_server.domain.decisions.decision import Verdict
from aisecops_server.domain.errors import AisecopsError


class PolicyEngine(Protocol):
    """One bundle revision, ready to evaluate. Evaluation is pure: same document, same verdict."""

    @property
    def bundle(self) -> Bundle:
        """Return the bundle that this engine serves."""
        ...

    @property
    def problem(self) -> str:
        """Return why it cannot answer now, or an empty string when it can."""
        ...

    async def evaluate(self, document: bytes, *, deadline_seconds: float) -> Verdict:
        """Evaluate one input document.

        Raises:
            EngineUnavailableError: no answer within the deadline, or no engine.
            NoDecisionError: an answer that is not a decision (undefined, error, wrong shape).
        """
        ...

    async def evaluate_batch(
        self, documents: Sequence[bytes], *, deadline_seconds: float
    ) -> list[Verdict | AisecopsError]:
        """Evaluate many documents; answers in their order, an error standing in for what could not be decided."""
        ...

    async def explain(self, document: bytes, *, deadline_seconds: float) -> str:
        """Return the engine's own evaluation trace of one document, as text with file:line."""
        ...


class EnginePool(Protocol):
    """Engines by bundle. An engine stays up while somebody holds it."""

    async def acquire(self, bundle: Bundle) -> PolicyEngine:
        """Return a ready engine for ``bundle``, starting one if none is warm.

        Raises:
            BundleRejectedError: the engine refuses the bundle.
            EngineUnavailableError: no engine could be started.
        """
        ...

    def anticipated(self) -> AbstractAsyncContextManager[None]:
        """Say that a bundle is being made which will need an engine; what was begun for none is undone at the end."""
        ...

    async def retain(self, digests: Sequence[str]) -> None:
        """Keep exactly these bundles warm for sure; others may be stopped once idle."""
        ...

    async def close(self) -> None:
        """Stop every engine."""
        ...


class PolicyRepository(Protocol):
    """The Git repository that policy lives in. Reads only; nothing of it is ever executed."""

    async def fetch(self, *, proposal: str = "") -> None:
        """Bring the local mirror up to date, with the ``proposal`` (such as ``pull/7``) that is named.

        Raises:
            RepositoryUnavailableError: the remote cannot be reached or read in time.
        """
        ...

    async def head(self) -> CommitId:
        """Return the commit at the head of the followed branch."""
        ...

    async def resolve(self, name: str) -> CommitId:
        """Return the commit that a commit id, branch, tag or fetched proposal names.

        Raises:
            UnknownRevisionError: nothing has that name.
        """
        ...

    async def commit(self, commit_id: CommitId) -> Commit:
        """Return one commit's author, time and summary."""
        ...

    async def commits(self, *, after: str, limit: int) -> list[Commit]:
        """Return commits of the followed branch, newest first, starting below ``after`` (empty: from the head)."""
        ...

    async def is_descendant(self, commit_id: CommitId, *, of: CommitId) -> bool:
        """Return whether ``of`` is an ancestor of ``commit_id`` (or is it)."""
        ...

    async def web_page(self) -> str:
        """Return where people look at the repository in a browser; empty when its name does not tell."""
        ...

    async def tree(self, commit_id: CommitId) -> PolicyTree:
        """Return the policy files of a commit.

        Raises:
            BundleRejectedError: the tree holds something that policy may not hold (links, submodules,
                hostile names, files too large or of foreign kinds).
        """
        ...


class BundleBuilder(Protocol):
    """Turns a policy tree into a signed bundle: same tree, same bytes."""

    async def build(self, tree: PolicyTree) -> Bundle:
        """Return the bundle of ``tree``, from the store when it was built before and still verifies.

        Raises:
            BundleRejectedError: the tree does not compile, its data breaks a schema, or it holds what is not its own.
        """
        ...

    async def stored(self, revision: CommitId) -> Bundle | None:
        """Return the verified bundle of ``revision`` if it was built before."""
        ...

    async def exact(self, revision: CommitId, digest: str) -> Bundle | None:
        """Return the very bundle that has ``digest``, whichever version of us built it, if it is stored and sound."""
        ...


class ActivationStore(Protocol):
    """What was made live last, so that a restart serves it again, whatever the policy repository says by then."""

    async def load(self) -> tuple[Activated, Activated | None] | None:
        """Return what is live and what was live before; ``None`` before the first activation.

        Raises:
            LogUnavailableError: the stored state cannot be read.
            IntegrityError: the stored state is damaged.
        """
        ...

    async def save(self, live: Activated, previous: Activated | None) -> None:
        """Replace both at once, durably.

        Raises:
            LogUnavailableError: it could not be made durable; what was stored before still holds.
        """
        ...
