"""Whoever may push a branch or a tag chooses its name; none is taken for a commit that somebody else meant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from aisecops_server.adapters.git.checkout import Checkout
from aisecops_server.adapters.git.mirror import GitRepository
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.domain.errors import UnknownRevisionError

from tests.scenes.policy.git_remotes import Remote
from tests.scenes.policy.policy_repositories import Clone

pytestmark = pytest.mark.timeout(120)


class Places:
    """A remote with two commits on main, and the two places in which names of it are looked up."""

    def __init__(self, root: Path) -> None:
        self.clone = Clone.make(root, {"bundle.yaml": b"name: test\n"})
        self.good = self.clone.work.head()
        self.clone.write({"data/open.yaml": "everything: true\n"})
        self.bad = self.clone.commit("everything is let through")
        self.root = root

    def push(self, reference: str, commit: str) -> None:
        """Push something under a name that no honest person chooses."""
        self.clone.work.git("push", "--quiet", "--force", "origin", f"{commit}:{reference}")

    def looked_up(self, name: str) -> tuple[str, str]:
        """Return what a name means in the mirror and in somebody's fresh clone, or why it means nothing."""
        mirror = GitRepository(
            str(self.clone.remote), mirror=self.root / "m" / "mirror.git", branch="main", fetch_timeout_seconds=30
        )
        fresh = self.root / "fresh"
        if not fresh.exists():
            self.clone.again(fresh)
        Remote(fresh).git("fetch", "--quiet", "--tags", "--force", "origin")

        async def there() -> str:
            await mirror.fetch()
            return await mirror.resolve(name)

        return _told(lambda: asyncio.run(there())), _told(lambda: Checkout(fresh).commit_id(name))


def _told(look_up: Callable[[], str]) -> str:
    try:
        return str(look_up())
    except UnknownRevisionError as error:
        return error.message


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


@pytest.mark.parametrize("kind", ["heads", "tags"])
def test_what_is_called_like_a_commit_id_is_never_taken_for_that_commit(places: Places, kind: str) -> None:
    short = places.good[:9]
    assert places.looked_up(short) == (places.good, places.good)
    # Git refuses a whole id as the name of a branch that it makes, and takes it as one that is pushed.
    places.push(f"refs/{kind}/{places.good}", places.bad)
    places.push(f"refs/{kind}/{short}", places.bad)
    assert places.looked_up(places.good) == (places.good, places.good)
    for told in places.looked_up(short):
        assert told == f"{short} is the name of several commits: {places.bad[:12]}, {places.good[:12]}"
    assert all("several commits" in told for told in places.looked_up(f"{short}~1"))


def test_a_branch_that_is_called_like_a_release_is_not_that_release(places: Places) -> None:
    places.push("refs/tags/v1.2", places.good)
    assert places.looked_up("v1.2") == (places.good, places.good)
    places.push("refs/heads/v1.2", places.bad)
    assert all("several commits" in told for told in places.looked_up("v1.2"))
    # What means the same by both names is one.
    places.push("refs/heads/v1.2", places.good)
    assert places.looked_up("v1.2") == (places.good, places.good)


def test_a_tag_that_is_called_like_the_branch_that_is_followed_changes_nothing_that_is_followed(places: Places) -> None:
    places.push("refs/tags/main", places.good)
    assert all("several commits" in told for told in places.looked_up("main"))
    mirrored, checked_out = places.looked_up("HEAD")
    assert (mirrored, checked_out) == (places.bad, places.bad)


def test_a_branch_that_is_called_like_a_proposal_is_not_that_proposal(tmp_path: Path) -> None:
    places = Places(tmp_path)
    places.push("refs/pull/7/head", places.good)
    places.push("refs/heads/pull/7", places.bad)
    mirror = GitRepository(
        str(places.clone.remote), mirror=tmp_path / "mirror.git", branch="main", fetch_timeout_seconds=30
    )

    async def looked_up() -> str:
        await mirror.fetch(proposal="pull/7")
        return await mirror.resolve("pull/7")

    with pytest.raises(UnknownRevisionError, match="several commits"):
        asyncio.run(looked_up())


def test_what_is_announced_is_the_commit_whose_id_was_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.integration.policy.test_announcing import Desk  # noqa: PLC0415 - its fixtures are not this file's

    desk = Desk(tmp_path, capsys)
    good = desk.site.clone.work.head()
    bad = desk.site.commit("two")
    desk.site.clone.work.git("push", "--quiet", "origin", f"{bad}:refs/tags/{good}", f"{bad}:refs/tags/{good[:10]}")
    desk.site.clone.work.git("fetch", "--quiet", "--tags", "origin")
    assert desk.announce(good)["commit"] == good
    assert "several commits" in str(desk.announce(good[:10], code=ExitCode.NOT_FOUND)["said"])
