"""The ten questions of an investigation, answered for one trace, each with where its answer is on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aisecops.v1 import audit_service_pb2 as api
from aisecops.v1 import budget_service_pb2, decision_pb2, decision_service_pb2
from aisecops.v1.event_pb2 import Event
from aisecops.v1.provenance_pb2 import SourceKind

from aisecops_server.domain.display.words import bare, counted, lowest_trust, outcome_sign, source_word
from aisecops_server.entrypoints.web.addresses import address, agent_word
from aisecops_server.entrypoints.web.strips import trust_name
from aisecops_server.entrypoints.web.visitor import Visitor

_Explained = decision_service_pb2.ExplainResponse | None


@dataclass(frozen=True, slots=True)
class Answered:
    """One question with its answer and the page that shows why it is so; ``key`` opens that."""

    question: str
    answer: str
    link: str
    link_word: str
    key: str = ""


async def answers(
    visitor: Visitor, trace: api.GetTraceResponse, decision: decision_pb2.Decision | None, explained: _Explained
) -> Sequence[Answered]:
    """Return all ten answers, or none for a trace in which nothing was decided."""
    if decision is None:
        return ()
    own = [event for event in trace.events if event.decision_id == decision.decision_id]
    at = f"/traces/{decision.trace_id}/events/"
    places = {event.type: f"{at}{event.event_id}" for event in own}
    end = places.get("decision.concluded", "")
    return (
        Answered("Who initiated it?", _who(decision, explained), places.get("identity.verified", end), "identity"),
        Answered("What influenced it?", _influences(decision, explained), f"{end}?tab=provenance", "provenance", "p"),
        Answered("Was that trusted?", _trust(decision), f"{end}?tab=provenance", "badges"),
        Answered("Which capability?", _capability(decision), places.get("capability.checked", end), "capabilities"),
        Answered("Which rule decided?", _rule(decision, explained), f"{end}?tab=rego", "rule and line", "r"),
        Answered("What was the outcome?", _outcome(trace, decision), end, "outcome event"),
        _replayable(visitor, decision, explained, end),
        Answered("How did it come to act?", _graph(own), f"/traces/{decision.trace_id}/graph", "graph"),
        _provable(visitor),
        await _cost(visitor, decision, end),
    )


def _who(decision: decision_pb2.Decision, explained: _Explained) -> str:
    session = f", session {explained.initiator.session_id}" if explained and explained.initiator.session_id else ""
    chain = [link.agent_id for link in explained.initiator.delegation] if explained else []
    above = f", for {', '.join(map(agent_word, chain))}" if chain else ""
    return f"{agent_word(decision.principal.id)}, proved by {decision.principal.authenticated_by}{session}{above}"


def _influences(decision: decision_pb2.Decision, explained: _Explained) -> str:
    if explained and explained.influences:
        said = [
            f"{found.step_id} ← {found.source_id} ({', '.join(found.pointers) or 'declared'})"
            for found in explained.influences
        ]
        return "; ".join(said)
    return "; ".join(source.name or source.source_id for source in decision.sources) or "nothing was named"


def _trust(decision: decision_pb2.Decision) -> str:
    if not decision.sources:
        return "no source: unverified"
    lowest = lowest_trust([trust_name(source.trust) for source in decision.sources])
    worst = next(source for source in decision.sources if lowest_trust([trust_name(source.trust)]) == lowest)
    how = "content verified" if worst.verified else "only declared"
    kind = source_word(SourceKind.Name(worst.kind))
    return f"lowest is {lowest}: {kind} “{worst.name or worst.source_id}”, {how}"


def _capability(decision: decision_pb2.Decision) -> str:
    said = [
        f"{step.step_id}: {step.capability} by {step.granted_by}" if step.capability else f"{step.step_id}: none"
        for step in decision.steps
    ]
    return "; ".join(said) or "a text calls nothing"


def _rule(decision: decision_pb2.Decision, explained: _Explained) -> str:
    found = explained.decision if explained else decision
    said = [
        f"{one.rule} ({one.location.file.rpartition('/')[2]}:{one.location.line})" if one.location.file else one.rule
        for one in found.findings
    ]
    return ", ".join(dict.fromkeys(said)) or "no rule objected"


def _outcome(trace: api.GetTraceResponse, decision: decision_pb2.Decision) -> str:
    word = outcome_sign(trace.summary.outcome).word
    mode = bare(decision_pb2.Mode.Name(decision.mode)).lower().replace("_", "-")
    return f"{word}, of {counted(len(trace.decisions), 'decision')}, decided in mode {mode}"


def _replayable(visitor: Visitor, decision: decision_pb2.Decision, explained: _Explained, end: str) -> Answered:
    question = "Can it be replayed?"
    if not visitor.may("ReplayService/StartReplay"):
        return Answered(question, _replay(explained), end, "outcome event")
    return Answered(question, _replay(explained), f"/replays/new?trace={decision.trace_id}", "replay it")


def _provable(visitor: Visitor) -> Answered:
    question = "Can it be proved?"
    if visitor.may("EvidenceService/ExportEvidence"):
        return Answered(question, "A package verifies offline; below it is made.", "#evidence", "package")
    return Answered(question, "Each event has its proof of inclusion.", "#evidence", "evidence")


def _replay(explained: _Explained) -> str:
    if explained is None:
        return "not shown: your roles do not include explanations"
    if explained.replay.reproduced:
        return "yes: the stored document gives the same decision at the recorded revision"
    return f"not here: {explained.replay.reason}"


def _graph(own: Sequence[Event]) -> str:
    return f"from its sources to what ran, from {counted(len(own), 'event')}"


async def _cost(visitor: Visitor, decision: decision_pb2.Decision, end: str) -> Answered:
    question, call = "What did it cost?", "BudgetService/ListBudgets"
    if not visitor.may(call):
        used = "; ".join(f"{budget.name}: {budget.amount:,}" for budget in decision.budgets)
        return Answered(question, used or "no budget was charged", end, "outcome event")
    request = budget_service_pb2.ListBudgetsRequest(subject="agent", subject_id=decision.principal.id)
    found, why = await visitor.attempt(call, request, budget_service_pb2.ListBudgetsResponse)
    said = [
        f"{budget.metric} a {budget.window}: {budget.used:,} of {budget.limit:,}, {budget.remaining:,} left"
        for budget in (found.budgets[:3] if found else ())
    ]
    answer = "; ".join(said) or why or "nothing was charged to the agent"
    return Answered(question, answer, address("/budgets", subject="agent", id=decision.principal.id), "budgets")
