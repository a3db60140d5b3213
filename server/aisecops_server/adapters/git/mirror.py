"""The policy repository: a bare mirror of it, read object by object.

Owns the mirror directory. Never checks out, archives, merges or runs anything of the repository, and never
rewrites it. Objects are read by id and hashed again, so what is returned is what the commit names.

Ordering rule: a fetch either completes or leaves every reference as it was; reads never wait for a fetch.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from aisecops_server.adapters.git.names import meant
from aisecops_server.adapters.git.objects import READ, Head, Trees, read_blob, read_commits, read_head, unknown
from aisecops_server.adapters.git.runner import Bounds, Finished, HardenedGit
from aisecops_server.adapters.git.source import Source, ancestor_name, parse_source, proposal_ref, ref_name
from aisecops_server.domain.bundles.announcement import FILE, MOST_BYTES, channel_branch
from aisecops_server.domain.bundles.bundle import Commit, CommitId, PolicyTree
from aisecops_server.domain.bundles.release_names import highest
from aisecops_server.domain.display.web_links import web_page
from aisecops_server.domain.errors import RepositoryUnavailableError, UnknownRevisionError

_COMMIT_ID = re.compile(r"[0-9a-f]{40}")
_PLACES = {"branch": "refs/heads/", "tag": "refs/tags/"}
_MAX_PACKS = 50
_SHOWN_CHARACTERS = 200


class GitRepository:
    """A policy repository at a path or URL, mirrored in ``mirror``."""

    def __init__(
        self,
        repository: str,
        *,
        mirror: Path,
        branch: str,
        fetch_timeout_seconds: float,
        follow: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._source: Source = parse_source(repository)
        self._branch = ref_name(branch)
        # Where releases are followed: the kind of reference, and the pattern of their names.
        self._kind, _, self._pattern = follow.partition(":")
        self._mirror = mirror
        self._fetch_bounds = Bounds(seconds=fetch_timeout_seconds)
        self._git = HardenedGit(mirror, environment=environment or {})
        self._tree = Trees(self._git)
        # The head that was found last. Whatever becomes of the branch, this commit stays as it is, and in the mirror.
        self._found: Head | None = None
        self._fetching = asyncio.Lock()

    async def fetch(self, *, proposal: str = "") -> None:
        """Bring the mirror up to date, with the ``proposal`` (such as ``pull/7``) that is named.

        Raises:
            RepositoryUnavailableError: the remote cannot be reached or read in time.
        """
        async with self._fetching:
            await asyncio.to_thread(self._fetch, proposal_ref(ancestor_name(proposal)[0]) if proposal else "")

    async def head(self) -> CommitId:
        """Return the commit at the head of the followed branch.

        Raises:
            UnknownRevisionError: the branch does not exist, or nothing was fetched yet.
        """
        self._found = found = await asyncio.to_thread(self._highest if self._pattern else self._branch_head)
        return found.commit.id

    async def resolve(self, name: str) -> CommitId:
        """Return the commit that a commit id (whole or at least 7 digits), branch, tag or proposal names.

        ``HEAD`` is the head of the followed branch, and ``NAME~3`` the third commit before ``NAME``.

        Raises:
            UnknownRevisionError: nothing has that name, or several commits have it.
        """
        if (found := self._found_as(name)) is not None:
            return found.commit.id
        base, before = ancestor_name(name)
        if base == "HEAD":
            try:
                base = await self.head()
            except UnknownRevisionError as error:
                raise unknown(name) from error
        commit_id = await asyncio.to_thread(self._meant, base, before)
        if commit_id is None:
            raise unknown(name)
        return commit_id

    async def commit(self, commit_id: CommitId) -> Commit:
        """Return one commit's author, time and summary.

        Raises:
            UnknownRevisionError: there is no such commit.
        """
        if (found := self._found_as(commit_id)) is not None:
            return found.commit
        return (await asyncio.to_thread(self._log, _commit_id(commit_id), skip=0, limit=1))[0]

    async def commits(self, *, after: str, limit: int) -> list[Commit]:
        """Return commits of the followed branch, newest first, starting below ``after`` (empty: from the head).

        Raises:
            UnknownRevisionError: ``after`` is no commit, or the branch does not exist.
        """
        start = _commit_id(after) if after else await self.head()
        return await asyncio.to_thread(self._log, start, skip=1 if after else 0, limit=limit)

    async def is_descendant(self, commit_id: CommitId, *, of: CommitId) -> bool:
        """Return whether ``of`` is an ancestor of ``commit_id`` (or is it).

        Raises:
            UnknownRevisionError: one of them is not in the mirror.
        """
        found = self._found_as(commit_id)
        if found is not None and of in (found.commit.id, *found.parents):
            return True
        arguments = ("merge-base", "--is-ancestor", _commit_id(of), _commit_id(commit_id))
        finished = await asyncio.to_thread(self._run, *arguments)
        if finished.code not in (0, 1):
            raise unknown(of)
        return finished.code == 0

    async def tree(self, commit_id: CommitId) -> PolicyTree:
        """Return the policy files of a commit.

        Raises:
            BundleRejectedError: the tree holds something that policy may not hold.
            UnknownRevisionError: there is no such commit.
        """
        return await asyncio.to_thread(self._tree, _commit_id(commit_id))

    async def announcement(self, channel: str) -> bytes | None:
        """Return what the fetched branch of a channel holds; ``None`` where there is none.

        Raises:
            BundleRejectedError: what is there is too large.
        """
        place = f"refs/heads/{channel_branch(channel)}:{FILE}"
        return await asyncio.to_thread(read_blob, self._git, place, most_bytes=MOST_BYTES)

    async def web_page(self) -> str:
        """Return the repository's page on the web as far as names tell: of the remote, or of a local clone's origin."""
        directory = self._source.directory
        if directory is None:
            return web_page(self._source.location)
        config = directory / ".git" / "config" if (directory / ".git").is_dir() else directory / "config"
        asked = ("config", "--file", str(config), "--no-includes", "--get", "remote.origin.url")
        try:
            found = await asyncio.to_thread(self._run, *asked)
        except RepositoryUnavailableError:
            return ""
        return web_page(found.output.decode("utf-8", "replace").strip()) if found.code == 0 else ""

    def _fetch(self, proposal: str) -> None:
        directory = self._source.directory
        if directory is not None and not directory.is_dir():
            raise self._unreachable("there is no such directory")
        self._ensure_mirror()
        with self._alone():
            try:
                self._fetch_references("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
                if proposal:
                    # Whether there is one is told when its name is looked up.
                    with contextlib.suppress(RepositoryUnavailableError):
                        self._fetch_references(f"+{proposal}:{proposal}")
            finally:
                self._discard_leftovers()
            self._tidy()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep out other processes that use the mirror, such as a replay beside the control plane."""
        with self._mirror.with_suffix(".lock").open("a+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _fetch_references(self, *references: str) -> None:
        # A process that was killed while it fetched may have left locks that would keep us out for ever.
        self._discard_leftovers()
        finished = self._run(
            *("fetch", "--quiet", "--force", "--prune", "--no-tags", "--no-recurse-submodules"),
            *("--no-write-fetch-head", "--no-auto-maintenance", "--end-of-options", self._source.location),
            *references,
            bounds=self._fetch_bounds,
        )
        if finished.code != 0:
            raise self._unreachable(finished.complaint or f"git ended with code {finished.code}")

    def _ensure_mirror(self) -> None:
        if (self._mirror / "HEAD").exists():
            return
        self._mirror.mkdir(mode=0o700, parents=True, exist_ok=True)
        finished = self._run("init", "--quiet", "--bare", "--template=", "--object-format=sha1", str(self._mirror))
        if finished.code != 0:
            raise RepositoryUnavailableError(
                f"the mirror of the policy repository cannot be made: {finished.complaint}",
                hint=f"Make {self._mirror.parent} writable",
            )

    def _discard_leftovers(self) -> None:
        """Remove what a killed fetch leaves; nobody else writes here now, and no reference may end in ``.lock``."""
        leftovers = [
            *self._mirror.glob("*.lock"),
            *(self._mirror / "refs").rglob("*.lock"),
            *(self._mirror / "objects" / "pack").glob("tmp_*"),
        ]
        for leftover in leftovers:
            with contextlib.suppress(OSError):
                leftover.unlink()

    def _tidy(self) -> None:
        """Join packs now and then; unreachable commits are kept, because decisions may name them."""
        if sum(1 for _ in (self._mirror / "objects" / "pack").glob("*.pack")) > _MAX_PACKS:
            self._run("repack", "-a", "-d", "-k", "--quiet", bounds=self._fetch_bounds)

    def _found_as(self, name: str) -> Head | None:
        """Return the head that was found last if ``name`` is its commit id."""
        found = self._found
        return found if found is not None and found.commit.id == name else None

    def _branch_head(self) -> Head:
        found = read_head(self._git, f"refs/heads/{self._branch}")
        if found is None:
            raise UnknownRevisionError(
                f"the policy repository has no branch {self._branch}",
                hint="Push a commit to it, or set 'branch' to the branch to follow",
            )
        return found

    def _highest(self) -> Head:
        place = _PLACES[self._kind]
        finished = self._run("for-each-ref", "--format=%(refname)", place)
        names = finished.output.decode("utf-8", "replace").split()
        name = highest((name.removeprefix(place) for name in names if name.startswith(place)), self._pattern)
        found = read_head(self._git, place + name) if name else None
        if found is None:
            raise UnknownRevisionError(
                f"the policy repository has no {self._kind} {self._pattern}",
                hint="Push one, or set 'follow' to what releases are called",
            )
        return found

    def _meant(self, name: str, before: int) -> CommitId | None:
        proposal = proposal_ref(name)
        places = [[f"refs/heads/{name}"], [f"refs/tags/{name}"], *([[proposal]] if proposal else [])]
        return meant(self._git, name, before, places=places)

    def _log(self, start: CommitId, *, skip: int, limit: int) -> list[Commit]:
        return read_commits(self._git, start, skip=skip, limit=limit)

    def _run(self, *arguments: str, bounds: Bounds = READ, stdin: bytes = b"") -> Finished:
        return self._git.run(*arguments, bounds=bounds, stdin=stdin)

    def _unreachable(self, why: str) -> RepositoryUnavailableError:
        mend = "check the path, the network and the host key"
        if "dubious ownership" in why:
            mend = "give the directory to the user that runs the control plane, or name it by ssh"
        return RepositoryUnavailableError(
            f"the policy repository {self._source.shown} cannot be read: {why}",
            hint=f"The last good revision stays live; {mend}",
        )


def _commit_id(text: str) -> CommitId:
    if not _COMMIT_ID.fullmatch(text):
        raise unknown(text)
    return CommitId(text)
