"""Policy repositories that attack the machine that reads them: refused, or made harmless."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from aisecops_server.adapters.git.mirror import GitRepository
from aisecops_server.adapters.git.runner import Bounds, HardenedGit
from aisecops_server.adapters.git.source import parse_source
from aisecops_server.adapters.git.tree_rules import policy_entries
from aisecops_server.domain.bundles.bundle import CommitId, PolicyTree
from aisecops_server.domain.errors import (
    AisecopsError,
    BundleRejectedError,
    RepositoryUnavailableError,
    UnknownRevisionError,
)
from aisecops_server.domain.policy.policy_paths import MAX_ENTRIES, MAX_FILE_BYTES

from tests.scenes.policy.git_remotes import MINIMAL_FILES, Remote

pytestmark = pytest.mark.asyncio


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return Remote.make(tmp_path / "remote")


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """Exists as soon as anything of the repository was executed."""
    return tmp_path / "executed"


def mirrored(remote: Remote, tmp_path: Path) -> GitRepository:
    return GitRepository(str(remote.path), mirror=tmp_path / "mirror.git", branch="main", fetch_timeout_seconds=20.0)


async def read(remote: Remote, tmp_path: Path) -> PolicyTree:
    repository = mirrored(remote, tmp_path)
    await repository.fetch()
    return await repository.tree(await repository.head())


async def refusal(remote: Remote, tmp_path: Path) -> str:
    with pytest.raises((BundleRejectedError, RepositoryUnavailableError)) as refused:
        await read(remote, tmp_path)
    return refused.value.message


def script(path: Path, canary: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ntouch {canary}\n")
    path.chmod(0o755)


async def test_hooks_of_the_remote_and_of_the_mirror_never_run(remote, tmp_path, canary):
    repository = mirrored(remote, tmp_path)
    await repository.fetch()
    for hook in ("post-checkout", "pre-auto-gc", "reference-transaction", "post-merge", "pre-receive", "update"):
        script(remote.path / ".git" / "hooks" / hook, canary)
        script(tmp_path / "mirror.git" / "hooks" / hook, canary)
    remote.git("-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--allow-empty", "-m", "more")
    canary.unlink(missing_ok=True)
    await repository.fetch()
    assert (await repository.tree(await repository.head())).files == MINIMAL_FILES
    assert not canary.exists()


async def test_configuration_of_the_remote_that_names_programs_runs_none(remote, tmp_path, canary):
    program = tmp_path / "program"
    script(program, canary)
    for key in ("core.fsmonitor", "core.pager", "core.sshCommand", "uploadpack.packObjectsHook", "diff.external"):
        remote.git("config", key, str(program))
    await read(remote, tmp_path)
    assert not canary.exists()


@pytest.mark.parametrize("url", ["ext::sh -c touch% {canary}", "file://{remote}", "ssh://host/path"])
async def test_a_remote_that_promises_objects_cannot_make_anyone_run_a_program_to_get_them(
    remote, tmp_path, canary, url
):
    program = tmp_path / "program"
    script(program, canary)
    missing = remote.git("rev-parse", "HEAD:bundle.yaml")
    remote.git("config", "core.repositoryFormatVersion", "1")
    remote.git("config", "extensions.partialClone", "origin")
    remote.git("config", "remote.origin.promisor", "true")
    remote.git("config", "remote.origin.url", url.format(canary=canary, remote=remote.path))
    remote.git("config", "remote.origin.uploadpack", str(program))
    remote.git("config", "core.sshCommand", str(program))
    (remote.path / ".git" / "objects" / missing[:2] / missing[2:]).unlink()
    with pytest.raises(RepositoryUnavailableError):
        await mirrored(remote, tmp_path).fetch()
    assert not canary.exists()


async def test_the_environment_of_the_caller_does_not_reach_git(remote, tmp_path, canary, monkeypatch):
    program = tmp_path / "program"
    script(program, canary)
    configuration = tmp_path / "gitconfig"
    configuration.write_text(
        f'[core]\n\tfsmonitor = {program}\n\tsshCommand = {program}\n[url "/nowhere/"]\n\tinsteadOf = /\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(configuration))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(program))
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(program))
    repository = mirrored(remote, tmp_path)
    await repository.fetch()
    assert await repository.head()
    assert not canary.exists()
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% /tmp/executed",
        "fd::17/x",
        "transport::address",
        "http://example.invalid/policy.git",
        "git://example.invalid/policy.git",
        "ftp://example.invalid/policy.git",
        "ssh://-oProxyCommand=touch/x",
        "ssh://user@-oProxyCommand=touch/x",
        "-oProxyCommand=touch:x",
        "user@-oProxyCommand=touch:x",
        "--upload-pack=touch",
        "-u",
        "",
        "https://host/\x1b[2J",
        "https://host/a b",
    ],
)
async def test_a_url_of_another_kind_is_refused_before_git_sees_it(url):
    with pytest.raises(RepositoryUnavailableError):
        parse_source(url)


async def test_git_itself_refuses_protocols_that_are_not_listed(remote, tmp_path, canary):
    await read(remote, tmp_path)
    git = HardenedGit(tmp_path / "mirror.git", environment={"GIT_ALLOW_PROTOCOL": "ext"})
    finished = git.run("fetch", f"ext::sh -c touch% {canary}", bounds=Bounds(seconds=10.0))
    assert finished.code != 0
    assert "not allowed" in finished.complaint
    assert not canary.exists()


async def test_a_password_in_a_url_is_never_shown(tmp_path):
    repository = GitRepository(
        "https://robot:hunter2@127.0.0.1:1/policy.git",
        mirror=tmp_path / "mirror.git",
        branch="main",
        fetch_timeout_seconds=10.0,
    )
    with pytest.raises(RepositoryUnavailableError) as refused:
        await repository.fetch()
    assert "hunter2" not in refused.value.diagnostics()


@pytest.mark.parametrize("branch", ["--upload-pack=x", "-x", "main:refs/heads/other", "a b", "*", "refs/../x"])
async def test_a_branch_name_like_an_option_or_refspec_is_refused(remote, tmp_path, branch):
    with pytest.raises(UnknownRevisionError):
        GitRepository(str(remote.path), mirror=tmp_path / "m", branch=branch, fetch_timeout_seconds=1.0)


async def test_branches_of_the_remote_with_hostile_names_are_only_names(remote, tmp_path):
    remote.git("update-ref", "refs/heads/--upload-pack=touch;x", remote.head())
    remote.git("update-ref", "refs/heads/$(touch)", remote.head())
    assert (await read(remote, tmp_path)).files == MINIMAL_FILES


async def test_a_submodule_is_refused(remote, tmp_path):
    remote.git("update-index", "--add", "--cacheinfo", f"160000,{remote.head()},rego/vendor")
    remote.git("commit", "--quiet", "-m", "submodule")
    assert "rego/vendor: a submodule is not allowed" in await refusal(remote, tmp_path)


async def test_a_hostile_gitmodules_file_fetches_and_runs_nothing(remote, tmp_path, canary):
    hostile = f'[submodule "x"]\n\tpath = x\n\turl = ext::sh -c touch% {canary}\n\tupdate = !touch {canary}\n'
    remote.commit({".gitmodules": hostile.encode()})
    with pytest.raises(RepositoryUnavailableError, match="gitmodules"):
        await read(remote, tmp_path)  # git's own check of objects refuses this one
    remote.git("reset", "--quiet", "--hard", "HEAD~1")
    remote.commit({".gitmodules": f'[submodule "x"]\n\tpath = x\n\turl = file://{tmp_path}/secret\n'.encode()})
    assert (await read(remote, tmp_path)).files == MINIMAL_FILES
    assert not canary.exists()
    assert not (tmp_path / "mirror.git" / "modules").exists()


@pytest.mark.parametrize("name", ["rego/aisecops/link.rego", "data/link.yaml", "link", "bundle.yaml"])
async def test_a_symbolic_link_is_refused_wherever_it_is(remote, tmp_path, name):
    (remote.path / name).unlink(missing_ok=True)
    (remote.path / name).symlink_to("/etc/passwd")
    remote.git("add", "--all")
    remote.git("commit", "--quiet", "-m", "link")
    assert f"{name}: a symbolic link is not allowed" in await refusal(remote, tmp_path)


async def test_a_directory_that_is_a_link_is_refused(remote, tmp_path):
    (remote.path / "rego" / "aisecops" / "rules").symlink_to("/etc", target_is_directory=True)
    remote.git("add", "--all")
    remote.git("commit", "--quiet", "-m", "link")
    assert "symbolic link" in await refusal(remote, tmp_path)


@pytest.mark.parametrize("name", [b"..", b".", b".git", b".GIT", b"a/../../etc", b"/etc/passwd", b""])
async def test_a_name_that_leaves_the_tree_is_refused_by_git_and_by_us(remote, tmp_path, name):
    evil = remote.raw_tree(("100644", b"x.rego", remote.blob(b"package x\n")))
    remote.commit_entries(("40000", name, evil))
    await refusal(remote, tmp_path)
    listing = b"100644 blob %b 9\t%b\x00" % (b"0" * 40, b"rego/" + name + b"/x.rego")
    with pytest.raises(BundleRejectedError, match="leaves the tree"):
        policy_entries(listing, commit="0" * 40)


@pytest.mark.parametrize("name", [b"a\nb.rego", b"a\x1b[2Jb.rego", b"a\\..\\b.rego", "a\u202eb.rego".encode()])
async def test_a_name_with_control_characters_is_refused(remote, tmp_path, name):
    remote.commit_entries(("100644", name, remote.blob(b"package x\n")))
    message = await refusal(remote, tmp_path)
    assert "control characters" in message
    assert message.isprintable()


async def test_a_name_that_is_not_utf8_is_refused(remote, tmp_path):
    remote.commit_entries(("100644", b"caf\xe9.rego", remote.blob(b"package x\n")))
    assert "not UTF-8" in await refusal(remote, tmp_path)


@pytest.mark.parametrize(("one", "other"), [("Agents.yaml", "agents.yaml"), ("é.yaml", "e\u0301.yaml")])
async def test_names_that_differ_only_by_case_or_accents_are_refused(remote, tmp_path, one, other):
    blob = remote.blob(b"a: 1\n")
    data = remote.raw_tree(*sorted(("100644", name.encode(), blob) for name in (one, other)))
    remote.commit_entries(("40000", b"data", data))
    assert "only by case or accents" in await refusal(remote, tmp_path)


@pytest.mark.parametrize("name", ["rego/aisecops/x.so", "data/tables.csv", "rego/run.sh", "rego/aisecops/Makefile"])
async def test_a_file_of_a_foreign_kind_beside_policy_is_refused(remote, tmp_path, name):
    remote.commit({name: b"x"})
    assert f"{name}: a file of kind" in await refusal(remote, tmp_path)


async def test_attributes_and_filters_change_no_byte_and_leave_no_file_out(remote, tmp_path, canary):
    program = tmp_path / "filter"
    script(program, canary)
    rule = b"package aisecops.x\r\n\r\n# $Id$ \xc3\xa4\r\n"
    attributes = b"* text eol=lf ident filter=evil working-tree-encoding=UTF-16\nrego/** export-ignore export-subst\n"
    remote.git("config", "core.autocrlf", "false")
    blob = remote.blob(rule)
    remote.git("update-index", "--add", "--cacheinfo", f"100644,{blob},rego/aisecops/x.rego")
    remote.git("update-index", "--add", "--cacheinfo", f"100644,{remote.blob(attributes)},.gitattributes")
    remote.git("update-index", "--add", "--cacheinfo", f"100644,{remote.blob(attributes)},rego/.gitattributes")
    remote.git("commit", "--quiet", "-m", "attributes")
    remote.git("config", "filter.evil.smudge", str(program))
    remote.git("config", "filter.evil.clean", str(program))
    tree = await read(remote, tmp_path)
    assert tree.files == {**MINIMAL_FILES, "rego/aisecops/x.rego": rule}
    assert not canary.exists()


async def test_the_executable_bit_is_dropped(remote, tmp_path):
    (remote.path / "bundle.yaml").chmod(0o755)
    remote.git("commit", "--quiet", "--all", "-m", "executable")
    assert (await read(remote, tmp_path)).files == MINIMAL_FILES


async def test_a_file_that_is_too_large_is_refused(remote, tmp_path):
    remote.commit({"data/large.yaml": b"#" * (MAX_FILE_BYTES + 1)})
    assert "data/large.yaml: the file has 1,048,577 bytes" in await refusal(remote, tmp_path)


async def test_a_large_file_where_no_policy_is_read_does_no_harm(remote, tmp_path):
    remote.commit({"docs/video.bin": b"\x00" * (8 * MAX_FILE_BYTES)})
    assert (await read(remote, tmp_path)).files == MINIMAL_FILES


async def test_policy_that_is_too_large_together_is_refused(remote, tmp_path):
    remote.commit({f"data/t{n}.yaml": b"#" * MAX_FILE_BYTES for n in range(33)})
    assert "32 MiB together" in await refusal(remote, tmp_path)


async def test_a_commit_whose_first_line_has_no_end_is_refused_with_what_to_do(remote, tmp_path):
    (tmp_path / "message").write_text("x" * 3_000_000)
    remote.git("commit", "--quiet", "--allow-empty", "-F", str(tmp_path / "message"))
    repository = mirrored(remote, tmp_path)
    await repository.fetch()
    for reading in (
        repository.head,
        lambda: repository.commits(after="", limit=10),
        lambda: repository.commit(remote.head()),
    ):
        with pytest.raises(BundleRejectedError, match="first line of a commit's message is too long") as refused:
            await reading()
        assert "shorter" in refused.value.hint


async def test_a_tree_with_too_many_files_is_refused(remote, tmp_path):
    blob = remote.blob(b"")
    names = sorted(f"f{n}".encode() for n in range(MAX_ENTRIES + 1))
    remote.commit_entries(*(("100644", name, blob) for name in names))
    assert "4,096 files" in await refusal(remote, tmp_path)


async def test_a_tree_that_unfolds_to_billions_of_files_is_refused_without_unfolding_it(remote, tmp_path):
    tree = remote.raw_tree(("100644", b"f.yaml", remote.blob(b"")))
    for _ in range(10):
        tree = remote.raw_tree(*(("40000", b"d%d" % n, tree) for n in range(10)))
    remote.commit_tree(tree)
    assert "too many files" in await refusal(remote, tmp_path)


async def test_a_pack_larger_than_the_limit_ends_the_fetch_and_leaves_nothing_behind(remote, tmp_path):
    repository = mirrored(remote, tmp_path)
    await repository.fetch()
    before = await repository.head()
    noise = b"".join(zlib.crc32(b"%d" % n).to_bytes(4, "big") for n in range(200_000))
    remote.commit({"docs/noise.bin": noise})
    repository._fetch_bounds = Bounds(seconds=20.0, file_bytes=64 * 1024)
    with pytest.raises(RepositoryUnavailableError):
        await repository.fetch()
    assert await repository.head() == before
    assert list((tmp_path / "mirror.git" / "objects" / "pack").glob("tmp_*")) == []


async def test_a_damaged_object_ends_the_fetch(remote, tmp_path):
    repository = mirrored(remote, tmp_path)
    await repository.fetch()
    before = await repository.head()
    commit = remote.git("cat-file", "commit", remote.head()).encode() + b"\n"
    broken = commit.replace(b"author Ada Author <ada@example.invalid> ", b"author Ada Author <ada@example.invalid> x")
    evil = remote.git("hash-object", "-t", "commit", "-w", "--stdin", "--literally", stdin=broken)
    remote.git("update-ref", "refs/heads/main", evil)
    with pytest.raises(RepositoryUnavailableError):
        await repository.fetch()
    assert await repository.head() == before


async def test_replacement_references_change_nothing_that_is_read(remote, tmp_path):
    honest = remote.git("rev-parse", "HEAD:bundle.yaml")
    remote.git("replace", honest, remote.blob(b"name: replaced\n"))
    assert (await read(remote, tmp_path)).files == MINIMAL_FILES


@pytest.mark.parametrize("commit_id", ["main", "", "--all", "f" * 41, "F" * 40])
async def test_trees_are_read_by_whole_commit_id_only(remote, tmp_path, commit_id):
    repository = mirrored(remote, tmp_path)
    await repository.fetch()
    with pytest.raises(AisecopsError):
        await repository.tree(CommitId(commit_id))
