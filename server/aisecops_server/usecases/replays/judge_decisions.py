"""What would become of recorded decisions: the same, another outcome, another reason, or nobody can know.

Where the two policies mean the same nothing is evaluated. What cannot be judged is never guessed: a document that is
gone or masked, a policy that is gone, a field that the candidate reads and the document cannot have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from aisecops_server.domain.bundles.bundle import Bundle, PolicyTree
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.replays.comparison import Comparison, compare, error, indeterminate, recorded_conclusion
from aisecops_server.domain.replays.document_drift import has_other_version, missing_fields, read_by
from aisecops_server.domain.replays.recorded_decision import Doubt, RecordedDecision
from aisecops_server.domain.replays.replay import VerdictClass
from aisecops_server.usecases.replays.compare_policies import CompareMeanings
from aisecops_server.usecases.replays.evaluate_documents import Answer, Concluded, EvaluateDocuments
from aisecops_server.usecases.replays.resolve_policy import ResolvedPolicy, ResolvePolicy

# What the library says of a document that it cannot read.
MALFORMED = "plan.malformed"
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")


class Thoroughness(Enum):
    """Whether what is known already counts, or everything is evaluated anew."""

    AS_NEEDED = "as needed"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Contest:
    """The two sides of a comparison; without a ``baseline`` what is on record is the other side."""

    candidate: ResolvedPolicy
    baseline: ResolvedPolicy | None = None
    thoroughness: Thoroughness = Thoroughness.AS_NEEDED


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one decision, and whether that took an evaluation."""

    comparison: Comparison
    evaluated: bool = False


