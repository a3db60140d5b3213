"""Which of the differences between two policies made a decision another one: each is taken back alone, and evaluated.

Where nothing but one difference lies between the two, it is the cause without asking. Differences that only act
together are each decisive, because the decision needs all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from aisecops_server.domain.bundles.bundle import PolicyTree
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.policy_draft import undone
from aisecops_server.domain.policy.policy_meaning import Change, ChangeKind
from aisecops_server.domain.replays.recorded_decision import RecordedDecision
from aisecops_server.ports.replay import PolicyReader
from aisecops_server.usecases.replays.evaluate_documents import Concluded, EvaluateDocuments
from aisecops_server.usecases.replays.resolve_policy import ResolvePolicy

# Each takes a bundle and an engine of its own.
MOST_TAKEN_BACK = 4
MOST_SHOWN = 20
_FAR = 3
_ORDER = ("DECISIVE", "NOT_TESTED", "NOT_DECISIVE")


class Weight(StrEnum):
    """What a difference did to a decision."""

    DECISIVE = "DECISIVE"
    NOT_DECISIVE = "NOT_DECISIVE"
    NOT_TESTED = "NOT_TESTED"


@dataclass(frozen=True, slots=True)
class Cause:
    """A difference between two policies, and what it did to a decision."""

    change: Change
    weight: Weight


@dataclass(frozen=True, slots=True)
class Flip:
    """A decision that two policies make differently: the outcomes and the rules that fire on one side only."""

    decision: RecordedDecision
    before: str
    after: str
    rules: frozenset[str]


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """Finds out which differences a decision follows from."""

    policies: ResolvePolicy
    evaluate: EvaluateDocuments
    reader: PolicyReader

    async def __call__(
        self, flip: Flip, changes: Sequence[Change], *, trees: tuple[PolicyTree, PolicyTree], engine: str
    ) -> list[Cause]:
        """Return the differences that concern the flip, the decisive ones first; ``trees`` are before and after."""
        if len(changes) == 1:
            return [Cause(changes[0], Weight.DECISIVE)]
        words = _words(flip.decision.content)
        nearness = {change: _distance(change, flip.rules, words) for change in changes}
        near = sorted((change for change in changes if nearness[change] < _FAR), key=lambda change: nearness[change])
        tables = (await self.reader.read(trees[1], against=trees[1])).tables
        causes = []
        for number, change in enumerate(near[:MOST_SHOWN]):
            weight = Weight.NOT_TESTED
            if number < MOST_TAKEN_BACK and flip.before != flip.after:
                draft = undone(trees[1], change, before=trees[0], tables=tables)
                weight = await self._weight(flip, draft, engine)
            causes.append(Cause(change, weight))
        return sorted(causes, key=lambda cause: _ORDER.index(cause.weight.value))

    async def _weight(self, flip: Flip, draft: PolicyTree, engine: str) -> Weight:
        try:
            bundle = await self.policies.bundle(draft)
            [answer] = await self.evaluate([flip.decision], bundle, engine=engine)
        except AisecopsError:
            # What only stands together cannot be taken back alone.
            return Weight.NOT_TESTED
        if not isinstance(answer, Concluded):
            return Weight.NOT_TESTED
        told = flip.decision.details if answer.conclusion is None else answer.conclusion
        return Weight.NOT_DECISIVE if told["outcome"] == flip.after else Weight.DECISIVE


def _distance(change: Change, rules: Collection[str], words: Collection[str]) -> int:
    """Return how near a difference is to a decision: its rule fired, its row is about what the document names."""
    if change.rule in rules:
        return 0
    if change.path:
        return 1 if any(part in words for part in change.path[1:]) else _FAR
    return 2 if change.kind is ChangeKind.LIBRARY_CHANGED else _FAR - 1


def _words(document: JsonValue) -> set[str]:
    found: set[str] = set()
    waiting = [document]
    for part in waiting:
        if isinstance(part, Mapping):
            found.update(part)
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, str):
            found.add(part)
    return found
