"""Golden cases: a plan, a text, or the document of a real decision, with the decision that its author expects.

A plan is grounded and built, and a text read, as the control plane does it; a document is taken as it stands.
Expectations leave out remarks (``warn``), because these change no outcome.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, model_validator

from aisecops_server.domain.budgets.budget import Usage
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.decisions.decision import Conclusion, Effect, Mode, Outcome
from aisecops_server.domain.decisions.usage import subjects_of
from aisecops_server.domain.documents.input_document import Circumstances, build
from aisecops_server.domain.errors import AisecopsError, BundleRejectedError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.grounding.grounding import ground
from aisecops_server.domain.plans.plan import ExecutionPlan, PlanId, StepId, TraceId
from aisecops_server.domain.plans.plan_builder import (
    DelegateDraft,
    Fresh,
    PlanDraft,
    SourceDraft,
    StepDraft,
    build_plan,
    plan_hash,
)
from aisecops_server.domain.plans.provenance import SourceKind
from aisecops_server.domain.screening.screen_document import build_screen_document, screen_hash
from aisecops_server.domain.screening.text_parts import (
    PartDraft,
    ScreeningDraft,
    TextDirection,
    build_screening,
    read_part,
)

# 2026-01-01: a case says nothing of the time, so it is always the same one.
NOW_NS = 1_767_225_600_000_000_000
_TRACE = TraceId("f" * 32)
Name = Annotated[str, Field(min_length=1)]
Rules = list[Annotated[str, Field(pattern=r"^[a-z_]+\.[a-z0-9_]+$")]]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CaseSource(_Entry):
    """Something that influenced the plan. Without `content` only a digest of it is known."""

    kind: SourceKind
    content: str | None = None
    tool: str = Field(default="", description="Whose result it is.")


class CaseStep(_Entry):
    """One proposed call."""

    tool: Name
    arguments: dict[str, Any] = Field(default_factory=dict)
    capability: str = ""


class CaseText(_Entry):
    """One text to screen, and which way it goes."""

    direction: TextDirection
    content: str
    tool: str = Field(default="", description="Whose result it is.")


class Expectation(_Entry):
    """What the decision must be. Without `rules` other rules may be found too."""

    outcome: Outcome | None = None
    outcome_not: Outcome | None = None
    rules: Rules | None = Field(default=None, description="Exactly these rules are found, remarks left out.")
    includes: Rules = Field(default_factory=list, description="At least these rules are found.")

    @model_validator(mode="after")
    def _says_something(self) -> Expectation:
        if self.outcome is None and self.outcome_not is None:
            raise ValueError("say which outcome is expected, or which is not")
        return self


class GoldenCase(_Entry):
    """A plan, or a recorded document, and the decision that must come of it."""

    case: Name = Field(description="What is to stay true, as a sentence.")
    agent: str = Field(default="", description="The agent's id, or its last part.")
    sources: list[CaseSource] = Field(default_factory=list)
    steps: list[CaseStep] = Field(default_factory=list)
    text: CaseText | None = Field(default=None, description="A text that is screened, instead of steps.")
    environment: str = "production"
    delegation: list[str] = Field(default_factory=list, description="Ids of the agents above, outermost first.")
    verified: bool = Field(default=True, description="Whether the log shows the delegation.")
    session_calls: int = 0
    document: dict[str, Any] | None = Field(default=None, description="The input document itself, of a real decision.")
    trace: str = Field(default="", description="The trace that the document is of.")
    expect: Expectation

    @model_validator(mode="after")
    def _is_one_kind(self) -> GoldenCase:
        asks = bool(self.steps) + (self.text is not None) + (self.document is not None)
        if asks != 1 or (self.document is None and not self.agent):
            raise ValueError("give either an agent with steps, or an agent with a text, or a document")
        return self


class GoldenCases(RootModel[list[GoldenCase]]):
    """Golden cases: what must stay true whatever is edited."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A case as the engine is asked: the document, and the ids of its steps."""

    case: GoldenCase
    document: bytes
    step_ids: tuple[StepId, ...]


def read_cases(path: str, content: JsonValue) -> list[GoldenCase]:
    """Return the cases of one file.

    Raises:
        BundleRejectedError: it holds something else; ``metadata()["case"]`` is the number of the case.
    """
    try:
        return GoldenCases.model_validate(content).root
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        number = str(first["loc"][0]) if first["loc"] else ""
        where = ".".join(map(str, first["loc"]))
        raise BundleRejectedError(
            f"{path}: {where}: {first['msg']}",
            hint="A case has case, agent, sources, steps and expect; 'aisecops policy schemas' helps your editor",
            file=path,
            case=number,
        ) from error


