"""Why a decision is made differently in a replay: rules, changed clauses, facts, and the smallest change otherwise.

Everything is found by evaluating: which difference between the policies is decisive by taking it back, which facts
count by changing them, what would have to be otherwise by trying. It reads, asks engines and keeps what it found; what
it tells could help somebody to get past a rule, so it is for those who read everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aisecops_server.domain.bundles.bundle import Bundle, PolicyTree, RuleDoc
from aisecops_server.domain.display.web_links import commit_link, line_link
from aisecops_server.domain.errors import AisecopsError, InvalidRequestError, NotFoundError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes
from aisecops_server.domain.policy.policy_meaning import Change
from aisecops_server.domain.replays.comparison import Comparison, recorded_conclusion
from aisecops_server.domain.replays.fidelity import Check
from aisecops_server.domain.replays.lever import Edit, Lever, LeverKind, pointed
from aisecops_server.domain.replays.levers import Json, Scene, words_of
from aisecops_server.domain.replays.recorded_decision import Doubt, RecordedDecision
from aisecops_server.domain.replays.replay import ReplayId, ReplayRecord, Side, VerdictClass
from aisecops_server.ports import PolicyRepository
from aisecops_server.ports.replay import Engines, History, ReplayStore
from aisecops_server.usecases.replays.attribute_change import AttributeChange, Cause, Flip
from aisecops_server.usecases.replays.check_fidelity import CheckFidelity
from aisecops_server.usecases.replays.compare_policies import CompareMeanings
from aisecops_server.usecases.replays.evaluate_documents import Answer, Concluded, EvaluateDocuments
from aisecops_server.usecases.replays.face_sides import FacedSide, FaceSides
from aisecops_server.usecases.replays.judge_decisions import Contest, JudgeDecisions, Thoroughness
from aisecops_server.usecases.replays.judge_parts import result_of
from aisecops_server.usecases.replays.offer_grant import OfferGrant
from aisecops_server.usecases.replays.read_replays import ReadReplays
from aisecops_server.usecases.replays.resolve_policy import ResolvedPolicy, ResolvePolicy
from aisecops_server.usecases.replays.search_change import SearchChange, Sought, Tried, Wish

MOST_DECISIONS = 8
# Each takes engines of its own.
_AT_ONCE = 2
_MOST_FACTS = 24
_COMPARED = (VerdictClass.OUTCOME_FLIP, VerdictClass.REASON_ONLY, VerdictClass.OBLIGATION_CHANGE)


@dataclass(frozen=True, slots=True)
class SeekOtherwise:
    """What finds out by trying: the smallest change, a missing grant, the decisive difference, and what was none."""

    search: SearchChange
    offer: OfferGrant
    attribute: AttributeChange
    face: FaceSides


@dataclass(frozen=True, slots=True)
class Judges:
    """What decides anew: on any policy, on the decision's own, and what lies between two policies."""

    policies: ResolvePolicy
    engines: Engines
    evaluate: EvaluateDocuments
    judge: JudgeDecisions
    fidelity: CheckFidelity
    meanings: CompareMeanings


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of a decision: files and bundle that decided, as far as they are there, and what they concluded."""

    tree: PolicyTree | None
    bundle: Bundle | None
    conclusion: Json | None
    engine: str
    revision: str
    page: str

    def commit_link(self) -> str:
        """Return where its commit is shown on the web, if it is one."""
        return "" if self.tree is None or self.tree.drafted else commit_link(self.page, self.revision)

    def line_link(self, file: str, line: int) -> str:
        """Return where a line of it is shown on the web."""
        # A commit that was changed for a draft is named by its content, which nobody else has.
        return self.commit_link() and line_link(self.page, self.revision, file=file, line=line)

    def place(self, rule: str) -> dict[str, JsonValue]:
        """Return where a rule stands."""
        rules: Sequence[RuleDoc] = self.bundle.rules if self.bundle else ()
        found = next((doc for doc in rules if doc.rule == rule), None)
        if found is None:
            return {"file": "", "line": 0, "link": ""}
        return {"file": found.file, "line": found.line, "link": self.line_link(found.file, found.line)}


@dataclass(frozen=True, slots=True)
class ExplainChange:
    """Explains what a replay changes about single decisions."""

    history: History
    store: ReplayStore
    reads: ReadReplays
    judges: Judges
    seek: SeekOtherwise
    repository: PolicyRepository
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def __call__(self, replay_id: ReplayId, *, decision_id: str = "", trace_id: str = "") -> dict[str, JsonValue]:
        """Return why one decision, or those of a trace, are made differently; what stays the same is only counted.

        Raises:
            NotFoundError: there is no such replay, decision or trace.
            InvalidRequestError: neither a decision nor a trace is named, or both are.
            UnknownRevisionError, BundleRejectedError, EngineUnavailableError: the replay's policy cannot be asked now.
        """
        if bool(decision_id) == bool(trace_id):
            raise InvalidRequestError("name a decision or a trace", hint="One of the two", field="decision_id")
        record = await self.reads.one(replay_id)
        decisions = await self._decisions(decision_id, trace_id)
        contest = await self._contest(record)
        judged = await self.judges.judge(decisions, contest)
        changed = [
            (decision, judgement.comparison)
            for decision, judgement in zip(decisions, judged, strict=True)
            if judgement.comparison.verdict_class is not VerdictClass.SAME
        ]
        async with self._turns:
            explained = [await self._explained(*pair, contest) for pair in changed[:MOST_DECISIONS]]
        return {
            "replay_id": replay_id,
            "changes": explained,
            "same": len(decisions) - len(changed),
            "left_out": max(0, len(changed) - MOST_DECISIONS),
        }

    async def _decisions(self, decision_id: str, trace_id: str) -> list[RecordedDecision]:
        if decision_id:
            return [await self.history.decision(decision_id)]
        found = await self.history.of_trace(trace_id)
        if not found:
            raise NotFoundError(
                f"there is no trace {trace_id[:64]} with a decision",
                hint="'aisecops trace list' shows them",
                id=trace_id[:64],
            )
        return found

    async def _contest(self, record: ReplayRecord) -> Contest:
        candidate = await self._policy(record.question["candidate"])
        baseline = record.question["baseline"]
        return Contest(
            candidate, await self._policy(baseline) if baseline else None, thoroughness=Thoroughness.EVERYTHING
        )

    async def _policy(self, fields: Any) -> ResolvedPolicy:
        side = Side(**{**fields, "changes": tuple(fields["changes"])})
        return await self.judges.policies.again(side, await self.store.draft(side.revision))

    async def _explained(self, decision: RecordedDecision, compared: Comparison, contest: Contest) -> JsonValue:
        [check] = await self.judges.fidelity([decision])
        told: dict[str, JsonValue] = {"result": result_of(decision, compared), **_reproduced(check)}
        if compared.verdict_class not in _COMPARED:
            return told
        before = await self._before(decision, contest)
        after = await self._side(decision, contest.candidate)
        if before.conclusion is None or after.conclusion is None or after.bundle is None:
            return told
        sought, read = await self._sought(decision, compared, before, after)
        return {
            **told,
            "before_revision": before.revision,
            "after_revision": after.revision,
            "before_link": before.commit_link(),
            "after_link": after.commit_link(),
            "rules": list(_rules(compared, before, after)),
            **await self._policies(Flip(decision, compared.before, compared.after, _rules_of(compared)), before, after),
            "facts": _facts(decision, compared, (before, after), read=(read, sought.alone)),
            "smallest": await self._smallest(decision, sought, after, wish=_wish(compared)),
        }

    async def _before(self, decision: RecordedDecision, contest: Contest) -> _Side:
        if contest.baseline is not None:
            return await self._side(decision, contest.baseline)
        policies, revision = self.judges.policies, decision.text("bundle_revision")
        bundle = await policies.own_bundle(decision)
        return _Side(
            tree=await policies.own_tree(decision),
            bundle=None if isinstance(bundle, Doubt) else bundle,
            conclusion=recorded_conclusion(decision),
            engine=decision.text("engine_version"),
            revision=revision,
            page=await self.repository.web_page(),
        )

    async def _side(self, decision: RecordedDecision, policy: ResolvedPolicy) -> _Side:
        tree, bundle = policy.tree, policy.bundle
        if bundle is None:
            tree = await self.judges.policies.own_tree(decision, policy.changes)
            own = await self.judges.policies.own_bundle(decision, policy.changes)
            bundle = None if isinstance(own, Doubt) else own
        conclusion = None
        if bundle is not None:
            [answer] = await self.judges.evaluate([decision], bundle, engine=policy.side.engine)
            conclusion = _told(answer, decision)
        revision = tree.commit if tree is not None else decision.text("bundle_revision")
        page = await self.repository.web_page()
        return _Side(tree, bundle, conclusion, policy.side.engine, revision, page)

    async def _sought(
        self, decision: RecordedDecision, compared: Comparison, before: _Side, after: _Side
    ) -> tuple[Sought, tuple[Tried, ...]]:
        """Return the smallest change on the candidate, and what each lever alone does on the baseline."""
        scene = _scene(decision, after)
        engine = await self._engine(after)
        if engine is None:
            return Sought((), "", 0, "time", (), ()), ()
        sought = await self.seek.search(scene, engine, _wish(compared))
        del engine
        # What rules read that no longer fire can only be seen where they did.
        other = await self._engine(before) if compared.no_longer else None
        read = await self.seek.search.read(_scene(decision, before), other) if other is not None else ()
        return sought, read

    async def _engine(self, side: _Side) -> Any:
        try:
            return await self.judges.engines.acquire(side.bundle, engine=side.engine) if side.bundle else None
        except AisecopsError:
            return None

    async def _policies(self, flip: Flip, before: _Side, after: _Side) -> dict[str, JsonValue]:
        """Return what differs between the two policies, and their lines beside each other."""
        if before.tree is None or after.tree is None:
            return {"causes": [], "causes_left_out": 0}
        changes = await self.judges.meanings(before.tree, after.tree)
        trees = (before.tree, after.tree)
        found = await self.seek.attribute(flip, changes, trees=trees, engine=after.engine)
        places = [side.place(rule) for side in (before, after) for rule in sorted(flip.rules)]
        sides = (
            FacedSide(before.tree, before.bundle, before.engine, before.conclusion or {}),
            FacedSide(after.tree, after.bundle, after.engine, after.conclusion or {}),
        )
        files = sorted({str(place["file"]) for place in places if place["file"]})
        return {
            "causes": [_cause(cause, before, after) for cause in found],
            "causes_left_out": len(changes) - len(found),
            "sides": await self.seek.face(flip.decision, sides, causes=found, rule_files=files),
        }

    async def _smallest(self, decision: RecordedDecision, sought: Sought, after: _Side, *, wish: Wish) -> JsonValue:
        levers, outcome, tries = sought.levers, sought.outcome, sought.tries
        if after.tree is not None and (not levers or levers[0].kind is LeverKind.STEP):
            scene = _scene(decision, after)
            offered = await self.seek.offer(decision, scene, wish, tree=after.tree, engine=after.engine)
            tries += offered.tries
            if offered.lever is not None:
                levers, outcome = (offered.lever,), offered.outcome
        return {
            "found": bool(levers),
            "outcome": outcome,
            "words": words_of(levers) if levers else "",
            "parts": [_part(lever, decision.content) for lever in levers],
            "others": [words_of([lever]) for lever in sought.others],
            "tries": tries,
            "ended_by": sought.ended_by,
        }


def _rules(compared: Comparison, before: _Side, after: _Side) -> Iterator[JsonValue]:
    for firings, side, fires_now in ((compared.fires_now, after, True), (compared.no_longer, before, False)):
        for firing in firings:
            finding = _finding(side.conclusion, firing.rule, firing.step_id)
            yield {
                "rule": firing.rule,
                "step_id": firing.step_id,
                "effect": firing.effect,
                "fires_now": fires_now,
                "title": str(finding.get("title", "")),
                "message": str(finding.get("message", "")),
                "before": before.place(firing.rule),
                "after": after.place(firing.rule),
            }


def _cause(cause: Cause, before: _Side, after: _Side) -> JsonValue:
    change: Change = cause.change
    return {
        "change": change.as_json(),
        "weight": cause.weight.value,
        "before_link": before.line_link(change.before.file, change.before.line),
        "after_link": after.line_link(change.after.file, change.after.line),
    }


def _wish(compared: Comparison) -> Wish:
    """Return what would be otherwise: what was before, else more where something was refused, and less where not."""
    if compared.before != compared.after:
        return Wish(compared.after, compared.before)
    return Wish(compared.after, "DENY" if compared.after == "ALLOW" else "ALLOW")


def _scene(decision: RecordedDecision, side: _Side) -> Scene:
    tables = side.bundle.tables if side.bundle else {}
    return Scene(decision.content, tables, side.revision, side.conclusion or {})


def _told(answer: Answer, decision: RecordedDecision) -> Json | None:
    if not isinstance(answer, Concluded):
        return None
    return recorded_conclusion(decision) if answer.conclusion is None else answer.conclusion


def _reproduced(check: Check) -> dict[str, JsonValue]:
    why = "" if check.doubt is None else f"{check.doubt.value} {check.detail}".strip()
    return {"reproduced": check.doubt is None, "not_reproduced_because": why}


def _rules_of(compared: Comparison) -> frozenset[str]:
    return frozenset(firing.rule for firing in (*compared.fires_now, *compared.no_longer))


def _finding(conclusion: Json | None, rule: str, step_id: str) -> Json:
    found: list[Json] = list((conclusion or {}).get("findings", []))
    return next((one for one in found if (one["rule"], one["step"]) == (rule, step_id)), {})


def _facts(
    decision: RecordedDecision,
    compared: Comparison,
    sides: tuple[_Side, _Side],
    *,
    read: tuple[Sequence[Tried], Sequence[Tried]],
) -> Sequence[JsonValue]:
    """Return what the rules read that fire now and no longer: what they say, and what turned them when changed."""
    before, after = sides
    found: dict[tuple[str, str], dict[str, JsonValue]] = {}
    for firings, side, tried in ((compared.fires_now, after, read[1]), (compared.no_longer, before, read[0])):
        for firing in firings:
            said: list[Json] = list(_finding(side.conclusion, firing.rule, firing.step_id).get("facts", []))
            for fact in said:
                key = (firing.rule, str(fact["pointer"]))
                found[key] = _fact(*key, fact["value"], decisive=False)
            for pointer in _turning(tried, firing.rule, firing.step_id):
                value = pointed(decision.content, pointer)
                if value is not None:
                    found[firing.rule, pointer] = _fact(firing.rule, pointer, value, decisive=True)
    return list(found.values())[:_MOST_FACTS]


def _turning(tried: Sequence[Tried], rule: str, step_id: str) -> list[str]:
    """Return the places whose change alone keeps a rule from firing."""
    quiet = [
        one.levers[0] for one in tried if one.conclusion is not None and not _finding(one.conclusion, rule, step_id)
    ]
    kept = [lever for lever in quiet if lever.kind not in (LeverKind.APPROVAL, LeverKind.STEP)]
    return list(dict.fromkeys(edit.pointer for lever in kept for edit in lever.edits))


def _fact(rule: str, pointer: str, value: JsonValue, *, decisive: bool) -> dict[str, JsonValue]:
    return {"rule": rule, "pointer": pointer, "value_json": _json(value), "decisive": decisive}


def _part(lever: Lever, document: Mapping[str, JsonValue]) -> JsonValue:
    return {
        "kind": lever.kind.value,
        "words": lever.words,
        "edits": [_edit(edit, document) for edit in lever.edits],
    }


def _edit(edit: Edit, document: Mapping[str, JsonValue]) -> JsonValue:
    was = pointed(document, edit.pointer)
    return {
        "pointer": edit.pointer,
        "before_json": "" if was is None else _json(was),
        "after_json": "" if edit.removes else _json(edit.value),
    }


def _json(value: JsonValue) -> str:
    return canonical_bytes(value).decode()
