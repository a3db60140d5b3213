"""Which flips of recorded decisions a pull request may cause: by its gates, and by what it says itself that it means.

``gates.yaml`` says how many flips need no word, from which severity on each needs one, and which traces never flip.
``accepted-flips.yaml`` says them: rule, direction, how many at most, who answers for it, why, until when. Gates are
read from the base, so that nobody opens their own; an entry counts only in the pull request that adds it.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, RootModel

from aisecops_server.domain.policy.dated_entry import DatedEntry
from aisecops_server.domain.policy.policy_check import Level, Problem
from aisecops_server.domain.policy.policy_paths import ACCEPTED_FLIPS, GATES
from aisecops_server.domain.tables.table_fields import Count, Entry, Text

# What flips without any rule being found or no longer found: obligations, budgets, the composition itself.
NO_RULE = "policy"
_SEVERITIES = ("low", "medium", "high", "critical")
# So much more than flips is not what somebody looked at: this many times as many, and more than so many besides.
_GENEROUS, _SPARE = 10, 100
Percent = Annotated[int, Field(ge=0, le=100)]


class AcceptedFlip(DatedEntry):
    """Flips that a pull request means."""

    rule: Text = Field(description="The rule that is found now (stricter) or no longer (looser); `policy`: no rule.")
    direction: Literal["looser", "stricter"]
    max_count: Annotated[int, Field(ge=1, description="How many of the replayed decisions may flip so.")]


class AcceptedFlips(RootModel[list[AcceptedFlip]]):
    """What a pull request says that it means."""


class RolloutGate(Entry):
    """What a candidate must show in a rollout before it is promoted, and what ends a rollout by itself."""

    seconds: Count = Field(default=600, description="How long each stage lasts at least.")
    decisions: Count = Field(default=100, description="How many decisions are compared at each stage at least.")
    most_error_percent: Percent = Field(
        default=1, description="The share of evaluations without a decision beyond which it is taken back."
    )
    slow_milliseconds: Annotated[int, Field(ge=1)] = Field(default=250, description="What one evaluation may take.")
    most_slow_percent: Percent = Field(
        default=5, description="The share of slower evaluations beyond which it is taken back."
    )
    least: Annotated[int, Field(ge=1)] = Field(
        default=20, description="From how many evaluations on these shares count."
    )


class ChannelGate(Entry):
    """What a channel asks of a new revision. A control plane says in its settings which channel it is."""

    arrives: Literal["live", "shadow", "wait"] = Field(
        default="live",
        description="What a new head does: become live, be watched in a rollout first, or wait for people.",
    )
    approvers: Annotated[int, Field(ge=1, le=5)] = Field(
        default=1, description="How many people must ask for it before it decides; more than one protects the channel."
    )


# What is asked where it cannot be known what a channel asks.
CAUTIOUS = ChannelGate(arrives="wait", approvers=2)


class Gates(Entry):
    """What a pull request may do to recorded decisions without a word."""

    most_flips: Count = Field(default=20, description="How many outcomes may flip without an entry.")
    severity: Literal["low", "medium", "high", "critical"] = Field(
        default="high", description="From here on every denial that a rule no longer makes needs an entry."
    )
    protected_traces: list[Text] = Field(default_factory=list, description="Traces whose outcomes never flip.")
    most_indeterminate_percent: Percent = Field(
        default=10, description="The share of decisions of which nobody can know what would become of them."
    )
    most_costlier_percent: Count = Field(
        default=50,
        description="By how much more an evaluation may allocate; unlike time, that is always the same.",
    )
    rollout: RolloutGate = Field(
        default_factory=RolloutGate, description="What a candidate must show before it is promoted."
    )
    channels: dict[Text, ChannelGate] = Field(
        default_factory=dict, description="By name, what each channel asks of a new revision."
    )


@dataclass(frozen=True, slots=True)
class Flip:
    """One recorded decision whose outcome flips: which way, by which rules (each once), if a denial became an allow."""

    decision_id: str
    trace_id: str
    direction: str
    risky: bool
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The entries of a pull request, and those that its base has already."""

    entries: Sequence[AcceptedFlip]
    base: Sequence[AcceptedFlip] = ()

    def usable(self, today: date) -> dict[tuple[str, str], int]:
        """Return how many flips are accepted, by rule and direction."""
        found: Counter[tuple[str, str]] = Counter()
        for entry in self.entries:
            if entry not in self.base and not entry.problem_on(today):
                found[entry.rule, entry.direction] += entry.max_count
        return dict(found)

    def covered(self, flips: Sequence[Flip], today: date) -> frozenset[tuple[str, str]]:
        """Return the rules and directions whose flips are all accepted."""
        counts = Counter((rule, flip.direction) for flip in flips for rule in flip.rules)
        return frozenset(key for key, most in self.usable(today).items() if counts[key] <= most)

    def count(self, flips: Sequence[Flip], today: date) -> int:
        """Return how many flips are accepted."""
        covered = self.covered(flips, today)
        return sum(any((rule, flip.direction) in covered for rule in flip.rules) for flip in flips)