def asked(case: GoldenCase, tables: Mapping[str, JsonValue]) -> Asked:
    """Return what the engine is asked for a case, with ``tables`` as rules see them.

    Raises:
        InvalidPlanError, InvalidRequestError: the plan or the text is none.
        ValueError: the case's document has no canonical form.
    """
    if case.document is not None:
        steps = case.document.get("plan", {}).get("steps", [])
        return Asked(case, canonical_bytes(case.document), tuple(StepId(str(step.get("id", ""))) for step in steps))
    principal = Principal(PrincipalId(_agent(case.agent, tables)), "mtls", frozenset({Role.AGENT}))
    if case.text is not None:
        return _text(case, case.text, principal)
    plan = _plan(case, tables)
    circumstances = Circumstances(
        mode=Mode.ENFORCE,
        principal=principal,
        now_ns=NOW_NS,
        session_calls=case.session_calls,
        verified_links=tuple(case.verified for _ in plan.delegation),
        usage=Usage(subjects_of(principal.id, plan, tables)),
    )
    hashed = plan_hash(plan, principal.id)
    document = build(plan, plan_hash=hashed, grounding=ground(plan), circumstances=circumstances)
    return Asked(case, document, tuple(step.id for step in plan.steps))


def difference(case: GoldenCase, answer: Conclusion | AisecopsError) -> str:
    """Return in words how an answer differs from what a case expects; nothing when it does not."""
    if isinstance(answer, AisecopsError):
        return f"there is no decision: {answer.message}"
    expect, outcome, rules = case.expect, answer.outcome, found_rules(answer)
    said = f"it is {outcome.value} by {', '.join(rules) or 'no rule'}"
    if expect.outcome not in (None, outcome):
        return f"expected {expect.outcome.value}, {said}" if expect.outcome else ""
    if expect.outcome_not is outcome:
        return f"expected anything but {outcome.value}, {said}"
    if expect.rules is not None and sorted(expect.rules) != rules:
        return f"expected exactly {', '.join(sorted(expect.rules)) or 'no rule'}, {said}"
    missing = sorted(set(expect.includes).difference(rules))
    return f"expected {', '.join(missing)} among the rules, {said}" if missing else ""


def found_rules(conclusion: Conclusion) -> list[str]:
    """Return the rules that were found, remarks left out, each once."""
    return sorted({finding.rule for finding in conclusion.findings if finding.effect is not Effect.WARN})


def _agent(name: str, tables: Mapping[str, JsonValue]) -> str:
    """Return the id that a name stands for; a name that is no agent's stays as it is, and is nobody's."""
    agents = tables.get("agents")
    known: Sequence[str] = sorted(agents) if isinstance(agents, Mapping) else []
    return next((agent for agent in known if agent == name or agent.endswith(f"/{name}")), name)


def _plan(case: GoldenCase, tables: Mapping[str, JsonValue]) -> ExecutionPlan:
    draft = PlanDraft(
        steps=tuple(
            StepDraft(
                id=f"s{number}",
                tool=step.tool,
                arguments_json=json.dumps(step.arguments).encode(),
                capability=step.capability,
            )
            for number, step in enumerate(case.steps, 1)
        ),
        sources=tuple(_source(f"source-{number}", source) for number, source in enumerate(case.sources, 1)),
        environment=case.environment,
        delegation=tuple(DelegateDraft(agent_id=_agent(agent, tables)) for agent in case.delegation),
    )
    return build_plan(draft, Fresh(_TRACE, PlanId("plan-1")))


def _source(id: str, source: CaseSource) -> SourceDraft:
    if source.content is None:
        return SourceDraft(id=id, kind=source.kind, digest=digest(id.encode()), tool=source.tool)
    return SourceDraft(id=id, kind=source.kind, content=source.content.encode(), tool=source.tool)


def _text(case: GoldenCase, text: CaseText, principal: Principal) -> Asked:
    part = PartDraft("s1", text.content, tool=text.tool)
    screening = build_screening(ScreeningDraft(text.direction, (part,)), _TRACE)
    parts = tuple(read_part(each) for each in screening.parts)
    document = build_screen_document(
        screening,
        parts,
        hash=screen_hash(screening, parts, principal.id),
        circumstances=Circumstances(mode=Mode.ENFORCE, principal=principal, now_ns=NOW_NS),
    )
    return Asked(case, document, tuple(StepId(each.id) for each in screening.parts))
