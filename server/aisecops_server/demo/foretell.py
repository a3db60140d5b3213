"""The demo's part about replay: what a commit would do to everything that was decided, and why, before it is live.

Asked as an operator asks: over the API, of decisions that stand in the log. Nothing that it shows was decided by it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aisecops.v1 import replay_pb2
from aisecops.v1 import replay_service_pb2 as api
from aisecops_client import Client
from aisecops_client.replays import Replays
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from aisecops_server.demo.answers import Answer
from aisecops_server.demo.screen import Screen
from aisecops_server.demo.stage import Stage
from aisecops_server.domain.display.words import bare, counted

Json = Mapping[str, Any]

_PATIENCE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Foretold:
    """What a replay said: its id, its report, and each decision that would flip with why, looser ones first."""

    replay_id: str
    report: Json
    flips: Sequence[Json]

    @property
    def outcomes(self) -> dict[str, str]:
        """Return what each decision that flips would be, by its id."""
        return {str(flip["result"]["decisionId"]): bare(str(flip["result"]["after"])) for flip in self.flips}

    def problems(self) -> list[str]:
        """Return what is not as it must be."""
        found = [] if self.report["fidelity"]["trustworthy"] else ["the replay cannot be trusted"]
        for flip in self.flips:
            told = str(flip["result"]["decisionId"])
            if [cause["weight"] for cause in flip["causes"]] != ["DECISIVE"]:
                found.append(f"{told}: one difference should be decisive")
            if not flip["smallest"]["found"]:
                found.append(f"{told}: nothing was found that would decide otherwise")
        return found


async def play_replay(screen: Screen, stage: Stage, commit: str, first: Sequence[Answer]) -> Foretold:
    """Play the part and return what the replay said.

    Raises:
        AisecopsClientError: the replay got no answer.
    """
    screen.say("    $ aisecops replay run --against main")
    began = time.perf_counter()
    with screen.waiting("deciding again, on the new commit, all that is on record"):
        told = await asyncio.to_thread(_ask, stage.address, stage.operator_token(), commit)
    spent = time.perf_counter() - began
    compared = counted(int(told.report["compared"]), "recorded decision")
    screen.done(f"{compared} decided again on it, while it is not live")
    screen.say(f"  every flip explained, in {spent:.1f} s altogether")
    screen.fidelity(told.report["fidelity"])
    screen.flip_counts(len(told.flips), _looser(told.flips), would=True)
    scenarios = {str(answer.decision["decisionId"]): answer.scenario for answer in first}
    for flip in told.flips:
        scenario = scenarios.get(str(flip["result"]["decisionId"]))
        screen.flip(flip, scenario.title if scenario else ", ".join(flip["result"]["tools"]))
        await screen.pause()
    return told


def _ask(address: str, token: str, commit: str) -> Foretold:
    with Client.connect(address, token) as client:
        client.work_seconds = _PATIENCE_SECONDS
        replays = Replays(client)
        request = api.StartReplayRequest(candidate=replay_pb2.ReplayPolicy(revision=commit))
        *_, last = replays.watch(replays.start(request).replay_id)
        narrow = api.ReplayResultFilter(verdict_class=replay_pb2.VERDICT_CLASS_OUTCOME_FLIP)
        flipped = [result.decision_id for result in replays.results(last.replay_id, narrow)]
        why = [change for each in flipped for change in replays.why(last.replay_id, decision_id=each).changes]
        looser = replay_pb2.DIRECTION_LOOSER
        why.sort(key=lambda change: change.result.direction != looser)
        return Foretold(last.replay_id, _json(last.report), [_json(change) for change in why])


def _looser(flips: Sequence[Json]) -> int:
    return sum(flip["result"]["direction"] == "DIRECTION_LOOSER" for flip in flips)


def _json(message: Message) -> Json:
    found: Json = MessageToDict(message, always_print_fields_with_no_presence=True)
    return found
