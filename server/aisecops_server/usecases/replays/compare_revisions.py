"""Traces against revisions: what each recorded decision would be on each commit. Reads, builds and evaluates; no more.

Revisions are asked one after the other, so that however many there are, few engines run: one that is no longer held is
the first to go. A revision that cannot be built has a problem instead of outcomes, and costs the others nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from aisecops_server.domain.errors import BundleRejectedError, InvalidRequestError, NotFoundError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.replays.comparison import Comparison
from aisecops_server.domain.replays.comparison import error as no_decision
from aisecops_server.domain.replays.recorded_decision import RecordedDecision
from aisecops_server.ports.replay import History
from aisecops_server.usecases.replays.judge_decisions import Contest, JudgeDecisions
from aisecops_server.usecases.replays.judge_parts import result_of
from aisecops_server.usecases.replays.resolve_policy import ResolvePolicy, WantedPolicy

MOST_TRACES = 50
MOST_REVISIONS = 50
MOST_DECISIONS = 500


@dataclass(frozen=True, slots=True)
class Column:
    """What decisions would be on one commit; with a ``problem`` it cannot be asked."""

    name: str
    revision: str
    problem: str
    cells: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Decisions and their columns, as far as they are known: ``total`` columns there will be."""

    decisions: tuple[RecordedDecision, ...]
    columns: tuple[Column, ...]
    total: int

    @property
    def is_whole(self) -> bool:
        """Return whether every column is there."""
        return len(self.columns) == self.total

    def as_json(self) -> dict[str, JsonValue]:
        """Return the matrix by rows: of each decision what is on record, and a cell for each column."""
        return {
            "revisions": [
                {"name": column.name, "revision": column.revision, "problem": column.problem} for column in self.columns
            ],
            "rows": [
                {
                    "decision_id": decision.decision_id,
                    "trace_id": decision.text("trace_id"),
                    "recorded": decision.text("outcome"),
                    "bundle_revision": decision.text("bundle_revision"),
                    "cells": [result_of(decision, column.cells[at]) for column in self.columns],
                }
                for at, decision in enumerate(self.decisions)
            ],
        }


@dataclass(frozen=True, slots=True)
class CompareRevisions:
    """Decides the decisions of traces on several revisions."""

    history: History
    policies: ResolvePolicy
    judge: JudgeDecisions

    async def __call__(self, trace_ids: Sequence[str], revisions: Sequence[str]) -> AsyncGenerator[Matrix, None]:
        """Yield the matrix as it grows, column by column, the last time whole.

        Raises:
            InvalidRequestError: no trace or revision is named, or too many.
            NotFoundError, UnknownRevisionError: there is no such trace or revision.
            EngineUnavailableError: nothing can be evaluated.
        """
        _require_some("trace", trace_ids, MOST_TRACES)
        _require_some("revision", revisions, MOST_REVISIONS)
        commits = [(name, await self.policies.commit_id(name)) for name in revisions]
        decisions = await self.decisions(trace_ids)
        columns: list[Column] = []
        yield Matrix(decisions, (), len(commits))
        for name, commit_id in commits:
            columns.append(await self.column(decisions, commit_id, name=name))
            yield Matrix(decisions, tuple(columns), len(commits))

    async def decisions(self, trace_ids: Sequence[str]) -> tuple[RecordedDecision, ...]:
        """Return the decisions of traces.

        Raises:
            NotFoundError: one of them has none.
            InvalidRequestError: there are too many.
        """
        found: list[RecordedDecision] = []
        for trace_id in dict.fromkeys(trace_ids):
            own = await self.history.of_trace(trace_id)
            if not own:
                raise NotFoundError(
                    f"there is no trace {trace_id[:64]} with a decision",
                    hint="'aisecops trace list' shows them",
                    id=trace_id[:64],
                )
            found += own
        if len(found) > MOST_DECISIONS:
            raise InvalidRequestError(
                f"these traces have more than {MOST_DECISIONS} decisions", hint="Name fewer traces", field="trace_ids"
            )
        return tuple(found)

    async def column(self, decisions: Sequence[RecordedDecision], commit_id: str, *, name: str = "") -> Column:
        """Return what ``decisions`` would be on one commit.

        Raises:
            EngineUnavailableError: nothing can be evaluated.
        """
        try:
            candidate = await self.policies(WantedPolicy(revision=commit_id))
            judged = await self.judge(decisions, Contest(candidate))
        except BundleRejectedError as error:
            nothing = tuple(no_decision(decision.text("outcome"), error.reason) for decision in decisions)
            return Column(name, commit_id, error.message, nothing)
        return Column(name, commit_id, "", tuple(judgement.comparison for judgement in judged))


def _require_some(what: str, names: Sequence[str], most: int) -> None:
    if not 0 < len(names) <= most:
        raise InvalidRequestError(
            f"between 1 and {most} {what}s can be compared", hint=f"Name each {what} once", field=f"{what}s"
        )
