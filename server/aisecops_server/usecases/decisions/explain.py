"""Why a stored decision came out as it did, recomputed from the stored document at the recorded revision.

Explaining is a pure function of (document, revision): it reads the log and evaluates, and records nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from aisecops_server.domain.bundles.bundle import RuleDoc
from aisecops_server.domain.callers.identity import PrincipalId
from aisecops_server.domain.decisions.decision import Conclusion, conclude
from aisecops_server.domain.decisions.decision_json import conclusion_details
from aisecops_server.domain.decisions.evaluation_trace import fold
from aisecops_server.domain.decisions.held_lines import Mark, Place, held_lines
from aisecops_server.domain.errors import AisecopsError, NotFoundError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.log.record import StoredDecision
from aisecops_server.domain.plans.plan import StepId
from aisecops_server.ports import EventLog, PolicyEngine
from aisecops_server.usecases.decisions.decide import EngineSource

# Full traces are some fifty times the work of a decision.
TRACE_DEADLINE_FACTOR = 50


@dataclass(frozen=True, slots=True)
class Explanation:
    """A stored decision with the rules of its revision, whether it reproduces, and what the engine did if asked.

    That is its trace, folded to the rules that matter, and the lines of policy that were reached.
    """

    stored: StoredDecision
    rules: Mapping[str, RuleDoc]
    reproduced: bool
    why_not: str
    trace_text: str = ""
    lines: Mapping[Place, Mark] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explain:
    """Explains stored decisions. It can read the log and evaluate."""

    engines: EngineSource
    log: EventLog
    deadline_seconds: float

    async def __call__(self, decision_id: str, *, full: bool, only_of: PrincipalId | None = None) -> Explanation:
        """Explain one decision; ``full`` adds the engine's own trace, folded to the rules that matter.

        Raises:
            NotFoundError: there is no such decision, or not of ``only_of`` if that is given.
        """
        try:
            stored = await self.log.decision(decision_id)
        except NotFoundError as error:
            raise _unknown(decision_id) from error
        if only_of is not None and not _is_of(stored, only_of):
            # The same answer, after the same work, as for a decision that does not exist: ids cannot be probed.
            raise _unknown(decision_id)
        if stored.is_erased:
            why = "what it was decided on was erased, so nobody can decide it again"
            return Explanation(stored, {}, reproduced=False, why_not=why)
        try:
            engine = await self.engines.engine_at(str(stored.details["bundle_revision"]))
            why_not = await self._difference(engine, stored)
            trace = await self._trace(engine, stored) if full else ""
        except AisecopsError as error:
            return Explanation(stored, {}, reproduced=False, why_not=error.message)
        return Explanation(
            stored,
            {rule.rule: rule for rule in engine.bundle.rules},
            reproduced=not why_not,
            why_not=why_not,
            trace_text=await asyncio.to_thread(fold, trace) if trace else "",
            lines=await asyncio.to_thread(held_lines, trace) if trace else {},
        )

    async def _difference(self, engine: PolicyEngine, stored: StoredDecision) -> str:
        details = stored.details
        if engine.bundle.digest != details["bundle_digest"]:
            return f"the bundle of {engine.bundle.revision} has another digest now"
        verdict = await engine.evaluate(stored.document, deadline_seconds=self.deadline_seconds)
        again = conclude(verdict, step_ids=_step_ids(details), expected_revision=engine.bundle.revision)
        if verdict.engine_version != details["engine_version"]:
            return f"engine {verdict.engine_version} answered, {details['engine_version']} was recorded"
        return "" if _same(again, details) else "the same document gives another decision now"

    async def _trace(self, engine: PolicyEngine, stored: StoredDecision) -> str:
        return await engine.explain(stored.document, deadline_seconds=self.deadline_seconds * TRACE_DEADLINE_FACTOR)


def _is_of(stored: StoredDecision, principal_id: PrincipalId) -> bool:
    asker = stored.details.get("principal")
    return isinstance(asker, dict) and asker.get("id") == principal_id


def _unknown(decision_id: str) -> NotFoundError:
    return NotFoundError(
        f"there is no decision {decision_id}", hint="List traces with 'aisecops trace list'", id=decision_id
    )


def _step_ids(details: Mapping[str, JsonValue]) -> list[StepId]:
    steps = details["steps"]
    if not isinstance(steps, list):
        return []
    return [StepId(str(step["id"])) for step in steps if isinstance(step, dict)]


def _same(again: Conclusion, details: Mapping[str, JsonValue]) -> bool:
    return all(details.get(key) == value for key, value in conclusion_details(again).items())
