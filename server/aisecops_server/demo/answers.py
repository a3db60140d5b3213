"""What came back: one decision for each plan, and what changed between two rounds of the same plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aisecops_server.demo.scenario import Scenario
from aisecops_server.domain.display.words import OUTCOME_ORDER, bare

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one plan, as the API gave it; ``seconds`` is what the agent waited."""

    scenario: Scenario
    decision: Json
    receipt: Json
    seconds: float

    @property
    def outcome(self) -> str:
        """Return the outcome without its prefix."""
        return bare(str(self.decision.get("outcome", "")))

    @property
    def findings(self) -> list[Json]:
        """Return what the rules found, what decided first."""
        effects = ("DENY", "REQUIRE_APPROVAL", "WARN")
        found: list[Json] = list(self.decision.get("findings", []))
        return sorted(found, key=lambda item: effects.index(bare(str(item.get("effect", "")))))

    @property
    def rules(self) -> tuple[str, ...]:
        """Return the rules that fired, what decided first, each once."""
        return tuple(dict.fromkeys(str(finding.get("rule", "")) for finding in self.findings))


@dataclass(frozen=True, slots=True)
class Flip:
    """One plan whose outcome changed."""

    before: Answer
    after: Answer

    @property
    def is_looser(self) -> bool:
        """Return whether the policy lets through more than it did."""
        return OUTCOME_ORDER.index(self.after.outcome) > OUTCOME_ORDER.index(self.before.outcome)


def flips(first: Sequence[Answer], second: Sequence[Answer]) -> list[Flip]:
    """Return the plans whose outcome changed, looser ones first: those are what a reviewer must see."""
    changed = [
        Flip(before, after) for before, after in zip(first, second, strict=True) if before.outcome != after.outcome
    ]
    return sorted(changed, key=lambda flip: not flip.is_looser)


def problems(first: Sequence[Answer], second: Sequence[Answer]) -> list[str]:
    """Return where the answers are not what the scenarios expect; empty when all is well."""
    rounds = (
        ("first", [(answer, answer.scenario.expected_first) for answer in first]),
        ("second", [(answer, answer.scenario.expected_then) for answer in second]),
    )
    found = [
        f"{answer.scenario.id}: {expected} was expected in the {name} round, {answer.outcome} came"
        for name, pairs in rounds
        for answer, expected in pairs
        if answer.outcome != expected
    ]
    if len({str(answer.decision.get("bundleRevision")) for answer in first}) != 1:
        found.append("the first round was not decided by one revision")
    indexes = [int(answer.receipt.get("logIndex", -1)) for answer in (*first, *second)]
    if indexes != sorted(set(indexes)):
        found.append("the receipts do not rise in the log")
    return found
