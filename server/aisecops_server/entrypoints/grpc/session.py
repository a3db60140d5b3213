"""What one Session stream remembers, so that an agent sends only what is new.

A message that is refused leaves no trace in the stream: its sources and steps are forgotten. Steps count as
earlier calls of the session only when their whole plan was allowed. Indices in the names of refused fields count
over everything that the stream knows.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aisecops_server.domain.decisions.decision import Outcome
from aisecops_server.domain.errors import InvalidPlanError
from aisecops_server.domain.plans.plan import ExecutionPlan, PastStep
from aisecops_server.domain.plans.plan_builder import Fresh, PastStepDraft, PlanDraft, SourceDraft, build_plan
from aisecops_server.usecases.decisions.decide import Decided

_STREAM_FIELDS = ("trace_id", "session_id", "parent_trace_id", "environment", "delegation")


@dataclass(slots=True)
class SessionMemory:
    """The sources and earlier calls of one stream, and what its first message set for all of them.

    ``size`` is that of the sources in bytes, and ``room`` holds the places that were taken for them.
    """

    header: PlanDraft | None = None
    sources: tuple[SourceDraft, ...] = ()
    claimed: tuple[PastStepDraft, ...] = ()
    observed: tuple[PastStep, ...] = ()
    size: int = 0
    room: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        """Return the memory itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back the room that was taken for what is remembered."""
        self.room.close()

    def merged(self, draft: PlanDraft) -> PlanDraft:
        """Return ``draft`` with everything that the stream knows.

        Raises:
            InvalidPlanError: the message changes what the first one set, or redefines a source.
        """
        header = self.header or draft
        for name in _STREAM_FIELDS:
            given = getattr(draft, name)
            if given and given != getattr(header, name):
                raise _refusal(f"plan.{name}", "cannot change within a session")
        return dataclasses.replace(
            draft,
            **{name: getattr(header, name) for name in _STREAM_FIELDS},
            sources=_joined(self.sources, draft.sources),
            history=(*self.claimed, *draft.history),
        )

    def plan(self, merged: PlanDraft, fresh: Fresh) -> ExecutionPlan:
        """Return the checked plan.

        Raises:
            InvalidPlanError: it breaks the contract.
        """
        return build_plan(merged, fresh, observed=self.observed)

    def remember(self, merged: PlanDraft, plan: ExecutionPlan, decided: Decided) -> None:
        """Keep what a decided message brought."""
        if self.header is None:
            # The trace of the first decision, even of one made in an earlier try, is that of the whole stream.
            trace_id = str(decided.details["trace_id"])
            self.header = dataclasses.replace(
                merged, trace_id=trace_id, steps=(), sources=(), history=(), model_usage=()
            )
        self.sources = merged.sources
        self.size = sum(len(source.content or b"") for source in self.sources)
        self.claimed = merged.history
        if decided.outcome is Outcome.ALLOW:
            self.observed += tuple(PastStep(step.id, step.tool, observed=True) for step in plan.steps)

    def digest(self) -> bytes:
        """Return what tells this stream's state from another's, for retries."""
        parts = [self.header, self.claimed, self.observed]
        hashed = hashlib.sha256(repr(parts).encode())
        for source in self.sources:
            hashed.update(repr(dataclasses.replace(source, content=None)).encode())
            hashed.update(hashlib.sha256(source.content or b"").digest())
        return hashed.digest()


def _joined(known: Sequence[SourceDraft], new: Sequence[SourceDraft]) -> tuple[SourceDraft, ...]:
    by_id = {source.id: source for source in known}
    added = []
    for index, source in enumerate(new):
        earlier = by_id.get(source.id)
        if earlier is None:
            added.append(source)
        elif earlier != source:
            raise _refusal(f"plan.sources[{index}].source_id", "names another source earlier in this session")
    return (*known, *added)


def _refusal(field: str, why: str) -> InvalidPlanError:
    return InvalidPlanError(f"{field}: {why}", hint="Open a new session for another task", field=field)
