"""Whether a grant that the agent does not hold would decide otherwise: a row of a table, tried and not made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from aisecops_server.domain.bundles.bundle import PolicyTree
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.policy_draft import with_row
from aisecops_server.domain.replays.lever import Edit, Lever, LeverKind
from aisecops_server.domain.replays.levers import Json, Scene
from aisecops_server.domain.replays.recorded_decision import RecordedDecision
from aisecops_server.ports.replay import PolicyReader
from aisecops_server.usecases.replays.evaluate_documents import Concluded, EvaluateDocuments
from aisecops_server.usecases.replays.resolve_policy import ResolvePolicy
from aisecops_server.usecases.replays.search_change import Wish

MOST_OFFERS = 3
_UNCOVERED = ("capability.", "decision.not_covered")
_GRANT: Mapping[str, JsonValue] = {"granted_by": "nobody-yet"}


@dataclass(frozen=True, slots=True)
class Offer:
    """A grant that would decide otherwise, and how many were tried. Without a ``lever`` none would."""

    lever: Lever | None
    outcome: str
    tries: int


@dataclass(frozen=True, slots=True)
class OfferGrant:
    """Tries grants that an agent lacks, each on a draft of the policy."""

    policies: ResolvePolicy
    evaluate: EvaluateDocuments
    reader: PolicyReader

    async def __call__(
        self, decision: RecordedDecision, scene: Scene, wish: Wish, *, tree: PolicyTree, engine: str
    ) -> Offer:
        """Return the first grant with which ``tree`` meets ``wish``; nothing is tried where no grant is missing."""
        findings: list[Json] = list(scene.conclusion["findings"])
        if not wish.is_looser or not any(found["rule"].startswith(_UNCOVERED) for found in findings):
            return Offer(None, "", 0)
        tables = (await self.reader.read(tree, against=tree)).tables
        tries = 0
        for capability in islice(_missing(scene), MOST_OFFERS):
            tries += 1
            row = ("agents", scene.agent_id, "capabilities", capability)
            try:
                draft = with_row(tree, tables, row, _GRANT)
                [answer] = await self.evaluate([decision], await self.policies.bundle(draft), engine=engine)
            except AisecopsError:
                # A grant that the tables do not allow is none.
                continue
            told = _told(answer, decision)
            if wish.is_met_by(told):
                words = f"the agent held {capability}"
                return Offer(
                    Lever(LeverKind.GRANT, words, (Edit(".".join(row), _GRANT),)), str(told and told["outcome"]), tries
                )
        return Offer(None, "", tries)


def _missing(scene: Scene) -> Iterator[str]:
    """Yield the capabilities that list a tool of the plan, and that the agent does not hold."""
    held = scene.table("agents", scene.agent_id, "capabilities")
    asked = {
        name: True
        for step in scene.steps
        for name in [*filter(None, [step["capability"]]), *scene.table("tools", step["tool"], "capabilities")]
    }
    known = scene.table("capabilities")
    yield from (name for name in asked if name not in held and name in known)


def _told(answer: object, decision: RecordedDecision) -> Json | None:
    if not isinstance(answer, Concluded):
        return None
    return decision.details if answer.conclusion is None else answer.conclusion
