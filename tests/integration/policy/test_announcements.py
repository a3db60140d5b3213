"""A channel whose word is required: only what it announces becomes live, and who may push cannot turn it back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aisecops_client.errors import AisecopsClientError
from aisecops_server.adapters.git.announcing import AnnouncementBranch
from aisecops_server.domain.bundles.announcement import MOST_BYTES, MOST_HOURS, SKEW_SECONDS, Announced, channel_branch
from aisecops_server.domain.bundles.bundle import CommitId
from aisecops_server.domain.bundles.channel_standing import ChannelState, standing_of
from aisecops_server.domain.errors import (
    AisecopsError,
    BundleRejectedError,
    ContendedError,
    InvalidRequestError,
    NoLiveRevisionError,
    NotPermittedError,
)
from aisecops_server.domain.rollouts.rollout import Selector
from aisecops_server.usecases.bundles.activate import ActivateCommand, Order
from aisecops_server.usecases.rollouts.rollouts import StartCommand

from tests.scenes.policy.channels import AGENT, CHANNEL, Site, asked, following, harmless, live, state, told

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

ADA = Order("ada@corp.example", "it is right")
DAY = 24 * 3600


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.make(tmp_path)


async def test_only_what_the_channel_announces_becomes_live(site: Site) -> None:
    first = site.clone.work.head()
    async with site.plane() as plane:
        with pytest.raises(BundleRejectedError, match="has no channels/prod"):
            await plane.policy.sync()
        with pytest.raises(NoLiveRevisionError):
            live(plane)
        site.announce()
        await plane.policy.sync()
        assert (live(plane), state(plane)) == (first, ChannelState.CURRENT)
        second = site.commit("two")
        status = await plane.policy.sync()
        assert (live(plane), status.wanted, status.problem) == (first, first, "")
        announced = site.announce()
        assert announced.announcement.counter == 2
        await plane.policy.sync()
        assert live(plane) == second
        channel = plane.policy.status().channel
        assert channel is not None
        assert channel.last == announced
        assert await told(plane, "announcement") == [
            *("announcement.refused", "announcement.accepted", "announcement.accepted"),
        ]
        # The channel is read as often as anybody likes, and says it once.
        await plane.policy.sync()
        assert len(await told(plane, "announcement", "bundle")) == 5


async def test_nobody_makes_live_by_hand_what_is_not_announced(site: Site) -> None:
    site.announce()
    async with site.plane() as plane:
        await plane.policy.sync()
        first, second = live(plane), site.commit("two")
        for name in (second, "main"):
            with pytest.raises(NotPermittedError, match="is not what the channel prod announces"):
                await plane.policy.activate(ActivateCommand(name, ADA))
        site.announce()
        await plane.policy.sync()
        # What was refused by hand is not held against the commit.
        assert live(plane) == second
        with pytest.raises(NotPermittedError, match="is not what") as refused:
            await plane.policy.rollback(ADA)
        assert "policy announce" in refused.value.hint
        assert (live(plane), "is not what" in plane.policy.status().problem) == (second, True)
        assert (await told(plane, "bundle")).count("bundle.rejected") == 3
        rollouts = plane.rollouts
        assert rollouts is not None
        # To watch a commit needs no word; to let it decide for anybody does.
        await rollouts.start(StartCommand(first, ADA))
        with pytest.raises(NotPermittedError):
            await rollouts.canary(Selector(percent=100), ADA)
        with pytest.raises(NotPermittedError):
            await rollouts.promote(Order("ada", "at any price"), force=True)
        assert (rollouts.engine_for(AGENT), live(plane)) == (None, second)
        site.announce(first)
        await plane.policy.sync()
        await rollouts.canary(Selector(percent=100), ADA)
        assert rollouts.engine_for(AGENT) is not None


async def test_going_back_is_a_new_word_that_names_an_older_commit(site: Site) -> None:
    first = site.clone.work.head()
    site.announce()
    async with site.plane() as plane:
        await plane.policy.sync()
        second = site.commit("two")
        site.announce()
        await plane.policy.sync()
        site.announce(first)
        await plane.policy.sync()
        assert live(plane) == first
        await plane.policy.sync()
        assert live(plane) == first
    # And forward again, also over a restart that remembers the second one as what was live before.
    async with site.plane() as plane:
        await plane.policy.sync()
        assert live(plane) == first
        site.announce(second)
        await plane.policy.sync()
        assert live(plane) == second


Attack = Callable[[Site, bytes], None]


def altered(change: Callable[[Announced], Announced], *, key: str = "channel") -> Attack:
    def put(site: Site, _older: bytes) -> None:
        last = site.announce(hours=48)
        site.put(site.sign(change(last).announcement, key))

    return put


def forged_counter(site: Site, _older: bytes) -> None:
    content = site.held()
    other = site.sign(replace(site.announce().announcement, counter=1 << 40), "channel")
    signatures = content.partition(b'"signatures"')[2]
    site.put(other.partition(b'"signatures"')[0] + b'"signatures"' + signatures)


def of_another_channel(site: Site, _older: bytes) -> None:
    announced = site.announce(channel="dev")
    site.put(site.sign(replace(announced.announcement, counter=99)))


ATTACKS: dict[str, tuple[Attack, str]] = {
    "an old state of the branch": (lambda site, older: site.put(older), "rollback"),
    "the same number for another commit": (
        altered(lambda each: replace(each, announcement=replace(each.announcement, counter=2))),
        "fork",
    ),
    "a key that nobody lists": (
        altered(lambda each: replace(each, announcement=replace(each.announcement, counter=9)), key="mallory"),
        "key",
    ),
    "a number that was written in afterwards": (forged_counter, "key"),
    "what another channel announces": (of_another_channel, "channel"),
    "what is issued in the future": (
        altered(
            lambda each: replace(
                each,
                announcement=replace(
                    each.announcement,
                    counter=9,
                    issued_at_seconds=each.announcement.issued_at_seconds + SKEW_SECONDS + 60,
                    expires_at_seconds=each.announcement.expires_at_seconds + SKEW_SECONDS + 60,
                ),
            )
        ),
        "clock",
    ),
    "what ended before it came": (
        altered(
            lambda each: replace(
                each,
                announcement=replace(
                    each.announcement,
                    counter=9,
                    issued_at_seconds=each.announcement.issued_at_seconds - DAY,
                    expires_at_seconds=each.announcement.issued_at_seconds,
                ),
            )
        ),
        "expired",
    ),
    "what counts for years": (
        altered(
            lambda each: replace(
                each,
                announcement=replace(
                    each.announcement,
                    counter=9,
                    expires_at_seconds=each.announcement.issued_at_seconds + MOST_HOURS * 3600 + 1,
                ),
            )
        ),
        "lifetime",
    ),
    "another content of the commit": (
        altered(lambda each: replace(each, announcement=replace(each.announcement, counter=9, content="0" * 64))),
        "content",
    ),
    "a commit that is not there": (
        altered(lambda each: replace(each, announcement=replace(each.announcement, counter=9, commit="0" * 40))),  # type: ignore[arg-type]
        "unknown",
    ),
    "no announcement at all": (
        lambda site, _older: site.clone.work.git("push", "-q", "origin", f":{channel_branch(CHANNEL)}") and None,
        "missing",
    ),
    "rubbish": (lambda site, _older: site.put(b"{" * 100), "form"),
    "a large file": (lambda site, _older: site.put(b" " * 2 * MOST_BYTES), ""),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_what_somebody_who_may_push_puts_there_is_refused_told_once_and_gone_with_the_next_word(
    site: Site, attack: str
) -> None:
    put, cause = ATTACKS[attack]
    site.announce()
    older = site.held()
    async with following(site) as follower:
        await follower.wanted()
        base = site.commit("two")
        last = site.announce()
        assert await follower.wanted() == base
        # Somebody else commits, and does what can be done without a key of the channel.
        site.commit("evil")
        put(site, older)
        for _ in range(3):
            with pytest.raises(BundleRejectedError):
                await follower.wanted()
        assert follower.channel.standing().last == last
        [*_, (kind, why)] = follower.told()
        assert (kind, why == cause or not cause) == ("announcement.refused", True)
        assert len(follower.told()) == 3
        # Whoever has the key goes on, by a number of their own.
        last = site.announce(base, counter=50)
        assert await follower.wanted() == base
        assert follower.channel.standing().last == last


async def test_who_may_push_but_has_no_key_changes_nothing_that_decides(site: Site) -> None:
    site.announce()
    older = site.held()
    async with site.plane() as plane:
        await plane.policy.sync()
        base = site.commit("two")
        last = site.announce()
        await plane.policy.sync()
        site.commit("evil")
        # The word itself, set back; and the whole repository as it was.
        site.put(older)
        for rewind in ("HEAD", "HEAD~2"):
            site.clone.work.git("push", "--quiet", "--force", "origin", f"{rewind}:main")
            with pytest.raises(BundleRejectedError, match="was rolled back"):
                await plane.policy.sync()
        status = plane.policy.status()
        assert (live(plane), "was rolled back" in status.problem) == (base, True)
        assert (await told(plane, "announcement")).count("announcement.refused") == 1
        assert status.channel is not None
        assert (status.channel.state, status.channel.last) == (ChannelState.CURRENT, last)


async def test_what_ended_lets_nothing_become_live_that_it_names(site: Site) -> None:
    site.announce(hours=1)
    async with following(site) as follower:
        commit = CommitId(await follower.wanted())
        await follower.channel.require(commit)
        last = follower.channel.standing().last
        assert last is not None
        ends = last.announcement.expires_at_seconds
        site.clock.moved_seconds += ends - site.clock.now()
        with pytest.raises(NotPermittedError, match="ended 0 seconds ago"):
            await follower.channel.require(commit)


@pytest.mark.parametrize(("left", "states"), [(1, ChannelState.CURRENT), (0, ChannelState.FROZEN)])
async def test_a_word_counts_up_to_its_last_second(site: Site, left: int, states: ChannelState) -> None:
    site.announce(hours=1)
    async with following(site) as follower:
        await follower.wanted()
        standing = follower.channel.standing()
        assert standing.last is not None
        at = standing.last.announcement.expires_at_seconds - left
        held = standing_of(
            CHANNEL, standing.last, known=frozenset({standing.last.key_id}), now_seconds=at, grace_seconds=9
        )
        assert held.state is states
        assert (
            standing_of(
                CHANNEL,
                standing.last,
                known=frozenset({standing.last.key_id}),
                now_seconds=at + left + 9,
                grace_seconds=9,
            ).state
            is ChannelState.CLOSED
        )


async def test_a_channel_that_goes_silent_is_frozen_then_closed_and_opens_with_its_next_word(site: Site) -> None:
    site.announce(hours=1)
    async with site.plane(site.settings(frozen_hours=2)) as plane, asked(plane) as client:
        await plane.policy.sync()
        base = live(plane)
        granted = await client.decide(harmless())
        assert granted.allowed
        announced = plane.policy.status().channel
        assert announced is not None
        assert announced.last is not None
        ends = announced.last.announcement.expires_at_seconds

        site.clock.moved_seconds += ends - site.clock.now() - 30
        assert state(plane) is ChannelState.CURRENT
        site.clock.moved_seconds += 31
        assert state(plane) is ChannelState.FROZEN
        await plane.policy.sync()
        assert (live(plane), plane.problem()) == (base, "")
        assert "policy is frozen" in plane.policy.status().problem
        assert (await client.decide(harmless())).allowed
        with pytest.raises(NotPermittedError, match="is not what"):
            await plane.policy.activate(ActivateCommand(site.commit("two"), ADA))

        site.clock.moved_seconds += 2 * 3600
        assert state(plane) is ChannelState.CLOSED
        assert "nothing is allowed" in plane.problem()
        with pytest.raises(AisecopsClientError, match="nothing is allowed"):
            await client.decide(harmless())
        await plane.policy.sync()

        site.announce(base)
        await plane.policy.sync()
        assert (state(plane), plane.problem()) == (ChannelState.CURRENT, "")
        assert (await client.decide(harmless())).allowed
        assert await told(plane, "channel") == ["channel.frozen", "channel.closed", "channel.current"]


async def test_a_grant_of_before_opens_nothing_once_the_channel_is_closed(site: Site) -> None:
    site.announce(hours=1)
    async with site.plane(site.settings(frozen_hours=0, grant_seconds=300)) as plane:
        await plane.policy.sync()
        assert plane.grants.redeem.held() == ""
        site.clock.moved_seconds += 3601
        assert "nothing is allowed" in plane.grants.redeem.held()


async def test_before_the_first_word_nothing_is_allowed_whatever_was_live(site: Site) -> None:
    unsigned = site.settings().model_copy(update={"channel_keys": ()})
    async with site.plane(unsigned) as plane:
        await plane.policy.sync()
        base = live(plane)
    async with site.plane() as plane:
        assert (live(plane), state(plane)) == (base, ChannelState.CLOSED)
        assert "never announced" in plane.problem()
        site.announce()
        await plane.policy.sync()
        assert plane.problem() == ""


async def test_what_counted_last_outlives_a_restart_and_a_remote_that_is_away(site: Site) -> None:
    site.announce()
    older = site.held()
    site.commit("two")
    async with site.plane() as plane:
        await plane.policy.sync()
        site.announce()
        await plane.policy.sync()
        base = live(plane)
    site.put(older)
    async with site.plane() as plane:
        assert (live(plane), state(plane)) == (base, ChannelState.CURRENT)
        with pytest.raises(BundleRejectedError, match="was rolled back: it has the number 1, after 2"):
            await plane.policy.sync()
        assert live(plane) == base
    site.clone.remote.rename(site.root / "away.git")
    site.clock.moved_seconds += DAY + 1
    async with site.plane() as plane:
        with pytest.raises(AisecopsError):
            await plane.policy.sync()
        # Nobody can be reached, and it is noticed all the same.
        assert (live(plane), state(plane)) == (base, ChannelState.FROZEN)
        assert (await told(plane, "channel")) == ["channel.frozen"]


async def test_a_key_is_rotated_by_listing_both_and_counts_no_more_once_it_is_taken_out(site: Site) -> None:
    site.announce()
    async with site.plane() as plane:
        await plane.policy.sync()
    both = site.settings("channel", "new")
    async with site.plane(both) as plane:
        with pytest.raises(BundleRejectedError, match="not signed by a key"):
            site.announce(key="new")
        second = site.commit("two")
        assert site.announce(key="new", known=("channel",)).announcement.counter == 2
        await plane.policy.sync()
        assert live(plane) == second
    async with site.plane(site.settings("new")) as plane:
        await plane.policy.sync()
        assert state(plane) is ChannelState.CURRENT
        site.announce(counter=77)
        with pytest.raises(BundleRejectedError, match="not signed by a key of the channel"):
            await plane.policy.sync()
        assert live(plane) == second
    async with site.plane(site.settings("channel")) as plane:
        # What counted last is signed by a key that is no key of the channel here.
        assert state(plane) is ChannelState.FROZEN


async def test_a_clock_that_went_back_behind_the_last_word_is_noticed(site: Site) -> None:
    site.announce()
    async with following(site) as follower:
        await follower.wanted()
        site.clock.moved_seconds -= SKEW_SECONDS - 60
        assert follower.channel.standing().state is ChannelState.CURRENT
        site.clock.moved_seconds -= 61 + 60
        assert follower.channel.standing().state is ChannelState.FROZEN


async def test_of_two_who_announce_at_once_one_is_told(site: Site) -> None:
    one, other = site, Site(site.root, site.clone.again(site.root / "other"), site.clock)
    one.announce()
    place = AnnouncementBranch(other.clone.path)
    branch = channel_branch(CHANNEL)
    seen = place.newest(branch)
    assert seen is not None
    one.announce()
    with pytest.raises(ContendedError, match="somebody else announced"):
        place.publish(branch, seen, message="late", at_seconds=site.clock.now())
    assert other.announce().announcement.counter == 3


async def test_a_channel_that_cannot_announce_is_told_when_it_starts(site: Site) -> None:
    for name in ("", "Prod", "a/b", "-x", "a..b", "x.lock"):
        with pytest.raises(InvalidRequestError, match="cannot announce"):
            async with site.plane(site.settings(channel=name)):
                pass
    (site.root / "none.pub.pem").write_text("nothing", encoding="utf-8")
    with pytest.raises(InvalidRequestError, match="is not an Ed25519 public key"):
        async with site.plane(site.settings(channel_keys=(site.root / "none.pub.pem",))):
            pass