@dataclass(frozen=True, slots=True)
class JudgeDecisions:
    """Judges recorded decisions on a candidate policy."""

    policies: ResolvePolicy
    evaluate: EvaluateDocuments
    meanings: CompareMeanings
    _names: dict[str, frozenset[str]] = field(default_factory=dict)

    async def __call__(self, decisions: Sequence[RecordedDecision], contest: Contest) -> list[Judgement]:
        """Return what became of each decision, in their order.

        Raises:
            BundleRejectedError, EngineUnavailableError: the policy to judge by cannot be asked at all.
        """
        judged: dict[int, Judgement] = {}
        open_: list[int] = []
        for at, decision in enumerate(decisions):
            known = _unjudgeable(decision) or await self._alike(decision, contest)
            if known is None:
                open_.append(at)
            else:
                judged[at] = Judgement(known)
        left = [decisions[at] for at in open_]
        after = await self._answers(left, contest.candidate, contest.thoroughness)
        before = await self._baseline(left, contest)
        for number, at in enumerate(open_):
            judged[at] = self._judged(decisions[at], before[number] if before else None, after[number], contest)
        return [judged[at] for at in range(len(decisions))]

    async def is_alike(self, revision: str, contest: Contest) -> bool:
        """Return whether a recorded revision, or the baseline, decides as the candidate does, by what they mean."""
        candidate, baseline = contest.candidate, contest.baseline
        if candidate.tree is None or (baseline is not None and baseline.tree is None):
            return False
        tree = baseline.tree if baseline else await self.policies.tree_of(revision)
        return tree is not None and not await self.meanings(tree, candidate.tree)

    async def _alike(self, decision: RecordedDecision, contest: Contest) -> Comparison | None:
        if contest.thoroughness is Thoroughness.EVERYTHING:
            return None
        own = contest.baseline.side.engine if contest.baseline else decision.text("engine_version")
        if own != contest.candidate.side.engine or not await self.is_alike(decision.text("bundle_revision"), contest):
            return None
        if contest.baseline:
            return Comparison(VerdictClass.SAME)
        outcome = decision.text("outcome")
        return Comparison(VerdictClass.SAME, outcome, outcome)

    async def _baseline(self, decisions: Sequence[RecordedDecision], contest: Contest) -> list[Answer | Doubt] | None:
        """Return what the baseline says; where it decided itself, on this engine, that is what is on record."""
        baseline = contest.baseline
        if baseline is None:
            return None
        asked = [decision for decision in decisions if not _is_record_of(decision, contest)]
        answers = iter(await self._answers(asked, baseline, contest.thoroughness))
        return [
            Concluded(b"", None, evaluated=False) if _is_record_of(decision, contest) else next(answers)
            for decision in decisions
        ]

    async def _answers(
        self, decisions: Sequence[RecordedDecision], policy: ResolvedPolicy, thoroughness: Thoroughness
    ) -> list[Answer | Doubt]:
        groups: dict[str, tuple[Bundle, list[int]]] = {}
        answers: dict[int, Answer | Doubt] = {}
        if policy.bundle:
            groups = {policy.bundle.digest: (policy.bundle, list(range(len(decisions))))} if decisions else {}
        else:
            for at, decision in enumerate(decisions):
                bundle = await self.policies.own_bundle(decision, policy.changes)
                if isinstance(bundle, Doubt):
                    answers[at] = bundle
                else:
                    groups.setdefault(bundle.digest, (bundle, []))[1].append(at)
        for bundle, places in groups.values():
            found = await self.evaluate(
                [decisions[at] for at in places],
                bundle,
                engine=policy.side.engine,
                remember=thoroughness is Thoroughness.AS_NEEDED,
            )
            answers.update(zip(places, found, strict=True))
        return [answers[at] for at in range(len(decisions))]

    def _judged(
        self, decision: RecordedDecision, before: Answer | Doubt | None, after: Answer | Doubt, contest: Contest
    ) -> Judgement:
        if _as_recorded(before) and isinstance(after, Concluded) and after.conclusion is None:
            outcome = decision.text("outcome")
            return Judgement(Comparison(VerdictClass.SAME, outcome, outcome), after.evaluated)
        was = _conclusion(decision, before) if before is not None else recorded_conclusion(decision)
        now = _conclusion(decision, after)
        evaluated = any(isinstance(answer, Concluded) and answer.evaluated for answer in (before, after))
        if isinstance(was, Comparison):
            return Judgement(was, evaluated)
        if isinstance(now, Comparison):
            return Judgement(now, evaluated)
        compared = compare(was, now)
        if compared.verdict_class is not VerdictClass.SAME and (drift := self._drift(decision, compared, contest)):
            compared = indeterminate(compared.before, f"{Doubt.SCHEMA_DRIFT}: {drift}")
        return Judgement(compared, evaluated)

    def _drift(self, decision: RecordedDecision, compared: Comparison, contest: Contest) -> str:
        """Return what the candidate reads of a document that cannot have it, or that it cannot read it at all."""
        missing = missing_fields(decision.content)
        if any(firing.rule == MALFORMED for firing in compared.fires_now):
            return ", ".join(missing) or "the candidate cannot read the document"
        tree = contest.candidate.tree
        return ", ".join(read_by(self._mentioned(tree), missing)) if tree and missing else ""

    def _mentioned(self, tree: PolicyTree) -> frozenset[str]:
        if tree.commit not in self._names:
            texts = (content for path, content in tree.files.items() if path.endswith(".rego"))
            self._names[tree.commit] = frozenset(name.decode() for text in texts for name in _NAME.findall(text))
        return self._names[tree.commit]


def _is_record_of(decision: RecordedDecision, contest: Contest) -> bool:
    """Return whether the baseline made a decision; a replay asks a sample of them again before it relies on it."""
    baseline = contest.baseline
    return (
        baseline is not None
        and baseline.bundle is not None
        and contest.thoroughness is Thoroughness.AS_NEEDED
        and decision.text("bundle_digest") == baseline.bundle.digest
        and decision.text("engine_version") == baseline.side.engine
    )


def _as_recorded(before: Answer | Doubt | None) -> bool:
    return before is None or (isinstance(before, Concluded) and before.conclusion is None)


def _unjudgeable(decision: RecordedDecision) -> Comparison | None:
    outcome = decision.text("outcome")
    if decision.doubt is not None:
        return indeterminate(outcome, decision.doubt.value)
    if decision.missing_fields:
        return indeterminate(outcome, f"{Doubt.FIELDS_MISSING}: {', '.join(decision.missing_fields)}")
    if has_other_version(decision.content):
        return indeterminate(outcome, f"{Doubt.SCHEMA_DRIFT}: schema_version")
    return None


def _conclusion(decision: RecordedDecision, answer: Answer | Doubt) -> Mapping[str, JsonValue] | Comparison:
    if isinstance(answer, Doubt):
        return indeterminate(decision.text("outcome"), answer.value)
    if isinstance(answer, AisecopsError):
        return error(decision.text("outcome"), answer.reason)
    return recorded_conclusion(decision) if answer.conclusion is None else answer.conclusion
