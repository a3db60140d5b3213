"""Policy repositories as people have them: a bare remote, clones of it, branches; and their checks."""

from __future__ import annotations

import asyncio
import functools
import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.adapters.bundles.schemas import schema_files, with_modeline
from aisecops_server.adapters.git.shipped import shipped_policy, starter_files
from aisecops_server.bootstrap.policy import checked_policy, checking, conftest_program
from aisecops_server.domain.policy.policy_check import CheckName, CheckReport, Problem
from aisecops_server.settings import Settings

from tests.scenes.policy.git_remotes import Remote
from tests.support import opa_binary


@functools.cache
def starter() -> Mapping[str, bytes]:
    """Return the files of a policy repository as 'policy init' makes it."""
    held = {**shipped_policy(), **starter_files()}
    return {**{path: with_modeline(path, text) for path, text in held.items()}, **schema_files()}


@functools.cache
def memory() -> Path:
    """Return where the checks of this process remember: what one test checked, another need not check again."""
    return Path(tempfile.mkdtemp(prefix="aisecops-test-checks-"))


def settings(root: Path) -> Settings:
    return Settings(state_dir=root / "s", engine_path=opa_binary(), engine_dir=root / "engines")


CONFTEST = conftest_program()


def checked(
    directory: Path, *, base: str = "", only: Collection[CheckName] = (), conftest: Path | None = CONFTEST
) -> CheckReport:
    """Check a working copy, as the command line does."""

    async def run() -> CheckReport:
        async with checking(settings(directory), remember=memory(), conftest=lambda: conftest) as made:
            policy, waivers = checked_policy(directory, today=made.today, base=base)
            return await made.check(policy, waivers=waivers, only=only)

    return asyncio.run(run())


def errors(report: CheckReport) -> list[Problem]:
    """Return the problems that fail a report, by check."""
    return [problem for result in report.results for problem in result.errors]


@dataclass(frozen=True)
class Clone:
    """A person's clone of a remote."""

    remote: Path
    work: Remote

    @property
    def path(self) -> Path:
        return self.work.path

    @classmethod
    def make(cls, root: Path, files: Mapping[str, bytes] | None = None) -> Clone:
        """Make a bare remote with one commit on main, and a clone of it."""
        first = Remote.make(root / "first", starter() if files is None else files)
        remote = root / "remote.git"
        first.git("clone", "--quiet", "--bare", str(first.path), str(remote))
        shutil.rmtree(first.path)
        return cls(remote, cls._cloned(remote, root / "clone"))

    @classmethod
    def of(cls, repository: Path, root: Path) -> Clone:
        """Make a bare remote of what a repository has, and a clone of it."""
        remote = root / "remote.git"
        Remote(repository).git("clone", "--quiet", "--bare", str(repository), str(remote))
        return cls(remote, cls._cloned(remote, root / "clone"))

    @staticmethod
    def _cloned(remote: Path, path: Path) -> Remote:
        path.mkdir(parents=True)
        work = Remote(path)
        work.git("clone", "--quiet", str(remote), ".")
        return work

    def again(self, path: Path) -> Clone:
        """Return another person's clone of the same remote."""
        return Clone(self.remote, self._cloned(self.remote, path))

    def branch(self, name: str, start: str = "origin/main") -> None:
        """Begin a branch at what the remote has."""
        self.work.git("fetch", "--quiet", "origin")
        self.work.git("switch", "--quiet", "--force-create", name, start)

    def text(self, path: str) -> str:
        return (self.path / path).read_text(encoding="utf-8")

    def write(self, changes: Mapping[str, str | bytes | None]) -> None:
        """Write files; what is ``None`` is removed."""
        for path, content in changes.items():
            file = self.path / path
            if content is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, message: str) -> str:
        """Commit everything on the branch and push it."""
        self.work.git("add", "--all")
        self.work.git("commit", "--quiet", "--message", message)
        self.work.git("push", "--quiet", "--force", "origin", "HEAD")
        return self.work.head()
