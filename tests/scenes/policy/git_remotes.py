"""Real Git repositories for tests, including ones that no honest git would make."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/dev/null",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada Author",
    "GIT_AUTHOR_EMAIL": "ada@example.invalid",
    "GIT_COMMITTER_NAME": "Ada Author",
    "GIT_COMMITTER_EMAIL": "ada@example.invalid",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
}

OWNED = b"""name: test
owners:
  bundle.yaml: {role: security, team: policy, reviewed_by: platform}
  data: {role: platform, team: runtime, reviewed_by: security}
  rego: {role: security, team: policy, reviewed_by: platform}
"""
MINIMAL_FILES = {
    "bundle.yaml": OWNED,
    "data/agents.yaml": b"support: {owner: team}\n",
    "rego/aisecops/decision/decision.rego": b"package aisecops.decision\n\ndecision := data.tables.agents\n",
}


@dataclass(frozen=True)
class Remote:
    """A working clone that serves as remote."""

    path: Path

    @classmethod
    def make(cls, path: Path, files: Mapping[str, bytes] = MINIMAL_FILES) -> Remote:
        path.mkdir(parents=True)
        remote = cls(path)
        remote.git("init", "--quiet", "--initial-branch=main")
        remote.commit(files, "first")
        return remote

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        finished = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *arguments],
            cwd=self.path,
            env=ENVIRONMENT,
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr.decode()
        return finished.stdout.decode("utf-8", "surrogateescape").strip()

    def commit(self, files: Mapping[str, bytes], message: str = "change") -> str:
        for name, content in files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=content)

    def raw_tree(self, *entries: tuple[str, bytes, str]) -> str:
        """Write a tree object byte by byte, in the order given; git's own commands would refuse most of these."""
        content = b"".join(
            mode.encode() + b" " + name + b"\x00" + bytes.fromhex(object_id) for mode, name, object_id in entries
        )
        return self.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", stdin=content)

    def commit_tree(self, tree: str) -> str:
        """Commit a tree on top of the branch and move the branch to it, without a working tree."""
        commit = self.git("commit-tree", tree, "-p", self.head(), "-m", "hostile")
        self.git("update-ref", "refs/heads/main", commit)
        return commit

    def commit_entries(self, *entries: tuple[str, bytes, str]) -> str:
        """Commit a root tree of ``entries``, all of mode, name and object."""
        return self.commit_tree(self.raw_tree(*sorted(entries, key=lambda entry: entry[1])))
