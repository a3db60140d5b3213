"""Decides every recorded call in the context that its agent had at that moment, as a dry run.

The context of a call is what came before it: the prompts, the results of earlier calls, and the calls themselves.
Evaluation takes the one path that real decisions take. What was decided on the live revision already is skipped,
so an evaluation that was cut short goes on where it stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.decisions.decision import Mode
from aisecops_server.domain.errors import AisecopsError, InvalidPlanError
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.formats.limits import LIMITS
from aisecops_server.domain.formats.strict_json import parse
from aisecops_server.domain.plans.plan import PlanId, TraceId
from aisecops_server.domain.plans.plan_builder import (
    Fresh,
    PastStepDraft,
    PlanDraft,
    SourceDraft,
    StepDraft,
    build_plan,
)
from aisecops_server.domain.plans.provenance import SourceKind
from aisecops_server.domain.recordings.recorded_trace import Evaluation, RecordedCall, RecordedTrace, Tally
from aisecops_server.ports import RecordedTraces
from aisecops_server.usecases.decisions.decide import DecideCommand, Decided, EngineSource

PAGE_TRACES = 50
PAGES_AT_ONCE = 2


class Decider(Protocol):
    """The part of `Decide` that evaluation needs."""

    async def batch(self, commands: Sequence[DecideCommand]) -> list[Decided | AisecopsError]:
        """Decide many plans; results in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What an evaluation found."""

    revision: str
    decided: int
    skipped: int
    failed: int
    tallies: tuple[Tally, ...]


@dataclass(slots=True)
class _Counts:
    total: int
    decided: int = 0
    skipped: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class _Question:
    trace: RecordedTrace
    call: RecordedCall
    command: DecideCommand | None
    problem: AisecopsError | None = None


@dataclass(frozen=True, slots=True)
class EvaluateTraces:
    """Evaluates all stored traces on the live revision."""

    store: RecordedTraces
    decide: Decider
    engines: EngineSource
    page_traces: int = PAGE_TRACES

    async def __call__(self, progress: Callable[[int, int], None] | None = None) -> Evaluated:
        """Evaluate what was not evaluated on the live revision; ``progress`` is called with (done, total) calls.

        Raises:
            NoLiveRevisionError: there is no policy to evaluate on.
            LogUnavailableError: the results could not be stored.
        """
        revision = self.engines.current().bundle.revision
        counts = _Counts(total=await self.store.calls())
        await self._pages(revision, counts, progress)
        tallies = tuple(await self.store.tallies(revision))
        return Evaluated(revision, counts.decided, counts.skipped, counts.failed, tallies)

    async def _pages(self, revision: str, counts: _Counts, progress: Callable[[int, int], None] | None) -> None:
        # A page is built while others are decided; few at once, so that little is in memory.
        after = ""
        deciding: list[asyncio.Task[None]] = []
        try:
            while page := await self.store.page(after=after, limit=self.page_traces):
                after = page[-1].trace_id
                deciding.append(asyncio.create_task(self._page(page, revision, counts, progress)))
                if len(deciding) > PAGES_AT_ONCE:
                    await deciding.pop(0)
            while deciding:
                await deciding.pop(0)
        finally:
            for task in deciding:
                task.cancel()
            await asyncio.gather(*deciding, return_exceptions=True)

    async def _page(
        self,
        page: Sequence[RecordedTrace],
        revision: str,
        counts: _Counts,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        known = await self.store.evaluated(revision, [trace.trace_id for trace in page])
        questions = [question for trace in page for question in _questions(trace, known)]
        evaluations = await self._answers(questions, revision)
        await self.store.record(evaluations)
        counts.decided += sum(bool(item.outcome) for item in evaluations)
        counts.failed += sum(not item.outcome for item in evaluations)
        counts.skipped += sum(len(trace.calls) for trace in page) - len(questions)
        if progress is not None:
            progress(counts.decided + counts.failed + counts.skipped, counts.total)

    async def _answers(self, questions: Sequence[_Question], revision: str) -> list[Evaluation]:
        commands = [question.command for question in questions if question.command is not None]
        answers = iter(await self.decide.batch(commands) if commands else [])
        return [
            _evaluation(question, question.problem if question.command is None else next(answers), revision)
            for question in questions
        ]


def _questions(trace: RecordedTrace, known: set[tuple[str, str]]) -> Iterator[_Question]:
    for index, call in enumerate(trace.calls):
        if (trace.trace_id, call.span_id) in known:
            continue
        try:
            yield _Question(trace, call, _command(trace, index))
        except InvalidPlanError as error:
            yield _Question(trace, call, None, error)


def _command(trace: RecordedTrace, index: int) -> DecideCommand:
    call = trace.calls[index]
    earlier = trace.calls[:index]
    draft = PlanDraft(
        steps=(StepDraft(id=call.span_id, tool=call.tool, arguments_json=call.arguments_json.encode()),),
        sources=(*_prompts(trace), *_results(earlier)),
        trace_id=trace.trace_id,
        session_id=trace.session_id,
        environment=trace.environment,
        history=tuple(PastStepDraft(past.span_id, past.tool) for past in earlier),
    )
    plan = build_plan(draft, Fresh(TraceId(trace.trace_id), PlanId(f"recorded-{call.span_id}")))
    principal = Principal(PrincipalId(trace.agent_id), "recorded", frozenset({Role.AGENT}))
    return DecideCommand(principal=principal, plan=plan, mode=Mode.DRY_RUN, idempotency_key="", request_digest="")


def _prompts(trace: RecordedTrace) -> Iterator[SourceDraft]:
    for number, prompt in enumerate(trace.prompts, 1):
        yield SourceDraft(id=f"prompt-{number}", kind=prompt.kind, content=prompt.text.encode())


def _results(calls: Sequence[RecordedCall]) -> Iterator[SourceDraft]:
    for call in calls:
        if call.result is not None:
            yield SourceDraft(
                id=f"result-{call.span_id}",
                kind=SourceKind.TOOL_RESULT,
                name=_call_name(call),
                content=call.result.encode(),
                tool=call.tool,
                step_id=call.span_id,
            )


def _call_name(call: RecordedCall) -> str:
    # The call that gave a result says where the result comes from; grounding reads its arguments.
    name = canonical_bytes(parse(call.arguments_json.encode(), field="arguments")).decode()
    return name if len(name) <= LIMITS.text_characters else ""


def _evaluation(question: _Question, answer: Decided | AisecopsError | None, revision: str) -> Evaluation:
    trace, call = question.trace, question.call
    decided = answer if isinstance(answer, Decided) else None
    problem = answer if isinstance(answer, AisecopsError) else None
    return Evaluation(
        trace_id=trace.trace_id,
        span_id=call.span_id,
        agent_id=trace.agent_id,
        tool=call.tool,
        revision=revision,
        outcome=decided.outcome.value if decided else "",
        rules=_rules(decided) if decided else (),
        decision_id=str(decided.details["decision_id"]) if decided else "",
        error=problem.diagnostics() if problem else "",
    )


def _rules(decided: Decided) -> tuple[str, ...]:
    findings = decided.details["findings"]
    held = findings if isinstance(findings, list) else []
    return tuple(sorted({str(item["rule"]) for item in held if isinstance(item, dict)}))
