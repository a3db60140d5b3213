"""Recorded decisions in, a report of what would become of them out: first of a sample, then of all.

It is handed history to read, policy to build and engines to ask. It has no ledger, no approvals, no log to append to
and no tool to call, so a replay can neither spend, grant, record nor act.

Ordering rules:

1. Before any comparison, a sample is asked again on its own policy and engine: the report says whether that held.
2. A sample of every kind of decision answers early; the full pass comes after it.
3. Parts are compared several at a time and summed up in the order of the log, so that two runs give the same bytes.
4. A part that is done is kept; a replay that is stopped goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from aisecops_server.domain.errors import NotFoundError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.replays.fidelity import FEWEST, Fidelity, sample_size
from aisecops_server.domain.replays.recorded_decision import Place, RecordedDecision
from aisecops_server.domain.replays.replay import Phase, Progress, Question
from aisecops_server.domain.replays.replay_part import PartAsked
from aisecops_server.domain.replays.replay_report import Tallies
from aisecops_server.domain.replays.sampling import allocation, spread
from aisecops_server.ports.replay import History, Parts, ReplayStore
from aisecops_server.usecases.replays.check_fidelity import CheckFidelity
from aisecops_server.usecases.replays.compare_policies import CompareMeanings
from aisecops_server.usecases.replays.judge_decisions import Contest, JudgeDecisions, Thoroughness
from aisecops_server.usecases.replays.judge_parts import JudgePart
from aisecops_server.usecases.replays.resolve_policy import ResolvePolicy

# Parts are what is kept and what is reported; a few at once keep every core busy and memory flat.
PART_DECISIONS = 256
PARTS_AT_ONCE = 3
SAMPLED_TRACES = 32 * 1024
MOST_CHANGES = 100

Json = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how far a replay is, and what its sample says."""

    progress: Callable[[Progress], None] = lambda _progress: None
    early: Callable[[Json], None] = lambda _report: None


@dataclass(frozen=True, slots=True)
class _Sample:
    """Decisions that stand for all, with how many each stands for."""

    weighed: tuple[tuple[RecordedDecision, float], ...]
    rest: tuple[Place, ...]

    @property
    def decisions(self) -> list[RecordedDecision]:
        return [decision for decision, _ in self.weighed]


@dataclass(slots=True)
class _Run:
    """What one replay has found so far."""

    question: Question
    contest: Contest
    watch: Watch
    progress: Progress
    fidelity: Fidelity
    tallies: Tallies
    keys: list[str]

    def tell(self, **changed: object) -> None:
        self.progress = replace(self.progress, **changed)  # type: ignore[arg-type]
        self.watch.progress(self.progress)


@dataclass(frozen=True, slots=True)
class _Part:
    key: str
    tallies: Tallies
    done: int
    evaluated: int


