"""The demo's story: decide, control what is done, change a table, replay, decide again, prove the record.

Ordering rules: every decision is shown as soon as it is answered; nothing is shown that was not answered; the
self-check comes last and decides the exit code.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aisecops_client.aio import AsyncClient
from google.protobuf.json_format import MessageToDict

from aisecops_server.demo.answers import Answer, Flip, flips, problems
from aisecops_server.demo.change import MESSAGE
from aisecops_server.demo.controls import play_controls
from aisecops_server.demo.foretell import Foretold, play_replay
from aisecops_server.demo.scenario import Scenario
from aisecops_server.demo.screen import Screen
from aisecops_server.demo.stage import Stage
from aisecops_server.demo.tool_server import play_tool_server
from aisecops_server.domain.display.words import counted, short_revision


@dataclass(frozen=True, slots=True)
class Played:
    """What the demo did: both rounds, what was foretold of the second, and what was not as expected."""

    first: Sequence[Answer]
    second: Sequence[Answer]
    foretold: Foretold
    problems: Sequence[str]


async def play(screen: Screen, stage: Stage, cast: Sequence[Scenario]) -> Played:
    """Play the whole story on a stage that is set and return what happened.

    Raises:
        AisecopsClientError: a plan got no answer.
    """
    async with stage.agents({scenario.agent for scenario in cast}) as agents:
        screen.act(2, f"{counted(len(cast), 'plan')}, each sent by its agent and decided")
        first = await _first_round(screen, agents, cast)
        screen.summary(first)
        screen.act(3, "Runtime controls: who, how much, with whose consent")
        controlled = [*await play_controls(screen, stage), *await play_tool_server(screen, stage)]
        screen.act(4, "A person changes one table of the policy")
        commit = await _commit(screen, stage)
        screen.act(5, "Replay: what would that have done?")
        foretold = await play_replay(screen, stage, commit, first)
        screen.act(6, "It goes live, and the same plans are sent again")
        changed = await _go_live(screen, stage, commit)
        second = await _second_round(screen, agents, cast)
    found = [*controlled, *problems(first, second), *changed.problems(first, second), *foretold.problems()]
    found += _compare(screen, flips(first, second), foretold)
    screen.act(7, "The record")
    return Played(first, second, foretold, [*found, *await _record(screen, stage)])


@dataclass(frozen=True, slots=True)
class _Changed:
    commit: str
    live: str

    def problems(self, first: Sequence[Answer], second: Sequence[Answer]) -> list[str]:
        """Return what is wrong with the revisions that decided."""
        found = []
        if self.live != self.commit:
            found.append(f"{short_revision(self.commit)} was committed, {short_revision(self.live)} is live")
        if {str(answer.decision["bundleRevision"]) for answer in second} != {self.commit}:
            found.append("the second round was not decided by the new commit")
        if self.commit in {str(answer.decision["bundleRevision"]) for answer in first}:
            found.append("the first round was decided by the new commit")
        return found


async def _first_round(screen: Screen, agents: Mapping[str, AsyncClient], cast: Sequence[Scenario]) -> list[Answer]:
    answers: list[Answer] = []
    for scenario in cast:
        if not answers or scenario.area != answers[-1].scenario.area:
            screen.area(scenario.area)
        answers.append(await ask(agents[scenario.agent], scenario))
        screen.decision(answers[-1])
        await screen.pause()
    return answers


async def _commit(screen: Screen, stage: Stage) -> str:
    before = (await stage.operator.bundle_status()).live.commit
    commit, diff = await stage.change_policy(before)
    screen.done(f"committed {short_revision(commit)} to the policy repository", MESSAGE)
    screen.change(diff)
    await screen.pause()
    return commit


async def _go_live(screen: Screen, stage: Stage, commit: str) -> _Changed:
    began = time.perf_counter()
    with screen.waiting("building, signing and probing the new commit"):
        status = await stage.operator.sync()
    spent = time.perf_counter() - began
    screen.done(
        f"policy {short_revision(status.live.commit)} is live", f"built, signed, probed and switched in {spent:.1f} s"
    )
    screen.done(f"policy {short_revision(status.previous.commit)} stays warm", "a rollback takes no time")
    return _Changed(commit, status.live.commit)


async def _second_round(screen: Screen, agents: Mapping[str, AsyncClient], cast: Sequence[Scenario]) -> list[Answer]:
    with screen.progress("deciding", len(cast)) as advance:
        answers = []
        for scenario in cast:
            answers.append(await ask(agents[scenario.agent], scenario))
            advance()
    return answers


def _compare(screen: Screen, found: Sequence[Flip], foretold: Foretold) -> list[str]:
    """Tell which outcomes changed, and hold them against what was foretold."""
    screen.flip_counts(len(found), sum(flip.is_looser for flip in found), would=False)
    came = {str(flip.before.decision["decisionId"]): flip.after.outcome for flip in found}
    if came != foretold.outcomes:
        screen.failed("the replay had foretold something else")
        return [f"the replay foretold {foretold.outcomes}, and {came} came"]
    screen.done("exactly what the replay had foretold, decision by decision")
    return []


async def _record(screen: Screen, stage: Stage) -> list[str]:
    with screen.waiting("recomputing every leaf"):
        report = await stage.verify_log()
    if not report.ok:
        screen.failed(f"the audit log does not verify: {report.problem}")
        return [f"the audit log does not verify: {report.problem}"]
    screen.done(f"{counted(report.recomputed.size, 'event')} in the audit log, every leaf recomputed")
    screen.say(f"  Merkle root {report.recomputed.root.hex()}")
    return []


async def ask(client: AsyncClient, scenario: Scenario) -> Answer:
    """Send one plan as its agent and return the answer with the time that the agent waited.

    Raises:
        AisecopsClientError: there is no answer.
    """
    began = time.perf_counter()
    answer = await client.decide(scenario.plan)
    spent = time.perf_counter() - began
    return Answer(
        scenario=scenario,
        decision=MessageToDict(answer.decision, always_print_fields_with_no_presence=True),
        receipt=MessageToDict(answer.receipt, always_print_fields_with_no_presence=True),
        seconds=spent,
    )
