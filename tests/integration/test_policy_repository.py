"""The mirror of an honest policy repository, and remotes that are away, hung or rewritten."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from aisecops_server.adapters.git.mirror import GitRepository
from aisecops_server.domain.bundles.bundle import CommitId
from aisecops_server.domain.errors import AisecopsError, RepositoryUnavailableError, UnknownRevisionError

from tests.scenes.policy.git_remotes import MINIMAL_FILES, Remote

pytestmark = pytest.mark.asyncio


def mirrored(remote: Path | str, tmp_path: Path, *, branch: str = "main", seconds: float = 20.0) -> GitRepository:
    return GitRepository(
        str(remote), mirror=tmp_path / "state" / "mirror.git", branch=branch, fetch_timeout_seconds=seconds
    )


async def test_a_commit_is_read_with_exactly_its_policy_files(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    commit = remote.commit({"README.md": b"# x\n", "docs/picture.png": b"\x89PNG", "rego/README.md": b"no"})
    repository = mirrored(remote.path, tmp_path)
    await repository.fetch()
    tree = await repository.tree(CommitId(commit))
    assert tree.commit == commit
    assert tree.files == MINIMAL_FILES


async def test_a_commit_says_who_made_it_and_when_with_nothing_that_steers_a_terminal(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    remote.git("commit", "--quiet", "--allow-empty", "--cleanup=verbatim", "-m", "Re\x1b[2Jd\x1f\u202e flag\n\nbody")
    repository = mirrored(remote.path, tmp_path)
    await repository.fetch()
    commit = await repository.commit(await repository.head())
    assert commit.author == "Ada Author"
    assert commit.committed_at_seconds == 1_700_000_000
    assert commit.summary.isprintable()
    assert commit.summary.startswith("Re")


async def test_a_bare_repository_and_a_file_url_are_mirrored_as_a_working_clone_is(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    remote.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    for name, source in (("bare", tmp_path / "bare.git"), ("url", f"file://{tmp_path / 'remote'}")):
        repository = mirrored(source, tmp_path / name)
        await repository.fetch()
        assert await repository.head() == remote.head()


async def test_names_resolve_to_commits_and_unknown_names_say_what_to_do(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    remote.git("tag", "-a", "v1", "-m", "one")
    first = remote.head()
    second = remote.commit({"data/more.yaml": b"a: 1\n"})
    repository = mirrored(remote.path, tmp_path)
    await repository.fetch()
    assert await repository.resolve("main") == second
    assert await repository.resolve("v1") == first
    assert await repository.resolve(first[:10]) == first
    assert await repository.resolve(first) == first
    assert await repository.resolve("HEAD") == second
    assert await repository.resolve("HEAD~1") == first
    assert await repository.resolve(f"{second[:8]}~1") == first
    for name in ("nothing", "f" * 40, "abcdef1", "HEAD~9", "v1~1"):
        with pytest.raises(UnknownRevisionError) as refused:
            await repository.resolve(name)
        assert "bundle list" in refused.value.diagnostics()
        assert refused.value.message.endswith(f" {name}")


@pytest.mark.parametrize(
    "name",
    [
        *("--upload-pack=touch x", "-h", "", "a..b", "main@{1}", "HEAD^", "main~", "main~x", "main~1~1", "main~999999"),
        *("x:y", "a b", "a\nb", "../x", "x.lock"),
    ],
)
async def test_a_name_that_git_could_take_for_something_else_never_reaches_it(tmp_path, name):
    repository = mirrored(Remote.make(tmp_path / "remote").path, tmp_path)
    await repository.fetch()
    with pytest.raises(UnknownRevisionError):
        await repository.resolve(name)


async def test_a_tag_on_something_that_is_no_commit_is_unknown(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    remote.git("tag", "blob", remote.blob(b"x"))
    repository = mirrored(remote.path, tmp_path)
    await repository.fetch()
    with pytest.raises(UnknownRevisionError):
        await repository.resolve("blob")


async def test_commits_are_paged_newest_first_without_gap_or_repetition(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    made = [remote.head(), *(remote.commit({"data/n.yaml": b"n: %d\n" % n}, f"c{n}") for n in range(6))][::-1]
    repository = mirrored(remote.path, tmp_path)
    await repository.fetch()
    read: list[str] = []
    while page := await repository.commits(after=read[-1] if read else "", limit=3):
        read += [commit.id for commit in page]
    assert read == made


async def test_descent_is_known_between_any_two_commits(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    first = CommitId(remote.head())
    second = CommitId(remote.commit({"data/n.yaml": b"n: 1\n"}))
    repository = mirrored(remote.path, tmp_path)
    await repository.fetch()
    assert await repository.is_descendant(second, of=first)
    assert await repository.is_descendant(first, of=first)
    assert not await repository.is_descendant(first, of=second)
    with pytest.raises(UnknownRevisionError):
        await repository.is_descendant(first, of=CommitId("f" * 40))


async def test_rewritten_history_moves_the_head_and_the_old_commit_stays_readable(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    first = remote.head()
    old = CommitId(remote.commit({"data/n.yaml": b"n: 1\n"}))
    repository = mirrored(remote.path, tmp_path)
    await repository.fetch()
    remote.git("reset", "--quiet", "--hard", first)
    new = CommitId(remote.commit({"data/n.yaml": b"n: 2\n"}))
    await repository.fetch()
    assert await repository.head() == new
    assert not await repository.is_descendant(new, of=old)
    assert (await repository.tree(old)).files["data/n.yaml"] == b"n: 1\n"


async def test_many_fetches_leave_few_packs_and_lose_no_commit(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    first = CommitId(remote.head())
    repository = mirrored(remote.path, tmp_path)
    for n in range(60):
        remote.git("commit", "--quiet", "--amend", "--allow-empty", "-m", f"rewritten {n}")
        await repository.fetch()
        if n == 0:
            rewritten = CommitId(remote.head())
    packs = list((tmp_path / "state" / "mirror.git" / "objects" / "pack").glob("*.pack"))
    assert len(packs) <= 51
    assert (await repository.commit(rewritten)).summary == "rewritten 0"
    with pytest.raises(UnknownRevisionError):
        await repository.commit(first)  # amended away before the first fetch


async def test_a_missing_remote_is_an_error_that_says_what_stays(tmp_path):
    with pytest.raises(RepositoryUnavailableError, match="no such directory") as refused:
        await mirrored(tmp_path / "nowhere", tmp_path).fetch()
    assert "last good revision stays live" in refused.value.diagnostics()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
async def test_a_directory_of_somebody_else_is_refused_with_what_to_do(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    for path in (remote.path, remote.path / ".git"):
        os.chown(path, 65534, 65534)
    with pytest.raises(RepositoryUnavailableError, match="dubious ownership") as refused:
        await mirrored(remote.path, tmp_path).fetch()
    assert "give the directory to the user" in refused.value.diagnostics()


async def test_a_remote_that_went_away_leaves_what_was_mirrored(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    head = remote.head()
    repository = mirrored(remote.path, tmp_path)
    await repository.fetch()
    remote.path.rename(tmp_path / "gone")
    with pytest.raises(RepositoryUnavailableError):
        await repository.fetch()
    assert await repository.head() == head
    assert (await repository.tree(CommitId(head))).files == MINIMAL_FILES


async def test_nothing_is_known_before_the_first_fetch(tmp_path):
    repository = mirrored(Remote.make(tmp_path / "remote").path, tmp_path)
    with pytest.raises(UnknownRevisionError):
        await repository.head()


async def test_a_branch_that_does_not_exist_is_named(tmp_path):
    repository = mirrored(Remote.make(tmp_path / "remote").path, tmp_path, branch="release")
    await repository.fetch()
    with pytest.raises(UnknownRevisionError, match="no branch release"):
        await repository.head()


async def test_a_hung_remote_is_killed_with_all_its_children_and_the_mirror_stays(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    await mirrored(remote.path, tmp_path).fetch()
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, and never answers
        port = listener.getsockname()[1]
        hung = mirrored(f"https://127.0.0.1:{port}/policy.git", tmp_path, seconds=0.5)
        with pytest.raises(RepositoryUnavailableError, match="did not end within"):
            await hung.fetch()
        assert _connections_end(listener)
    assert await hung.head() == remote.head()


def _connections_end(listener: socket.socket) -> bool:
    """Whether the only client is gone: its connection ends instead of staying open."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(10)
        while connection.recv(4096):
            pass
    return True