@dataclass(frozen=True, slots=True)
class Replay:
    """Replays recorded decisions. With a ``cluster`` its workers judge; checks and the early answer are made here."""

    history: History
    store: ReplayStore
    policies: ResolvePolicy
    fidelity: CheckFidelity
    judge: JudgeDecisions
    meanings: CompareMeanings
    part: JudgePart
    cluster: Parts | None = None
    part_decisions: int = PART_DECISIONS

    async def __call__(self, question: Question, contest: Contest, watch: Watch = Watch()) -> Json:
        """Return the report on ``question``; ``contest`` are its two sides, built.

        Raises:
            NotFoundError: nothing is selected.
            BundleRejectedError, EngineUnavailableError: the candidate cannot be asked, or no worker answers.
            LogUnavailableError, IntegrityError: history cannot be read, or what was found cannot be kept.
        """
        until = question.head.size
        total = await self.history.count(question.selection, until=until)
        if not total:
            raise _nothing()
        run = _Run(question, contest, watch, Progress(total=total), Fidelity(), Tallies(), [])
        run.tell(phase=Phase.FIDELITY)
        sample = await self._sample(question, total)
        run.fidelity = Fidelity(tuple(await self.fidelity(sample.decisions)))
        run.tell(phase=Phase.SAMPLE)
        if sample.weighed:
            watch.early(await self._early(run, sample))
        run.tell(phase=Phase.ALL)
        await self._check_more(run, sample)
        await self._all(run)
        if not run.tallies.compared:
            raise _nothing()
        await self.store.list_parts(question.replay_id, run.keys)
        return await self._report(run)

    async def _sample(self, question: Question, total: int) -> _Sample:
        strata = await self.history.strata(question.selection, most=SAMPLED_TRACES, until=question.head.size)
        seen = sum(map(len, strata.values()))
        taken = allocation({name: len(places) for name, places in strata.items()}, max(FEWEST, sample_size(total)))
        chosen = [(place, name) for name, count in taken.items() for place in spread(strata[name], count)]
        chosen.sort(key=lambda item: (item[0].trace, item[0].index))
        early = spread(chosen, FEWEST)
        counts = {name: sum(other == name for _, other in early) for name in {name for _, name in early}}
        read = await self.history.read([place for place, _ in early])
        weighed = [
            (decision, len(strata[name]) / counts[name] * total / seen)
            for decision, (_, name) in zip(read, early, strict=True)
            if question.selection.holds(decision)
        ]
        known = {place.index for place, _ in early}
        return _Sample(tuple(weighed), tuple(place for place, _ in chosen if place.index not in known))

    async def _early(self, run: _Run, sample: _Sample) -> Json:
        judged = await self.judge(sample.decisions, run.contest)
        run.tell(evaluated=sum(judgement.evaluated for judgement in judged))
        tallies = Tallies()
        for (decision, weight), judgement in zip(sample.weighed, judged, strict=True):
            tallies.add(decision, judgement.comparison, weight=weight)
        selected = round(sum(weight for _, weight in sample.weighed))
        sums = tallies.report(sampled=True, selected=selected, compared=len(judged))
        return {**sums, "fidelity": run.fidelity.as_json(), "policies": await self._policies(run, tallies)}

    async def _check_more(self, run: _Run, sample: _Sample) -> None:
        """Ask the rest of the sample again: one decision in a hundred, which takes too long for an early answer."""
        selection = run.question.selection
        more = [decision for decision in await self.history.read(sample.rest) if selection.holds(decision)]
        checks = (*run.fidelity.checks, *await self.fidelity(more))
        run.fidelity = Fidelity(tuple(sorted(checks, key=lambda check: check.decision_id)))

    async def _all(self, run: _Run) -> None:
        at_once = self.cluster.at_once if self.cluster else PARTS_AT_ONCE
        after: Place | None = None
        working: list[asyncio.Task[_Part]] = []
        try:
            while places := await self._places(run.question, after):
                after = places[-1]
                working.append(asyncio.create_task(self._part(run, places)))
                if len(working) >= at_once:
                    self._sum_up(run, await working.pop(0))
            while working:
                self._sum_up(run, await working.pop(0))
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    async def _places(self, question: Question, after: Place | None) -> list[Place]:
        return await self.history.places(
            question.selection, after=after, limit=self.part_decisions, until=question.head.size
        )

    def _sum_up(self, run: _Run, part: _Part) -> None:
        run.tallies.merge(part.tallies)
        run.keys.append(part.key)
        run.tell(
            done=run.progress.done + part.done,
            evaluated=run.progress.evaluated + part.evaluated,
            reused=run.progress.reused + part.tallies.compared - part.evaluated,
        )

    async def _part(self, run: _Run, places: Sequence[Place]) -> _Part:
        asked = _asked(run, places)
        if not asked.anew:
            kept = await self.store.part(asked.key)
            if kept is not None and not kept["transient"]:
                return _Part(asked.key, Tallies.from_json(kept), len(places), evaluated=0)
        if self.cluster is None:
            found = await self.part(places, run.question.selection, run.contest)
        else:
            found = await self.cluster.judge(asked)
        sums = {**found.sums, "transient": found.transient}
        await self.store.keep_part(asked.key, sums=sums, results=found.results)
        return _Part(asked.key, Tallies.from_json(sums), len(places), found.evaluated)

    async def _report(self, run: _Run) -> Json:
        compared = run.tallies.compared
        return {
            **run.tallies.report(sampled=False, selected=compared, compared=compared),
            "fidelity": run.fidelity.as_json(),
            "policies": await self._policies(run, run.tallies),
        }

    async def _policies(self, run: _Run, tallies: Tallies) -> list[JsonValue]:
        """Return, for each policy that is compared with the candidate, what changed in meaning."""
        candidate, baseline = run.contest.candidate, run.contest.baseline
        if candidate.tree is None:
            return []
        counts = {key[1]: round(count) for key, count in sorted(tallies.counts.items()) if key[0] == "revision"}
        if baseline is not None:
            return [await self._policy(baseline.side.revision, tallies.compared, run.contest)]
        return [await self._policy(revision, count, run.contest) for revision, count in counts.items() if revision]

    async def _policy(self, revision: str, decisions: int, contest: Contest) -> JsonValue:
        baseline, candidate = contest.baseline, contest.candidate
        tree = baseline.tree if baseline else await self.policies.tree_of(revision)
        if tree is None or candidate.tree is None:
            return {"revision": revision, "decisions": decisions, "known": False, "changes": [], "left_out": 0}
        found = await self.meanings(tree, candidate.tree)
        return {
            "revision": revision,
            "decisions": decisions,
            "known": True,
            "changes": [change.as_json() for change in found[:MOST_CHANGES]],
            "left_out": max(0, len(found) - MOST_CHANGES),
        }


def _asked(run: _Run, places: Sequence[Place]) -> PartAsked:
    trees = (side.tree for side in (run.contest.candidate, run.contest.baseline) if side is not None)
    return PartAsked(
        question=run.question,
        places=tuple(places),
        anew=run.contest.thoroughness is Thoroughness.EVERYTHING,
        drafts=tuple(tree for tree in trees if tree is not None and tree.drafted),
    )


def _nothing() -> NotFoundError:
    return NotFoundError(
        "no recorded decision is selected, so there is nothing to replay",
        hint="Drop a filter; 'aisecops trace list' shows what is recorded",
    )
