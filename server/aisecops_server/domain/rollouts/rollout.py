"""A rollout: one revision on its way from a commit to every agent, and what was seen of it on the way.

Owns the stages, who is decided by the candidate in a canary, and the terms of being promoted. In shadow the candidate
sees what is decided and decides nothing; in a canary it decides for chosen agents. Who is chosen follows from the
agent's proven id, the tables of the live revision and the rollout's own unguessable id, and from nothing that a caller
says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from aisecops_server.domain.bundles.bundle import Activated, BundleDigest, CommitId
from aisecops_server.domain.display.visible_text import json_text
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.canonical import JsonValue

_PERCENT = 100
_PARTS = 10_000
_MOST_NAMES = 100


class RolloutStage(StrEnum):
    """How far a rollout is. The last three are its ends."""

    SHADOW = "SHADOW"
    CANARY = "CANARY"
    PROMOTED = "PROMOTED"
    ROLLED_BACK = "ROLLED_BACK"
    ABORTED = "ABORTED"

    @property
    def is_under_way(self) -> bool:
        """Return whether the candidate still sees or decides plans beside the live revision."""
        return self in (RolloutStage.SHADOW, RolloutStage.CANARY)


@dataclass(frozen=True, slots=True)
class Selector:
    """Who the candidate decides for: a share of all agents, or agents, teams (owners) and environments by name.

    An agent of several environments is chosen only when all of them are: its plans say where they run, and the
    candidate must not decide for an environment that nobody named.
    """

    percent: int = 0
    agents: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()

    def require_usable(self) -> None:
        """Refuse what chooses nobody, or more than can be.

        Raises:
            InvalidRequestError: it does.
        """
        if not 0 <= self.percent <= _PERCENT:
            raise InvalidRequestError("percent: from 1 to 100", hint="Say how many of 100 agents", field="percent")
        if not (self.percent or self.agents or self.teams or self.environments):
            raise InvalidRequestError(
                "a canary needs agents to decide for",
                hint="Name a share of them, or agents, teams or environments",
                field="percent",
            )
        for name, listed in (("agents", self.agents), ("teams", self.teams), ("environments", self.environments)):
            if len(listed) > _MOST_NAMES or not all(0 < len(each) <= _MOST_NAMES * 4 for each in listed):
                raise InvalidRequestError(f"{name}: at most {_MOST_NAMES} names", hint="Name fewer", field=name)

    def told(self) -> str:
        """Return it as one line: the same for the same choice, and another for any other.

        Several people agree to a canary by this line, so a name says what it is of and cannot run into the next one.
        """
        parts = [f"{self.percent} %"] if self.percent else []
        for kind, listed in (("agent", self.agents), ("team", self.teams), ("environment", self.environments)):
            parts += [f"{kind} {json_text(name)}" for name in sorted(set(listed))]
        return ", ".join(parts)

    def chooses(self, agent_id: str, tables: Mapping[str, JsonValue], *, salt: str) -> bool:
        """Return whether the candidate decides for an agent; ``tables`` are those of the live revision."""
        if agent_id in self.agents or (self.percent and _place(agent_id, salt) < self.percent * _PARTS // _PERCENT):
            return True
        entry = _entry(tables, agent_id)
        environments = set(_texts(entry.get("environments")))
        return str(entry.get("owner", "")) in self.teams or bool(
            environments and environments <= set(self.environments)
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """What a candidate must show before it is promoted, and what ends it by itself.

    ``seconds`` and ``decisions`` are asked of every stage anew. An evaluation is slow above ``slow_milliseconds``.
    Shares count from ``least`` evaluations on, so that a single hiccup ends nothing.
    """

    seconds: int = 600
    decisions: int = 100
    most_error_percent: int = 1
    slow_milliseconds: int = 250
    most_slow_percent: int = 5
    least: int = 20

    def strictest(self, seconds: int, decisions: int) -> Terms:
        """Return the terms with a longer time and more decisions, where more is asked."""
        return replace(self, seconds=max(self.seconds, seconds), decisions=max(self.decisions, decisions))


@dataclass(frozen=True, slots=True)
class Moved:
    """Who moved a rollout to where it is, why and when; ``forced`` against what the terms say."""

    by: str
    reason: str
    at_ns: int
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Rollout:
    """One rollout. ``base`` is what was live when it began; any other live revision ends it."""

    id: str
    base: Activated
    candidate: Activated
    started: Moved
    moved: Moved
    stage: RolloutStage = RolloutStage.SHADOW
    selector: Selector = field(default_factory=Selector)
    terms: Terms = field(default_factory=Terms)
    # What the tally had counted when this stage began.
    counted_before: int = 0
    # How often it was moved: of two who move it from the same step one comes first, and the other looks again.
    step: int = 0

    def at(self, stage: RolloutStage, moved: Moved, *, counted: int, selector: Selector | None = None) -> Rollout:
        """Return it in another stage."""
        chosen, step = selector or self.selector, self.step + 1
        return replace(self, stage=stage, moved=moved, selector=chosen, counted_before=counted, step=step)

    def as_json(self) -> dict[str, JsonValue]:
        """Return it as JSON."""
        found: dict[str, Any] = asdict(self)
        for name in ("agents", "teams", "environments"):
            found["selector"][name] = list(found["selector"][name])
        return {**found, "stage": self.stage.value}


@dataclass(frozen=True, slots=True)
class Voice:
    """That somebody asked for a change, and why."""

    principal: str
    reason: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change that waits for more people. ``base`` is what was live when they asked; nothing else may be by then."""

    subject: str
    base: str
    voices: tuple[Voice, ...]


def read_rollout(found: Mapping[str, Any]) -> Rollout:
    """Return the rollout that ``as_json`` gave."""
    selector = found["selector"]
    return Rollout(
        id=found["id"],
        base=_activated(found["base"]),
        candidate=_activated(found["candidate"]),
        started=Moved(**found["started"]),
        moved=Moved(**found["moved"]),
        stage=RolloutStage(found["stage"]),
        selector=Selector(
            selector["percent"], tuple(selector["agents"]), tuple(selector["teams"]), tuple(selector["environments"])
        ),
        terms=Terms(**found["terms"]),
        counted_before=found["counted_before"],
        step=found.get("step", 0),
    )


def _activated(found: Mapping[str, str]) -> Activated:
    return Activated(CommitId(found["revision"]), BundleDigest(found["digest"]))


def _place(agent_id: str, salt: str) -> int:
    """Return where an agent stands among all, from 0 to 9,999: the same throughout a rollout, another in the next."""
    return int.from_bytes(hashlib.sha256(f"{salt}\n{agent_id}".encode()).digest()[:8]) % _PARTS


def _entry(tables: Mapping[str, JsonValue], agent_id: str) -> Mapping[str, JsonValue]:
    agents = tables.get("agents")
    entry = agents.get(agent_id) if isinstance(agents, Mapping) else None
    return entry if isinstance(entry, Mapping) else {}


def _texts(value: JsonValue) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple | Mapping) else []
