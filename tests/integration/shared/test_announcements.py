"""What was announced last is kept by all control planes on a database together, and only moves forward."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
from aisecops_server.adapters.postgres.activation_state import SharedActivation
from aisecops_server.adapters.sqlite.activation_state import ActivationState
from aisecops_server.bootstrap.databases import import_state
from aisecops_server.domain.bundles.announcement import Announced, Announcement
from aisecops_server.domain.bundles.bundle import CommitId
from aisecops_server.domain.errors import BundleRejectedError, LogUnavailableError

from tests.scenes.policy.channels import CHANNEL, Site, following, live
from tests.scenes.servers.postgres_servers import PostgresServer

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(280)]

Store = ActivationState | SharedActivation
Open = Callable[[], Store]


def word(counter: int, *, channel: str = CHANNEL, content: str = "a") -> Announced:
    made = Announcement(channel, CommitId("1" * 40), content * 64, counter, 1_800_000_000, 1_800_003_600)
    return Announced(made, f"{counter:064x}", "0123456789abcdef")


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    return postgres.database()


@pytest.fixture(params=["a file", "a database"])
def store(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> Open:
    if request.param == "a file":
        return lambda: ActivationState(tmp_path / "activation.db")
    url = postgres.url(postgres.database())
    return lambda: SharedActivation(url)


async def test_what_counted_last_is_known_to_who_opens_it_later_and_never_falls(store: Open) -> None:
    one = store()
    assert await one.announced(CHANNEL) is None
    assert await one.advance(word(7))
    assert await one.advance(word(1, channel="dev"))
    one.close()
    other = store()
    assert await other.announced(CHANNEL) == word(7)
    for late in (word(6), word(7), replace(word(7), digest="f" * 64)):
        assert not await other.advance(late)
    assert await other.announced(CHANNEL) == word(7)
    assert await other.advance(word(8, content="b"))
    assert await other.announced(CHANNEL) == word(8, content="b")
    assert await other.announced("dev") == word(1, channel="dev")
    other.close()


async def test_of_many_who_announce_at_once_the_highest_counts(store: Open) -> None:
    stores = [store() for _ in range(4)]
    tries = [each.advance(word(number)) for number in range(1, 9) for each in stores]
    advanced = await asyncio.gather(*tries)
    assert 0 < sum(advanced) <= 8
    assert [await each.announced(CHANNEL) for each in stores] == [word(8)] * 4
    for each in stores:
        each.close()


async def test_no_statement_turns_a_number_back(tmp_path: Path, postgres: PostgresServer, database: str) -> None:
    assert await SharedActivation(postgres.url(database)).advance(word(7))
    for statement in ("UPDATE aisecops.announcement SET counter = 3", "DELETE FROM aisecops.announcement"):
        with pytest.raises(Exception, match="only moves forward"):
            await asyncio.to_thread(postgres.run, statement, database)
    kept = ActivationState(tmp_path / "activation.db")
    assert await kept.advance(word(7))
    kept.close()
    connection = apsw.Connection(str(tmp_path / "activation.db"))
    with pytest.raises(apsw.ConstraintError, match="only moves forward"):
        connection.execute("UPDATE announcement SET counter = 3")
    connection.close()


async def test_a_database_that_is_away_lets_nothing_be_wanted(
    postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    site = Site.make(tmp_path)
    site.announce()
    shared = SharedActivation(postgres.url(database))
    async with following(site, store=shared) as follower:
        await follower.wanted()
        follower.channel.store = SharedActivation(postgres.url("nowhere"))
        with pytest.raises(LogUnavailableError):
            await follower.wanted()
        with pytest.raises(LogUnavailableError):
            await follower.channel.require(CommitId(site.clone.work.head()))


async def test_what_one_control_plane_accepted_holds_at_the_others(
    postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    site = Site.make(tmp_path)
    settings = site.settings(database_url=postgres.url(database))
    first = site.clone.work.head()
    site.announce()
    older = site.held()
    async with site.plane(settings) as one:
        await one.policy.sync()
        shutil.copytree(settings.state_dir / "keys", tmp_path / "other" / "keys")
        async with site.plane(settings.model_copy(update={"state_dir": tmp_path / "other"})) as two:
            await two.policy.sync()
            assert live(two) == first
            second = site.commit("two")
            site.announce()
            await one.policy.sync()
            # The branch is set back before the other one reads it.
            site.put(older)
            with pytest.raises(BundleRejectedError, match="was rolled back: it has the number 1, after 2"):
                await two.policy.sync()
            site.announce(second, counter=3)
            await two.policy.sync()
            assert (live(one), live(two)) == (second, second)


async def test_what_was_announced_moves_into_a_database_with_the_log(
    postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    site = Site.make(tmp_path)
    announced = site.announce()
    async with site.plane() as plane:
        await plane.policy.sync()
    url = postgres.url(database)
    settings = site.settings(database_url=url)
    await asyncio.to_thread(import_state, settings, lambda _done, _of: None, lambda _done, _of: None)
    assert await SharedActivation(url).announced(CHANNEL) == announced
