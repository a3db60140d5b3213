"""What was seen of a candidate: how often the two revisions agree, where they do not, and how well it answers.

Counted from the details of ``rollout.compared`` events and from nothing else that must outlast the process, so that
after a crash counting the log again gives the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aisecops_server.domain.decisions.decision import Effect
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.accepted_flips import NO_RULE, Flip
from aisecops_server.domain.replays.comparison import Comparison, Conclusion, Firing
from aisecops_server.domain.rollouts.rollout import Rollout, Terms

COMPARED = "rollout.compared"
BASE, CANDIDATE = "base", "candidate"
# Beyond this nobody reads them one by one; then a promotion has to be forced.
MOST_FLIPS = 2_000
_PERCENT = 100
_COUNTS = ("answered", "compared", "same", "other", "looser", "stricter", "risky", "errors", "slow", "dropped")


@dataclass(slots=True)
class Tally:
    """Sums of one rollout. ``answered`` counts evaluations of the candidate, ``compared`` those set side by side.

    ``other`` are the same outcome for other reasons. ``dropped`` were never asked of the candidate, because it or the
    log was behind. ``counted_to`` is the index behind the last event that is counted.
    """

    answered: int = 0
    compared: int = 0
    same: int = 0
    other: int = 0
    looser: int = 0
    stricter: int = 0
    risky: int = 0
    errors: int = 0
    slow: int = 0
    dropped: int = 0
    counted_to: int = 0
    rules: Counter[tuple[str, str]] = field(default_factory=Counter)
    agents: Counter[tuple[str, str]] = field(default_factory=Counter)
    flips: list[Flip] = field(default_factory=list)

    @property
    def disagreements(self) -> int:
        """Return how many outcomes differ."""
        return self.looser + self.stricter

    def count(self, details: Mapping[str, Any], *, decision_id: str, trace_id: str) -> None:
        """Count what one event tells."""
        # What the candidate decided was counted when it did; here its base was asked.
        by_base = details["decided_by"] == BASE
        self.answered += by_base
        self.slow += by_base and bool(details["slow"])
        if details["error"]:
            self.errors += by_base
            self.dropped += not by_base
            return
        self.compared += 1
        direction = str(details["direction"])
        if not direction:
            self.same += bool(details["same"])
            self.other += not details["same"]
            return
        self.looser += direction == "looser"
        self.stricter += direction == "stricter"
        self.risky += bool(details["risky"])
        flip = Flip(decision_id, trace_id, direction, bool(details["risky"]), tuple(details["rules"]))
        self.rules.update((rule, direction) for rule in flip.rules)
        self.agents[str(details["agent"]), direction] += 1
        if len(self.flips) < MOST_FLIPS:
            self.flips.append(flip)

    def decided(self, *, slow: bool, failed: bool) -> None:
        """Count a decision that the candidate made, or failed to make, for an agent of the canary."""
        self.answered += 1
        self.slow += slow
        self.errors += failed

    def plus(self, others: Tally) -> Tally:
        """Return it with the sums of what ``others`` counted; which rules, agents and decisions differ stays."""
        return replace(self, **{name: getattr(self, name) + getattr(others, name) for name in _COUNTS})

    def fault(self, terms: Terms) -> str:
        """Return why the candidate has to go now, or an empty string."""
        if self.answered < terms.least:
            return ""
        if self.errors * _PERCENT > terms.most_error_percent * self.answered:
            return f"{self.errors} of {self.answered} evaluations of the candidate failed"
        if self.slow * _PERCENT > terms.most_slow_percent * self.answered:
            return (
                f"{self.slow} of {self.answered} evaluations of the candidate took longer than "
                f"{terms.slow_milliseconds} ms"
            )
        return ""

    def as_json(self) -> dict[str, JsonValue]:
        """Return it as JSON."""
        return {
            **{name: getattr(self, name) for name in _COUNTS},
            "counted_to": self.counted_to,
            "rules": [[rule, direction, count] for (rule, direction), count in sorted(self.rules.items())],
            "agents": [[agent, direction, count] for (agent, direction), count in sorted(self.agents.items())],
            "flips": [
                [flip.decision_id, flip.trace_id, flip.direction, flip.risky, list(flip.rules)] for flip in self.flips
            ],
        }


def read_tally(found: Mapping[str, Any]) -> Tally:
    """Return the tally that ``as_json`` gave."""
    return Tally(
        **{name: found[name] for name in (*_COUNTS, "counted_to")},
        rules=Counter({(rule, direction): count for rule, direction, count in found["rules"]}),
        agents=Counter({(agent, direction): count for agent, direction, count in found["agents"]}),
        flips=[
            Flip(decision, trace, way, risky, tuple(rules)) for decision, trace, way, risky, rules in found["flips"]
        ],
    )


def compared_details(
    rollout: Rollout, *, agent: str, by_candidate: bool, comparison: Comparison, other: Conclusion, evaluation_ns: int
) -> dict[str, JsonValue]:
    """Return what an event tells of a decision whose other side was asked too.

    ``comparison`` goes from the base to the candidate, whichever decided; ``other`` is what the one that did not
    decide concludes. No text of anybody is in it: rules, steps and outcomes only.
    """
    direction = comparison.direction.value.lower() if comparison.direction else ""
    return {
        **_facts(rollout, agent=agent, by_candidate=by_candidate),
        "outcome": str(other["outcome"]),
        "would_outcome": str(other["would_outcome"]),
        "direction": direction,
        "same": not comparison.parts,
        "risky": comparison.risky,
        "parts": list(comparison.parts),
        "fires_now": [_firing(each) for each in comparison.fires_now],
        "no_longer": [_firing(each) for each in comparison.no_longer],
        "rules": list(_decisive(comparison, direction)),
        "evaluation_ns": evaluation_ns,
        "slow": not by_candidate and evaluation_ns > rollout.terms.slow_milliseconds * 1_000_000,
        "error": "",
    }


def step_details(rollout: Rollout, tally: Tally, problems: Sequence[str]) -> dict[str, JsonValue]:
    """Return what an event tells of a step of a rollout; ``problems`` are what stood against it."""
    selector = rollout.selector
    return {
        "rollout": rollout.id,
        "revision": rollout.candidate.revision,
        "digest": rollout.candidate.digest,
        "base": rollout.base.revision,
        "base_digest": rollout.base.digest,
        "stage": rollout.stage.value,
        "principal": rollout.moved.by,
        "reason": rollout.moved.reason,
        "forced": rollout.moved.forced,
        "percent": selector.percent,
        "agents": list(selector.agents),
        "teams": list(selector.teams),
        "environments": list(selector.environments),
        "compared": tally.compared,
        "looser": tally.looser,
        "stricter": tally.stricter,
        "errors": tally.errors,
        "slow": tally.slow,
        "dropped": tally.dropped,
        "against": list(problems),
    }


def failed_details(rollout: Rollout, *, agent: str, by_candidate: bool, error: str) -> dict[str, JsonValue]:
    """Return what an event tells of a decision whose other side gave no answer."""
    return {
        **_facts(rollout, agent=agent, by_candidate=by_candidate),
        "direction": "",
        "slow": False,
        "error": error,
    }


def _facts(rollout: Rollout, *, agent: str, by_candidate: bool) -> dict[str, JsonValue]:
    return {
        "rollout": rollout.id,
        "base": rollout.base.revision,
        "candidate": rollout.candidate.revision,
        "candidate_digest": rollout.candidate.digest,
        "decided_by": CANDIDATE if by_candidate else BASE,
        "agent": agent,
    }


def _decisive(comparison: Comparison, direction: str) -> Iterator[str]:
    """Yield the rules behind a flip, each once: those found no longer where it is looser, those found now otherwise."""
    if not direction:
        return
    fired = comparison.no_longer if direction == "looser" else comparison.fires_now
    # A remark changes no outcome.
    rules = sorted({each.rule for each in fired if each.effect != Effect.WARN})
    yield from rules or [NO_RULE]


def _firing(firing: Firing) -> JsonValue:
    return {"rule": firing.rule, "step": firing.step_id, "effect": firing.effect}
