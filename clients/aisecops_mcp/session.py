"""One connection of a client: what was called and read in it so far, so that no call is judged without it.

What a tool returned is a source of every call after it. Sources are never forgotten: what no longer fits into a plan
stays in it as digests, of which the control plane says that they could not be searched, and policy asks a person.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aisecops.v1 import provenance_pb2
from aisecops.v1.plan_pb2 import ExecutionPlan, PastStep, Step
from aisecops.v1.provenance_pb2 import Source
from aisecops_client.answers import Answer
from aisecops_client.plan import PlanBuilder
from aisecops_grant.arguments import canonical_arguments

from aisecops_mcp.results import Read

# Below what the contract lets a plan carry, so that a call's own sources find room.
SOURCES, SOURCES_BYTES, SOURCE_BYTES = 240, 2_500_000, 1024 * 1024
_GATHERED = 64
_TOOL_RESULT = provenance_pb2.SOURCE_KIND_TOOL_RESULT
# What a client may tell of a source; the rest of it is worked out.
TOLD = ("kind", "content", "name", "origin_uri", "declared_trust", "tool", "digest")


class ToldWronglyError(Exception):
    """What a client told of sources cannot be understood."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call that people were asked about, by the step that they were asked about.

    ``key`` is its tool and its exact arguments.
    """

    key: tuple[str, bytes]
    step_id: str
    answer: Answer


@dataclass(slots=True)
class Session:
    """What is known of one connection, with the calls that wait for people and that nobody has taken up yet."""

    environment: str
    id: str
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)
    trace_id: str = ""
    _waiting: list[Waiting] = field(default_factory=list, init=False)
    _sources: list[Source] = field(default_factory=list, init=False)
    _known: set[tuple[int, str, str]] = field(default_factory=set, init=False)
    _history: list[PastStep] = field(default_factory=list, init=False)
    _bytes: int = field(default=0, init=False)

    def proposal(self, tool: str, arguments: Mapping[str, Any], *, step_id: str = "") -> tuple[ExecutionPlan, Step]:
        """Return the plan of one call with all that influenced it, and its step.

        Raises:
            TypeError, ValueError: the arguments are not JSON, or have no exact form.
        """
        data = canonical_arguments(arguments)
        plan = ExecutionPlan(
            environment=self.environment, session_id=self.id, trace_id=self.trace_id, sources=self._sources
        )
        plan.history.extend(self._history)
        step = plan.steps.add(step_id=step_id or f"call-{next(self.numbers)}", tool=tool, arguments_json=data)
        return plan, step

    def waits(self, waiting: Waiting, *, first: bool = False) -> None:
        """Keep a call for whoever makes the same one next; ``first`` before others of the same kind."""
        self._waiting.insert(0 if first else len(self._waiting), waiting)

    def waiting_for(self, key: tuple[str, bytes]) -> list[Waiting]:
        """Return the calls of a tool with exactly these arguments that wait; there are several if they were made so."""
        return [waiting for waiting in self._waiting if waiting.key == key]

    def waiting_as(self, approval_id: str) -> Waiting | None:
        """Return the call that people were asked about by this request, if it waits."""
        return next((waiting for waiting in self._waiting if waiting.answer.approval_id == approval_id), None)

    def claimed(self, approval_id: str) -> Waiting | None:
        """Take up the call that people were asked about by this request, so that no other call does."""
        if (found := self.waiting_as(approval_id)) is not None:
            self._waiting.remove(found)
        return found

    def joined(self, answer: Answer) -> None:
        """Belong to the trace in which the first call was decided."""
        self.trace_id = self.trace_id or answer.decision.trace_id

    def ran(self, step: Step, found: Sequence[Read], *, keeps_content: bool) -> None:
        """Add a call that was made, and what of its result reached the model."""
        self._history.append(PastStep(step_id=step.step_id, tool=step.tool))
        for read in found:
            content = read.content.encode("utf-8", "replace") if read.content is not None else None
            digest = hashlib.sha256(content).hexdigest() if content is not None else ""
            self._add(
                Source(
                    kind=_TOOL_RESULT,
                    name=f"result of {step.tool}",
                    content=content if content and keeps_content else b"",
                    digest=digest,
                    tool=step.tool,
                    step_id=step.step_id,
                )
            )

    def told(self, sources: Any) -> None:
        """Add what the client says that reached its model. It settles no trust: policy does, by the kind.

        Raises:
            ToldWronglyError: it cannot be understood.
        """
        if not isinstance(sources, list):
            raise ToldWronglyError("sources are a list")
        for given in sources:
            if not isinstance(given, Mapping) or not all(isinstance(part, str) for part in given.values()):
                raise ToldWronglyError("a source is an object of texts")
            if unknown := given.keys() - set(TOLD):
                raise ToldWronglyError(f"a source has no {min(unknown)!r}; it has {', '.join(TOLD)}")
            about = {str(name): str(part) for name, part in given.items() if name not in ("kind", "content")}
            builder = PlanBuilder()
            try:
                builder.source(given.get("kind", ""), given.get("content"), **about)
            except ValueError as error:
                raise ToldWronglyError(str(error)) from error
            self._add(builder.build().sources[0])

    def _add(self, source: Source) -> None:
        known = (source.kind, source.tool, source.digest)
        if source.digest and known in self._known:
            return
        self._known.add(known)
        if len(source.content) > SOURCE_BYTES:
            source.content = b""
        source.source_id = f"source-{next(self.numbers)}"
        self._sources.append(source)
        self._bytes += len(source.content)
        while self._bytes > SOURCES_BYTES:
            self._shed_content()
        if len(self._sources) > SOURCES:
            self._gather()

    def _shed_content(self) -> None:
        """Keep of the oldest content that a tool returned its digest only; of anything else, if there is none."""
        held = [source for source in self._sources if source.content]
        oldest = next((source for source in held if source.kind == _TOOL_RESULT), held[0])
        self._bytes -= len(oldest.content)
        oldest.content = b""

    def _gather(self) -> None:
        """Make of the oldest results one source, of which nothing is known but that there was something."""
        results = [source for source in self._sources if source.kind == _TOOL_RESULT][:_GATHERED]
        gone = results or self._sources[:_GATHERED]
        names = {source.source_id for source in gone}
        self._sources = [source for source in self._sources if source.source_id not in names]
        self._bytes -= sum(len(source.content) for source in gone)
        digest = hashlib.sha256("".join(source.digest for source in gone).encode()).hexdigest()
        about = Source(
            source_id=f"source-{next(self.numbers)}", kind=_TOOL_RESULT, name="earlier results", digest=digest
        )
        self._sources.insert(0, about)
