"""The demo from curtain to curtain: set the stage, play, say what to try next."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from collections.abc import Mapping
from pathlib import Path

from rich.text import Text

from aisecops_server.demo.answers import flips
from aisecops_server.demo.play import Played, play
from aisecops_server.demo.scenario import Scenario, scenarios
from aisecops_server.demo.screen import Screen
from aisecops_server.demo.stage import Place, Stage, prepare, set_stage
from aisecops_server.domain.display.words import counted, short_revision
from aisecops_server.terminal.decisions import STRONG


async def show(screen: Screen, place: Place, engine: Mapping[str, Path], *, program: str, serve: bool = False) -> bool:
    """Play the demo in ``place`` and return whether everything was as expected.

    ``engine`` are the settings that say where the engine is; ``program`` is how a person calls this one. With ``serve``
    the UI is served on what was played until somebody interrupts it.

    Raises:
        AisecopsError: the control plane cannot be started.
        AisecopsClientError: a plan got no answer.
    """
    cast = scenarios()
    screen.console.print(Text("AISecOps: an agent proposes, policy decides, the log remembers", style=STRONG))
    screen.act(1, "Set the stage")
    began = time.perf_counter()
    settings, commit = prepare(place, cast, engine)
    screen.done(f"a policy repository at {place.policy}", f"at {short_revision(commit)}")
    async with set_stage(place, settings) as stage:
        with screen.waiting("starting OPA with the first commit"):
            status = await stage.operator.sync()
        rules = (await stage.operator.revision(status.live.commit)).rules
        screen.done(f"policy {short_revision(status.live.commit)} is live on a real OPA", counted(len(rules), "rule"))
        screen.done(f"the control plane answers on {stage.address}", f"ready in {time.perf_counter() - began:.1f} s")
        played = await play(screen, stage, cast)
        if serve and not played.problems:
            await _look(screen, stage, played)
    _finish(screen, place, played, program, act=9 if serve else 8)
    return not played.problems


async def _look(screen: Screen, stage: Stage, played: Played) -> None:
    """Serve the UI on what was played until it is interrupted."""
    async with stage.pages() as link:
        screen.act(8, "Look at it")
        screen.commands(
            [
                (link("/traces"), "what the agents wanted, newest first"),
                (link(f"/replays/{played.foretold.replay_id}"), "the change of policy, and what it flips"),
                (link(f"/traces/{_flipped(played)}"), "a trace that it flipped"),
            ]
        )
        screen.done("each is good for five minutes and one use; Ctrl-C ends it")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


def _flipped(played: Played) -> str:
    return str(flips(played.first, played.second)[0].after.decision["traceId"])


def _finish(screen: Screen, place: Place, played: Played, program: str, *, act: int) -> None:
    for problem in played.problems:
        screen.failed(problem)
    if played.problems:
        screen.failed(f"{counted(len(played.problems), 'thing')} not as expected")
        return
    screen.done("every outcome was as expected, in both rounds, at the revision that was live")
    if place.is_kept:
        screen.act(act, "Try next")
        screen.commands(_commands(place, played, program))


def _commands(place: Place, played: Played, program: str) -> list[tuple[str, str]]:
    blocked = next(answer for answer in played.second if answer.outcome == "DENY")
    allowed: Scenario = next(answer.scenario for answer in played.second if answer.outcome == "ALLOW")
    flipped = _flipped(played)
    foretold = played.foretold
    plan = shlex.quote(str(place.plan_file(allowed)))
    return [
        (f"export AISECOPS_CONFIG={shlex.quote(str(place.settings_file))}", "this demo's policy and state"),
        (f"{program} serve &", "the same control plane again; go on when it says what is live"),
        (f"{program} ui link --to /traces/{flipped}", "a link that opens the UI on the flip that the change made"),
        (f"{program} trace show {blocked.decision['traceId']}", "every gate that a blocked plan met"),
        (f"{program} explain {blocked.decision['decisionId']}", "who asked, what influenced it, which line decided"),
        (
            f"{program} replay why {foretold.replay_id} {next(iter(foretold.outcomes))}",
            "what flips it, and what would not",
        ),
        (f"{program} decide -f {plan} --agent {allowed.agent}", "be an agent: the exit code is the answer"),
        (f"{program} log verify", "the proof; needs no control plane"),
    ]
