"""Parts of a replay in, what became of their decisions out; by this process, or for somebody else's replay.

A part names its policies by what they resolved to, so they are found again, and remembered while one replay asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aisecops_server.domain.errors import IntegrityError, LogUnavailableError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.replays.comparison import Comparison, Firing
from aisecops_server.domain.replays.recorded_decision import Place, RecordedDecision
from aisecops_server.domain.replays.replay import ReplayId, Selection, Side, VerdictClass
from aisecops_server.domain.replays.replay_part import PartAsked, PartFound
from aisecops_server.domain.replays.replay_report import Tallies
from aisecops_server.ports.replay import History
from aisecops_server.usecases.replays.judge_decisions import Contest, JudgeDecisions, Judgement, Thoroughness
from aisecops_server.usecases.replays.resolve_policy import ResolvedPolicy, ResolvePolicy

_ENGINE_REASONS = ("ENGINE_UNAVAILABLE",)
_REMEMBERED = 8


@dataclass(frozen=True, slots=True)
class JudgePart:
    """Judges one part on a contest that is resolved."""

    history: History
    judge: JudgeDecisions

    async def __call__(self, places: Sequence[Place], selection: Selection, contest: Contest) -> PartFound:
        """Return what becomes of the decisions at ``places`` that are selected.

        Raises:
            BundleRejectedError, EngineUnavailableError: the policy to judge by cannot be asked.
            LogUnavailableError: history cannot be read.
        """
        selected = [decision for decision in await self.history.read(places) if selection.holds(decision)]
        judged = await self.judge(selected, contest)
        tallies, results = _summed(selected, judged)
        return PartFound(
            sums=tallies.as_json(),
            results=results,
            evaluated=sum(judgement.evaluated for judgement in judged),
            # What failed because no engine answered is tried again the next time.
            transient=any(judgement.comparison.reason in _ENGINE_REASONS for judgement in judged),
        )


@dataclass(frozen=True, slots=True)
class JudgeParts:
    """Judges parts of replays that another process runs; implements ``Parts``. It reads history and policy itself."""

    history: History
    policies: ResolvePolicy
    part: JudgePart
    at_once: int = 1
    _contests: dict[tuple[ReplayId, bool], Contest] = field(default_factory=dict)

    async def judge(self, asked: PartAsked) -> PartFound:
        """Return what becomes of the decisions of ``asked``, which must be the ones that stand there in this history.

        Raises:
            LogUnavailableError: history ends before it, or cannot be read.
            IntegrityError: other decisions stand there, or the policy that was named came out otherwise here.
            UnknownRevisionError: the policy repository of this process does not have the policy.
            BundleRejectedError, EngineUnavailableError: the policy to judge by cannot be asked.
        """
        await self._require_same_history(asked)
        return await self.part(asked.places, asked.question.selection, await self._contest(asked))

    async def _require_same_history(self, asked: PartAsked) -> None:
        head = await self.history.head()
        if head.size < asked.question.head.size:
            raise LogUnavailableError(
                f"the history here ends at {head.size}, and the replay looks up to {asked.question.head.size}",
                hint="Give the worker the log that is replayed, or a copy that is as new",
            )
        first = asked.places[0]
        found = await self.history.places(
            asked.question.selection,
            after=Place(first.trace, first.index - 1, b""),
            limit=len(asked.places),
            until=asked.question.head.size,
        )
        if tuple(found) != asked.places:
            raise IntegrityError(
                "other decisions stand here than in the history that is replayed",
                hint="Give the worker the log that is replayed, or a copy of it",
            )

    async def _contest(self, asked: PartAsked) -> Contest:
        key = (asked.question.replay_id, asked.anew)
        if key not in self._contests:
            if len(self._contests) >= _REMEMBERED:
                self._contests.clear()
            baseline = asked.question.baseline
            self._contests[key] = Contest(
                candidate=await self._policy(asked.question.candidate, asked),
                baseline=await self._policy(baseline, asked) if baseline else None,
                thoroughness=Thoroughness.EVERYTHING if asked.anew else Thoroughness.AS_NEEDED,
            )
        return self._contests[key]

    async def _policy(self, side: Side, asked: PartAsked) -> ResolvedPolicy:
        draft = next((tree for tree in asked.drafts if tree.commit == side.revision), None)
        resolved = await self.policies.again(side, draft)
        if resolved.bundle is not None and resolved.bundle.digest != side.digest:
            raise IntegrityError(
                f"policy {side.name} is another bundle here than where the replay runs",
                hint="Run the same version of aisecops on workers and where the replay runs",
            )
        return resolved


def result_of(decision: RecordedDecision, compared: Comparison) -> dict[str, JsonValue]:
    """Return what became of one decision as JSON."""
    return {
        "decision_id": decision.decision_id,
        "trace_id": decision.text("trace_id"),
        "log_index": decision.index,
        "agent_id": decision.agent_id,
        "tools": list(decision.tools),
        "bundle_revision": decision.text("bundle_revision"),
        "decided_at_micros": decision.decided_at_micros,
        "verdict_class": compared.verdict_class.value,
        "before": compared.before,
        "after": compared.after,
        "direction": compared.direction.value if compared.direction else "",
        "risky": compared.risky,
        "fires_now": [_firing(firing) for firing in compared.fires_now],
        "no_longer": [_firing(firing) for firing in compared.no_longer],
        "parts": list(compared.parts),
        "reason": compared.reason,
    }


def _summed(
    decisions: Sequence[RecordedDecision], judged: Sequence[Judgement]
) -> tuple[Tallies, list[dict[str, JsonValue]]]:
    tallies = Tallies()
    results = []
    for decision, judgement in zip(decisions, judged, strict=True):
        tallies.add(decision, judgement.comparison)
        if judgement.comparison.verdict_class is not VerdictClass.SAME:
            results.append(result_of(decision, judgement.comparison))
    return tallies, results


def _firing(firing: Firing) -> dict[str, JsonValue]:
    return {"rule": firing.rule, "step_id": firing.step_id, "effect": firing.effect}
