"""Asks recorded decisions again, each on its own policy and its own engine, and says what does not come out the same.

It never remembers and is never answered from memory: what it says was evaluated just now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.errors import AisecopsError, EngineUnavailableError
from aisecops_server.domain.replays.comparison import recorded_conclusion, same
from aisecops_server.domain.replays.document_drift import has_other_version
from aisecops_server.domain.replays.fidelity import Check
from aisecops_server.domain.replays.recorded_decision import Doubt, RecordedDecision
from aisecops_server.ports.replay import Engines
from aisecops_server.usecases.replays.evaluate_documents import Answer, EvaluateDocuments
from aisecops_server.usecases.replays.resolve_policy import ResolvePolicy


@dataclass(frozen=True, slots=True)
class CheckFidelity:
    """Checks that recorded decisions reproduce."""

    policies: ResolvePolicy
    engines: Engines
    evaluate: EvaluateDocuments

    async def __call__(self, decisions: Sequence[RecordedDecision]) -> list[Check]:
        """Return what became of each decision, in their order."""
        checks: dict[int, Check] = {}
        groups: dict[tuple[str, str], tuple[Bundle, list[int]]] = {}
        for at, decision in enumerate(decisions):
            found = await self._own(decision)
            if isinstance(found, Check):
                checks[at] = found
            else:
                bundle, engine = found
                groups.setdefault((bundle.digest, engine), (bundle, []))[1].append(at)
        for (_, engine), (bundle, places) in groups.items():
            checks.update(zip(places, await self._group([decisions[at] for at in places], bundle, engine), strict=True))
        return [checks[at] for at in range(len(decisions))]

    async def _own(self, decision: RecordedDecision) -> tuple[Bundle, str] | Check:
        """Return the bundle and the engine that decided, or why they cannot be asked again."""
        if decision.doubt is not None:
            return _check(decision, decision.doubt)
        if decision.missing_fields:
            return _check(decision, Doubt.FIELDS_MISSING, ", ".join(decision.missing_fields))
        if has_other_version(decision.content):
            return _check(decision, Doubt.SCHEMA_DRIFT)
        bundle = await self.policies.own_bundle(decision)
        if isinstance(bundle, Doubt):
            return _check(decision, bundle, f"revision {decision.text('bundle_revision')}")
        version = decision.text("engine_version")
        try:
            return bundle, self.engines.named(version)
        except EngineUnavailableError as error:
            return _check(decision, Doubt.ENGINE_VERSION, error.message)

    async def _group(self, decisions: Sequence[RecordedDecision], bundle: Bundle, engine: str) -> list[Check]:
        try:
            answers = await self.evaluate(decisions, bundle, engine=engine, remember=False)
        except AisecopsError as error:
            return [_check(decision, Doubt.NO_DECISION, error.message) for decision in decisions]
        return [_judged(decision, answer) for decision, answer in zip(decisions, answers, strict=True)]


def _judged(decision: RecordedDecision, answer: Answer) -> Check:
    if isinstance(answer, AisecopsError):
        return _check(decision, Doubt.NO_DECISION, answer.message)
    if answer.conclusion is None or same(recorded_conclusion(decision), answer.conclusion):
        return _check(decision)
    return _check(decision, Doubt.NOT_REPRODUCED, f"{decision.text('outcome')} became {answer.conclusion['outcome']}")


def _check(decision: RecordedDecision, doubt: Doubt | None = None, detail: str = "") -> Check:
    return Check(decision.decision_id, decision.text("bundle_revision"), doubt, detail)
