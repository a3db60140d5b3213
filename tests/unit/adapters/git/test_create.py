from __future__ import annotations

from pathlib import Path

import git
import pytest
from aisecops_server.adapters.git.create import AUTHOR, commit_files, create_policy_repository
from aisecops_server.adapters.git.shipped import shipped_policy
from aisecops_server.domain.errors import InvalidRequestError, RepositoryUnavailableError


def test_the_shipped_policy_has_the_layout_of_a_policy_repository() -> None:
    paths = shipped_policy()
    assert {"bundle.yaml", "data/tools.yaml", "rego/system/authz.rego", "rego/aisecops/decision/decision.rego"} <= set(
        paths
    )
    tops = {path.partition("/")[0] for path in paths}
    assert tops <= {"bundle.yaml", "CODEOWNERS", "compliance", "data", "cases", "rego"}


def test_the_same_library_and_time_give_the_same_commit(tmp_path: Path) -> None:
    commits = {create_policy_repository(tmp_path / name, at_seconds=1_790_000_000) for name in ("one", "two")}
    assert len(commits) == 1


def test_a_change_is_a_commit_of_its_own_by_the_same_author(tmp_path: Path) -> None:
    first = create_policy_repository(tmp_path / "policy", at_seconds=1_790_000_000)
    second = commit_files(
        tmp_path / "policy",
        {"data/approvals.yaml": b"approvers_required: 2\n"},
        message="Two",
        at_seconds=1_790_000_060,
    )
    with git.Repo(tmp_path / "policy") as repository:
        head = repository.head.commit
        assert (head.hexsha, head.parents[0].hexsha) == (second, first)
        assert (head.author, head.message, head.committed_date) == (AUTHOR, "Two", 1_790_000_060)
        assert repository.active_branch.name == "main"
        assert not repository.is_dirty(untracked_files=True)


def test_nothing_is_written_over_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidRequestError):
        create_policy_repository(tmp_path, at_seconds=1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_no_hooks_come_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = tmp_path / "template" / "hooks"
    hooks.mkdir(parents=True)
    (hooks / "pre-commit").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (hooks / "pre-commit").chmod(0o755)
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(tmp_path / "template"))
    create_policy_repository(tmp_path / "policy", at_seconds=1_790_000_000)
    assert not (tmp_path / "policy" / ".git" / "hooks" / "pre-commit").exists()


def test_a_place_that_is_no_repository_takes_no_commit(tmp_path: Path) -> None:
    with pytest.raises(RepositoryUnavailableError):
        commit_files(tmp_path, {"a": b"b"}, message="x", at_seconds=1)
