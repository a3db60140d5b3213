"""Recorded decisions, spread over every kind of them, with their private words replaced, to be replayed elsewhere.

Ordering: replace, decide again on the decision's own policy, compare. What is decided otherwise once its words are
replaced is left out and counted: it was decided on words that nobody may take along.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.decisions.decision_json import CONCLUSION_FIELDS
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.replays.comparison import recorded_conclusion
from aisecops_server.domain.replays.pseudonyms import Pseudonyms, words_of
from aisecops_server.domain.replays.recorded_decision import Doubt, RecordedDecision
from aisecops_server.domain.replays.replay import Selection
from aisecops_server.domain.replays.sampling import allocation, spread
from aisecops_server.ports.replay import Engines, History
from aisecops_server.usecases.replays.evaluate_documents import Concluded, EvaluateDocuments
from aisecops_server.usecases.replays.resolve_policy import ResolvePolicy

# Of a record nothing else is passed on: these name it, say which policy decided, and what it decided.
_KEPT_DETAILS = (
    "decision_id",
    "trace_id",
    "bundle_revision",
    "bundle_digest",
    "engine_version",
    "decided_at_micros",
    "mode",
)
_STRATA_TRACES = 256 * 1024
_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class ExportedCorpus:
    """What was exported, and why the rest of what was chosen was not."""

    decisions: tuple[RecordedDecision, ...]
    left_out: Mapping[str, int]
    selected: int


@dataclass(frozen=True, slots=True)
class ExportCorpus:
    """Exports a corpus. It reads history and asks engines, and nothing more."""

    history: History
    policies: ResolvePolicy
    engines: Engines
    evaluate: EvaluateDocuments

    async def __call__(
        self, selection: Selection, *, most: int, key: bytes, always: Sequence[str] = ()
    ) -> ExportedCorpus:
        """Return at most ``most`` decisions of every kind, and all of the traces ``always``; ``key`` is for this alone.

        Raises:
            LogUnavailableError, IntegrityError: history cannot be read.
            EngineUnavailableError: there is no engine to decide with.
        """
        chosen = await self._chosen(selection, most, always)
        kept: dict[int, RecordedDecision] = {}
        left_out: Counter[str] = Counter()
        groups: dict[tuple[str, str], tuple[Bundle, list[RecordedDecision]]] = {}
        for decision in chosen:
            found = await self._own(decision)
            if isinstance(found, str):
                left_out[found] += 1
            else:
                groups.setdefault((found.digest, decision.text("engine_version")), (found, []))[1].append(decision)
        for (_, version), (bundle, decisions) in groups.items():
            names = await self._names(decisions, key)
            for start in range(0, len(decisions), _AT_ONCE):
                part = decisions[start : start + _AT_ONCE]
                for decision, made in zip(part, await self._replaced(part, bundle, version, names=names), strict=True):
                    if isinstance(made, str):
                        left_out[made] += 1
                    else:
                        kept[decision.index] = made
        return ExportedCorpus(tuple(kept[index] for index in sorted(kept)), dict(sorted(left_out.items())), len(chosen))

    async def _chosen(self, selection: Selection, most: int, always: Sequence[str]) -> list[RecordedDecision]:
        until = (await self.history.head()).size
        strata = await self.history.strata(selection, most=_STRATA_TRACES, until=until)
        taken = allocation({name: len(places) for name, places in strata.items()}, most)
        places = [place for name, count in taken.items() for place in spread(strata[name], count)]
        read = [each for each in await self.history.read(places) if selection.holds(each)]
        for trace_id in always:
            read += await self.history.of_trace(trace_id)
        return sorted({each.index: each for each in read}.values(), key=lambda each: each.index)

    async def _own(self, decision: RecordedDecision) -> Bundle | str:
        if decision.doubt is not None:
            return decision.doubt.value
        if decision.missing_fields:
            return Doubt.FIELDS_MISSING.value
        found = await self.policies.own_bundle(decision)
        return found.value if isinstance(found, Doubt) else found

    async def _names(self, decisions: Sequence[RecordedDecision], key: bytes) -> Pseudonyms:
        tree = await self.policies.tree_of(decisions[0].text("bundle_revision"))
        # Who asked is what an impact is counted by, and stands in every list of traces.
        agents = {decision.agent_id.encode() for decision in decisions}
        files = tree.files.items() if tree else ()
        return Pseudonyms(key, words_of([*(text for path, text in files if _decides(path)), *agents]))

    async def _replaced(
        self, decisions: Sequence[RecordedDecision], bundle: Bundle, version: str, *, names: Pseudonyms
    ) -> list[RecordedDecision | str]:
        made = [_replaced(decision, names) for decision in decisions]
        try:
            engine = self.engines.named(version)
        except AisecopsError:
            return [Doubt.ENGINE_VERSION.value] * len(made)
        answers = await self.evaluate(made, bundle, engine=engine, remember=False)
        return [
            _kept(was, now, answer.conclusion if isinstance(answer, Concluded) else None)
            for was, now, answer in zip(decisions, made, answers, strict=True)
        ]


def _decides(path: str) -> bool:
    """Return whether a rule can compare with what stands in a file: not in tests and cases, which tell of people."""
    return path.startswith(("rego/", "data/")) and not path.endswith("_test.rego")


def _replaced(decision: RecordedDecision, names: Pseudonyms) -> RecordedDecision:
    content = names.document(decision.content)
    document = canonical_bytes(content)
    details: dict[str, JsonValue] = {
        **{name: decision.details[name] for name in _KEPT_DETAILS if name in decision.details},
        "principal": {"id": decision.agent_id},
        "document_digest": digest(document),
        # Steps keep their ids only as far as the document does; the outcome is what is compared with.
        "steps": [{"id": names.text(str(step.get("id", "")))} for step in decision.parts("steps")],
        "outcome": decision.text("outcome"),
    }
    return replace(decision, content=content, document=document, details=details)


def _kept(
    was: RecordedDecision, now: RecordedDecision, conclusion: Mapping[str, JsonValue] | None
) -> RecordedDecision | str:
    """Return the replaced decision with what is concluded on it, unless that is something else than before."""
    if conclusion is None:
        return Doubt.NO_DECISION.value
    if _told(recorded_conclusion(was)) != _told(conclusion):
        return "decided_on_private_words"
    fields = {name: conclusion[name] for name in CONCLUSION_FIELDS if name in conclusion}
    return replace(now, details={**now.details, **fields})


def _told(conclusion: Mapping[str, JsonValue]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return outcome, rules and effects: what a replaced document must still give. Its facts have other words."""
    findings = conclusion.get("findings")
    listed = findings if isinstance(findings, list) else []
    rules = sorted((str(each["rule"]), str(each["effect"])) for each in listed if isinstance(each, Mapping))
    return str(conclusion.get("outcome", "")), tuple(rules)