async def test_what_a_killed_fetch_leaves_behind_keeps_no_later_fetch_out(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    repository = mirrored(remote.path, tmp_path)
    await repository.fetch()
    mirror = tmp_path / "state" / "mirror.git"
    left = [mirror / name for name in ("packed-refs.lock", "refs/heads/main.lock", "objects/pack/tmp_pack_x")]
    for file in left:
        file.write_bytes(b"")
    pushed = remote.commit({"data/n.yaml": b"n: 1\n"})
    await repository.fetch()
    assert await repository.head() == pushed
    assert not any(file.exists() for file in left)


async def test_two_fetches_at_once_do_not_disturb_each_other(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    repository = mirrored(remote.path, tmp_path)
    await asyncio.gather(*(repository.fetch() for _ in range(4)))
    assert await repository.head() == remote.head()


async def test_an_object_that_was_changed_in_the_mirror_is_not_believed(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    repository = mirrored(remote.path, tmp_path)
    await repository.fetch()
    pack = next((tmp_path / "state" / "mirror.git" / "objects" / "pack").glob("*.pack"))
    pack.chmod(0o600)
    content = bytearray(pack.read_bytes())
    content[20:-20] = bytes(byte ^ 0x55 for byte in content[20:-20])
    pack.write_bytes(content)
    with pytest.raises(AisecopsError):
        await repository.tree(CommitId(remote.head()))


async def test_each_commit_is_read_as_itself_whichever_was_read_before(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    made = [CommitId(remote.head())]
    changes = (
        {"data/n.yaml": b"n: 1\n"},
        {"data/n.yaml": b"n: 2\n", "data/m.yaml": b"n: 1\n"},
        {"data/n.yaml": b"n: 1\n"},
    )
    made += [CommitId(remote.commit(change)) for change in changes]
    repository = mirrored(remote.path, tmp_path)
    await repository.fetch()
    alone = {}
    for commit in made:
        other = mirrored(remote.path, tmp_path / commit)
        await other.fetch()
        alone[commit] = (await other.tree(commit)).files
    assert [alone[commit].get("data/n.yaml") for commit in made] == [None, b"n: 1\n", b"n: 2\n", b"n: 1\n"]
    for commit in (*made, *reversed(made), made[2], made[0], made[3], made[1]):
        assert (await repository.tree(commit)).files == alone[commit]


async def test_what_was_read_of_one_commit_does_not_stand_in_for_a_missing_object_of_another(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    first = CommitId(remote.head())
    second = CommitId(remote.commit({"data/n.yaml": b"n: 1\n"}))
    repository = mirrored(remote.path, tmp_path)
    await repository.fetch()
    before = (await repository.tree(first)).files
    packs = tmp_path / "state" / "mirror.git" / "objects" / "pack"
    for pack in packs.glob("*.pack"):
        pack.chmod(0o600)
        content = bytearray(pack.read_bytes())
        content[20:-20] = bytes(byte ^ 0x55 for byte in content[20:-20])
        pack.write_bytes(content)
    with pytest.raises(AisecopsError):
        await repository.tree(second)
    assert before == MINIMAL_FILES


async def test_the_head_that_was_found_is_itself_after_the_branch_moved(tmp_path):
    remote = Remote.make(tmp_path / "remote")
    first = CommitId(remote.head())
    repository = mirrored(remote.path, tmp_path)
    await repository.fetch()
    assert await repository.head() == first
    remote.git("commit", "--quiet", "--amend", "--allow-empty", "-m", "Another one")
    amended = CommitId(remote.head())
    await repository.fetch()
    assert (await repository.commit(first)).summary != "Another one"
    assert await repository.head() == amended
    assert await repository.resolve(amended) == amended
    assert (await repository.commit(amended)).summary == "Another one"
    assert (await repository.commit(first)).id == first
    assert not await repository.is_descendant(amended, of=first)
    second = CommitId(remote.commit({"data/n.yaml": b"n: 1\n"}))
    third = CommitId(remote.commit({"data/n.yaml": b"n: 2\n"}))
    await repository.fetch()
    assert await repository.head() == third
    for ancestor in (third, second, amended):
        assert await repository.is_descendant(third, of=ancestor)
    assert not await repository.is_descendant(third, of=first)
