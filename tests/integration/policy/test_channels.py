"""What a channel asks of people: several of them for the same change, read from what is live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.bootstrap.serving import serving
from aisecops_server.domain.errors import RolloutRefusedError
from aisecops_server.domain.rollouts.rollout import RolloutStage, Selector
from aisecops_server.settings import Settings
from aisecops_server.usecases.bundles.activate import ActivateCommand, Order
from aisecops_server.usecases.rollouts.rollouts import StartCommand

from tests.integration.api.real import settings_in
from tests.scenes.policy.git_remotes import Remote

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

ADA, BEN = Order("ada@corp.example", "it is right"), Order("ben@corp.example", "I read it")
PEOPLE = b"ada@corp.example: {groups: [], aliases: [ADA.L@corp.example, spiffe://corp.example/human/ada]}\n"
TERMS = "rollout: {seconds: 0, decisions: 0}\n"


def settings_of(root: Path, channel: str, gates: str) -> Settings:
    """Return settings of a control plane of a channel, on the policy that ships with these gates."""
    settings = settings_in(root).model_copy(update={"channel": channel})
    people = (root / "policy/data/people.yaml").read_bytes() + PEOPLE
    Remote(root / "policy").commit({"gates.yaml": (TERMS + gates).encode(), "data/people.yaml": people}, "gates")
    return settings


@asynccontextmanager
async def plane_of(settings: Settings) -> AsyncIterator[ControlPlane]:
    async with serving(settings) as (plane, _server):
        yield plane


def change(root: Path, name: str = "one", files: dict[str, bytes] | None = None) -> str:
    """Commit a change on main and return it."""
    return Remote(root / "policy").commit({"data/modes.yaml": MODES % name.encode(), **(files or {})}, name)


MODES = b"# %s\ndefault: enforce\nagents: {}\nrules: {}\n"


def live(plane: ControlPlane) -> str:
    return plane.live.current().bundle.revision


async def told(plane: ControlPlane, type: str) -> list[dict[str, Any]]:
    events = plane.log.events(from_index=0, follow=False, trace_id="")
    return [stored.event.details() async for stored in events if stored.event.type == type]


async def test_a_protected_channel_takes_two_people_whatever_one_calls_themselves(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "prod", "channels: {prod: {approvers: 2}, dev: {}}\n")
    async with plane_of(settings) as plane:
        base = live(plane)
        commit = change(tmp_path)
        await plane.policy.sync()
        assert (live(plane), "waits for people" in plane.policy.status().problem) == (base, True)
        names = (ADA.principal, ADA.principal, "ADA.L@corp.example", "Ada@Corp.example", "control-plane")
        for name in (*names, "spiffe://corp.example/human/ada"):
            with pytest.raises(RolloutRefusedError, match="of 2 people asked for 'activate"):
                await plane.policy.activate(ActivateCommand(commit, Order(name, "again")))
        assert live(plane) == base
        # Somebody else asks for another commit: that is no second voice for this one.
        with pytest.raises(RolloutRefusedError):
            await plane.policy.activate(ActivateCommand(change(tmp_path, "two"), BEN))
        await plane.policy.activate(ActivateCommand(commit, BEN))
        assert live(plane) == commit
        assert [each["person"] for each in await told(plane, "activation.proposed")] == [
            "ada@corp.example",
            BEN.principal,
        ]
        [confirmed] = await told(plane, "activation.confirmed")
        assert confirmed["people"] == ["ada@corp.example", BEN.principal]


async def test_a_second_person_agrees_to_the_canary_that_was_asked_for_and_to_no_other(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "prod", "channels: {prod: {approvers: 2}}\n")
    async with plane_of(settings) as plane:
        assert plane.rollouts is not None
        commit = change(tmp_path)
        await plane.rollouts.start(StartCommand(commit, ADA))
        # Nobody is in a team of that name; nearly everybody acts in the environment.
        with pytest.raises(RolloutRefusedError, match="1 of 2 people"):
            await plane.rollouts.canary(Selector(teams=("production",)), ADA)
        for other in (Selector(environments=("production",)), Selector(agents=("production",)), Selector(percent=100)):
            with pytest.raises(RolloutRefusedError, match="1 of 2 people"):
                await plane.rollouts.canary(other, BEN)
        assert plane.rollouts.current is not None
        assert plane.rollouts.current.stage is RolloutStage.SHADOW
        await plane.rollouts.canary(Selector(environments=("production", "production")), ADA)
        assert plane.rollouts.current.stage is RolloutStage.CANARY


async def test_a_change_does_not_lift_what_its_channel_asks_of_it(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "prod", "channels: {prod: {approvers: 2}}\n")
    async with plane_of(settings) as plane:
        base = live(plane)
        open_gates = (TERMS + "channels: {prod: {approvers: 1}}\n").encode()
        commit = change(tmp_path, files={"gates.yaml": open_gates})
        await plane.policy.sync()
        with pytest.raises(RolloutRefusedError):
            await plane.policy.activate(ActivateCommand(commit, ADA))
        assert live(plane) == base


@pytest.mark.parametrize("gates", ["", "channels: {dev: {}}\n"])
async def test_a_channel_that_nobody_wrote_down_waits_for_two_people(tmp_path: Path, gates: str) -> None:
    async with plane_of(settings_of(tmp_path, "prdo", gates)) as plane:
        base = live(plane)
        commit = change(tmp_path)
        await plane.policy.sync()
        with pytest.raises(RolloutRefusedError):
            await plane.policy.activate(ActivateCommand(commit, ADA))
        assert live(plane) == base


async def test_what_one_person_asked_for_outlives_a_restart_and_ends_with_what_was_live(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "prod", "channels: {prod: {approvers: 2}}\n")
    one = change(tmp_path, "one")
    two = change(tmp_path, "two")
    Remote(tmp_path / "policy").git("reset", "--quiet", "--hard", "HEAD~2")
    Remote(tmp_path / "policy").git("tag", "one", one)
    Remote(tmp_path / "policy").git("tag", "two", two)
    async with plane_of(settings) as plane:
        for commit in (one, two):
            with pytest.raises(RolloutRefusedError):
                await plane.policy.activate(ActivateCommand(commit, ADA))
    async with plane_of(settings) as plane:
        await plane.policy.activate(ActivateCommand(two, BEN))
        assert live(plane) == two
        # Ada asked for the first one beside another policy than the one that is live now.
        with pytest.raises(RolloutRefusedError, match="1 of 2"):
            await plane.policy.activate(ActivateCommand(one, BEN))
        await plane.policy.rollback(BEN)
        assert live(plane) != two


async def test_syncs_at_once_start_one_rollout_of_the_same_head(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "prod", "channels: {prod: {arrives: shadow}}\n")
    async with plane_of(settings) as plane:
        commit = change(tmp_path)
        await asyncio.gather(*(plane.policy.sync() for _ in range(4)))
        assert plane.rollouts is not None
        assert plane.rollouts.current is not None
        assert plane.rollouts.current.candidate.revision == commit
        assert len(await told(plane, "rollout.started")) == 1


async def test_a_canary_and_a_promotion_of_a_protected_channel_take_two_people(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "prod", "channels: {prod: {approvers: 2, arrives: shadow}}\n")
    async with plane_of(settings) as plane:
        rollouts = plane.rollouts
        assert rollouts is not None
        base = live(plane)
        commit = change(tmp_path)
        await plane.policy.sync()
        assert rollouts.current is not None
        assert (rollouts.current.candidate.revision, rollouts.current.stage) == (commit, RolloutStage.SHADOW)
        everybody = Selector(percent=100)
        for _ in range(2):
            with pytest.raises(RolloutRefusedError, match="1 of 2"):
                await rollouts.canary(everybody, ADA)
        with pytest.raises(RolloutRefusedError, match="1 of 2"):
            await rollouts.canary(Selector(percent=5), BEN)
        assert rollouts.engine_for("anybody") is None
        await rollouts.canary(everybody, BEN)
        assert rollouts.engine_for("anybody") is not None
        with pytest.raises(RolloutRefusedError, match="1 of 2"):
            await rollouts.promote(BEN)
        assert live(plane) == base
        await rollouts.promote(ADA)
        assert live(plane) == commit
        # Back goes one person alone, at once.
        await rollouts.rollback(ADA)
        assert live(plane) == base


async def test_a_new_head_is_watched_first_where_the_channel_says_so(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "staging", "channels: {staging: {arrives: shadow}}\n")
    async with plane_of(settings) as plane:
        rollouts = plane.rollouts
        assert rollouts is not None
        base = live(plane)
        first = change(tmp_path, "one")
        await plane.policy.sync()
        second = change(tmp_path, "two")
        await plane.policy.sync()
        assert live(plane) == base
        assert rollouts.current is not None
        assert rollouts.current.candidate.revision == first
        assert plane.policy.status().problem == f"{second[:12]} waits for a rollout to end"
        await rollouts.promote(ADA)
        assert live(plane) == first
        await plane.policy.sync()
        assert rollouts.current is not None
        assert rollouts.current.candidate.revision == second
        await rollouts.abort(ADA)
        await plane.policy.sync()
        assert (rollouts.current, live(plane)) == (None, first)
        with pytest.raises(RolloutRefusedError):
            await rollouts.start(StartCommand(first, ADA))