def judged(
    flips: Sequence[Flip], gates: Gates, accepted: Accepted, *, severities: Mapping[str, str], today: date
) -> tuple[Problem, ...]:
    """Return why a pull request may not be merged as it is; ``severities`` are those of the base's rules."""
    counts = Counter((rule, flip.direction) for flip in flips for rule in flip.rules)
    usable, covered = accepted.usable(today), accepted.covered(flips, today)
    problems = [
        *_entries(accepted, counts, usable, today),
        *_risky(flips, gates, covered, severities),
        *_too_many(flips, gates, covered),
        *_protected(flips, gates),
    ]
    return tuple(problems)


def _risky(
    flips: Sequence[Flip], gates: Gates, covered: frozenset[tuple[str, str]], severities: Mapping[str, str]
) -> Iterator[Problem]:
    least = _SEVERITIES.index(gates.severity)
    counts: Counter[str] = Counter()
    for flip in flips:
        for rule in flip.rules if flip.risky else ():
            severity = severities.get(rule, "critical")
            if _SEVERITIES.index(severity) >= least and (rule, "looser") not in covered:
                counts[rule] += 1
    for rule, count in sorted(counts.items()):
        yield Problem(
            "flips.risky",
            f"{count} recorded {'denial' if count == 1 else 'denials'} by {rule} ({severities.get(rule, 'critical')})"
            " would be allowed",
            hint=_entry_hint(rule, "looser", count),
            path=ACCEPTED_FLIPS,
            subject=rule,
        )


def _too_many(flips: Sequence[Flip], gates: Gates, covered: frozenset[tuple[str, str]]) -> Iterator[Problem]:
    left = [flip for flip in flips if not any((rule, flip.direction) in covered for rule in flip.rules)]
    if len(left) <= gates.most_flips:
        return
    counts = Counter((rule, flip.direction) for flip in left for rule in flip.rules)
    (rule, direction), count = min(counts.items(), key=lambda item: (-item[1], item[0]))
    yield Problem(
        "flips.budget",
        f"{len(left)} outcomes flip that no entry accepts; {gates.most_flips} may",
        hint=_entry_hint(rule, direction, count),
        path=ACCEPTED_FLIPS,
        subject=rule,
    )


def _protected(flips: Sequence[Flip], gates: Gates) -> Iterator[Problem]:
    protected = set(gates.protected_traces)
    for flip in flips:
        if flip.trace_id in protected:
            yield Problem(
                "flips.protected",
                f"the protected trace {flip.trace_id} becomes {flip.direction} by {', '.join(flip.rules)}",
                hint=f"Mend the change. Only {GATES} of the base says what is protected, and nothing accepts it",
                path=GATES,
                subject=flip.trace_id,
            )


def _entries(
    accepted: Accepted, counts: Mapping[tuple[str, str], int], usable: Mapping[tuple[str, str], int], today: date
) -> Iterator[Problem]:
    for entry in accepted.entries:
        key = (entry.rule, entry.direction)
        told, count = f"{entry.rule} {entry.direction}", counts.get(key, 0)
        found = functools.partial(Problem, path=ACCEPTED_FLIPS, subject=entry.rule)
        if why := entry.problem_on(today):
            yield found("flips.unusable", f"the entry for {told} does not count: {why}", "Give it another day")
        elif entry in accepted.base:
            yield found(
                "flips.old",
                f"the entry for {told} was merged before, and accepts nothing any more",
                "Remove it; what this change means needs an entry of its own",
                level=Level.WARNING,
            )
        elif count > usable[key]:
            yield found(
                "flips.exceeded",
                f"{told} is accepted {usable[key]} times, and {count} decisions flip so",
                f"Look at them; if they are meant, write 'max_count: {count}'",
            )
        elif not count:
            yield found(
                "flips.unused", f"no decision flips as the entry for {told} accepts", "Remove it", level=Level.WARNING
            )
        elif usable[key] > max(_GENEROUS * count, count + _SPARE):
            yield found(
                "flips.generous",
                f"{told} is accepted {usable[key]} times, and {count} decisions flip so",
                f"Write 'max_count: {count}', or somewhat more: a rollout counts by it as well",
                level=Level.WARNING,
            )


def _entry_hint(rule: str, direction: str, count: int) -> str:
    return (
        f"Mend the change, or add to {ACCEPTED_FLIPS}: rule: {rule}, direction: {direction}, max_count: {count},"
        " with owner, reason and expires"
    )
