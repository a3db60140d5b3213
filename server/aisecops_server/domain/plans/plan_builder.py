"""From a draft, which anybody may have written, to a plan that has passed every limit of the contract.

A draft is neutral: it knows no wire format. Whatever ``build_plan`` returns is well formed; whatever is not
is refused with the name of the field. What only the control plane may say (which earlier calls it observed,
which identifiers are fresh) comes beside the draft, never inside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from aisecops_server.domain.errors import InvalidPlanError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.formats.identifiers import (
    is_agent_id,
    is_digest,
    is_identifier,
    is_model,
    is_tool,
    is_trace_id,
)
from aisecops_server.domain.formats.limits import LIMITS
from aisecops_server.domain.formats.strict_json import parse_object
from aisecops_server.domain.formats.trace_parent import TraceParent
from aisecops_server.domain.plans.plan import (
    Delegate,
    ExecutionPlan,
    ModelUsage,
    PastStep,
    PlanId,
    SessionId,
    Step,
    StepId,
    TraceId,
)
from aisecops_server.domain.plans.provenance import Source, SourceId, SourceKind, TrustLevel

_NOTHING_DIGEST = digest(b"")


@dataclass(frozen=True, slots=True)
class StepDraft:
    """One proposed call, unchecked."""

    id: str
    tool: str
    arguments_json: bytes
    capability: str = ""
    depends_on: tuple[str, ...] = ()
    influenced_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDraft:
    """One influence, unchecked. ``content`` is ``None`` when it was not given."""

    id: str
    kind: SourceKind | None
    name: str = ""
    origin_uri: str = ""
    content: bytes | None = None
    digest: str = ""
    declared_trust: TrustLevel | None = None
    tool: str = ""
    step_id: str = ""


@dataclass(frozen=True, slots=True)
class PastStepDraft:
    """A call that the caller says it made."""

    id: str
    tool: str


@dataclass(frozen=True, slots=True)
class DelegateDraft:
    """One agent above the caller, unchecked."""

    agent_id: str
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class ModelUsageDraft:
    """What somebody says that a model used, unchecked."""

    model: str
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class PlanDraft:
    """What somebody proposes, unchecked. Empty identifiers are made by the control plane."""

    steps: tuple[StepDraft, ...]
    sources: tuple[SourceDraft, ...] = ()
    plan_id: str = ""
    trace_id: str = ""
    session_id: str = ""
    parent_trace_id: str = ""
    intent: str = ""
    environment: str = ""
    delegation: tuple[DelegateDraft, ...] = ()
    history: tuple[PastStepDraft, ...] = ()
    model_usage: tuple[ModelUsageDraft, ...] = ()
    parent_span_id: str = ""

    def under(self, parent: TraceParent) -> PlanDraft:
        """Return the draft in the trace in which it was sent, unless it names another one itself."""
        if not parent.trace_id or self.trace_id not in ("", parent.trace_id):
            return self
        return replace(self, trace_id=parent.trace_id, parent_span_id=parent.span_id)


@dataclass(frozen=True, slots=True)
class Fresh:
    """Identifiers that a plan takes when its draft has none."""

    trace_id: TraceId
    plan_id: PlanId


def build_plan(draft: PlanDraft, fresh: Fresh, *, observed: Sequence[PastStep] = ()) -> ExecutionPlan:
    """Return the plan that ``draft`` describes; ``observed`` are the calls that the control plane itself decided.

    Raises:
        InvalidPlanError: the draft breaks the contract; ``metadata()["field"]`` names where.
    """
    sources = _sources(draft.sources)
    history = _history(draft.history, observed)
    earlier = {past.id for past in observed}
    delegation = _delegation(draft.delegation)
    return ExecutionPlan(
        id=PlanId(_identifier(draft.plan_id, "plan_id")) if draft.plan_id else fresh.plan_id,
        trace_id=TraceId(_trace_id(draft.trace_id, "trace_id")) if draft.trace_id else fresh.trace_id,
        session_id=SessionId(_optional_identifier(draft.session_id, "session_id")),
        parent_trace_id=_parent_trace_id(draft.parent_trace_id, delegation),
        intent=_text(draft.intent, "intent"),
        environment=_optional_identifier(draft.environment, "environment"),
        steps=_steps(draft.steps, known=[source.id for source in sources], earlier=earlier),
        sources=sources,
        delegation=delegation,
        history=history,
        model_usage=_model_usage(draft.model_usage),
        parent_span_id=draft.parent_span_id,
    )


def plan_hash(plan: ExecutionPlan, principal_id: str) -> str:
    """Return the SHA-256 of everything that would be executed: who, where, which calls, with what, in which order.

    Words about the plan (intent, sources, identifiers of plan and trace) are left out, so that the same calls
    of the same agent always have the same hash.
    """
    steps: list[JsonValue] = [
        {
            "id": step.id,
            "tool": step.tool,
            "capability": step.capability,
            "arguments": step.arguments,
            "depends_on": list(step.depends_on),
        }
        for step in plan.steps
    ]
    delegation = [link.agent_id for link in plan.delegation]
    return digest(
        canonical_bytes(
            {"principal": principal_id, "delegation": delegation, "environment": plan.environment, "steps": steps}
        )
    )


def _steps(drafts: Sequence[StepDraft], *, known: Sequence[SourceId], earlier: set[StepId]) -> tuple[Step, ...]:
    if not drafts:
        raise _refusal("steps", "a plan has at least one step")
    _at_most(drafts, LIMITS.steps, "steps")
    _sizes_within(map(len, (draft.arguments_json for draft in drafts)), LIMITS.plan_bytes, "steps")
    seen = set(earlier)
    steps = []
    for index, draft in enumerate(drafts):
        field = f"steps[{index}]"
        step_id = _fresh_id(draft.id, seen, f"{field}.step_id")
        steps.append(_step(draft, field, known=known, earlier=seen))
        seen.add(StepId(step_id))
    return tuple(steps)


def _step(draft: StepDraft, field: str, *, known: Sequence[SourceId], earlier: set[StepId]) -> Step:
    return Step(
        id=StepId(draft.id),
        tool=_tool(draft.tool, f"{field}.tool"),
        capability=_optional_identifier(draft.capability, f"{field}.capability"),
        arguments=parse_object(draft.arguments_json, field=f"{field}.arguments_json"),
        depends_on=tuple(
            StepId(_member(name, earlier, f"{field}.depends_on[{at}]", "an earlier step"))
            for at, name in enumerate(_distinct(draft.depends_on, f"{field}.depends_on"))
        ),
        influenced_by=_influences(draft, field, known),
    )


def _influences(draft: StepDraft, field: str, known: Sequence[SourceId]) -> tuple[SourceId, ...]:
    # A step that names no influence is influenced by everything: silence must not hide a source.
    if not draft.influenced_by:
        return tuple(known)
    names = set(known)
    return tuple(
        SourceId(_member(name, names, f"{field}.influenced_by[{at}]", "a source of this plan"))
        for at, name in enumerate(_distinct(draft.influenced_by, f"{field}.influenced_by"))
    )


def _sources(drafts: Sequence[SourceDraft]) -> tuple[Source, ...]:
    _at_most(drafts, LIMITS.sources, "sources")
    _sizes_within((len(draft.content or b"") for draft in drafts), LIMITS.sources_bytes, "sources")
    seen: set[str] = set()
    sources = []
    for index, draft in enumerate(drafts):
        field = f"sources[{index}]"
        seen.add(_fresh_id(draft.id, seen, f"{field}.source_id"))
        sources.append(_source(draft, field))
    return tuple(sources)


def _source(draft: SourceDraft, field: str) -> Source:
    if draft.kind is None:
        raise _refusal(f"{field}.kind", "a source must say what kind it is")
    content, hashed = _content(draft, field)
    return Source(
        id=SourceId(draft.id),
        kind=draft.kind,
        name=_text(draft.name, f"{field}.name"),
        origin_uri=_text(draft.origin_uri, f"{field}.origin_uri"),
        content=content,
        digest=hashed,
        digest_verified=content is not None,
        declared_trust=draft.declared_trust,
        tool=_tool(draft.tool, f"{field}.tool") if draft.tool else "",
        step_id=_optional_identifier(draft.step_id, f"{field}.step_id"),
    )


def _content(draft: SourceDraft, field: str) -> tuple[str | None, str]:
    declared = draft.digest
    if declared and not is_digest(declared):
        raise _refusal(f"{field}.digest", "not a lower-case hexadecimal SHA-256")
    content = draft.content
    if content is None and declared == _NOTHING_DIGEST:
        content = b""
    if content is None:
        return None, declared
    if len(content) > LIMITS.source_bytes:
        raise _refusal(f"{field}.content", f"{len(content)} bytes, at most {LIMITS.source_bytes} are allowed")
    actual = digest(content)
    if declared not in ("", actual):
        raise _refusal(f"{field}.digest", "differs from the SHA-256 of the content")
    try:
        return content.decode(), actual
    except UnicodeDecodeError as error:
        raise _refusal(f"{field}.content", f"not UTF-8 at byte {error.start}") from error


def _delegation(drafts: Sequence[DelegateDraft]) -> tuple[Delegate, ...]:
    _at_most(drafts, LIMITS.delegation, "delegation")
    return tuple(_delegate(draft, f"delegation[{index}]") for index, draft in enumerate(drafts))


def _parent_trace_id(given: str, delegation: Sequence[Delegate]) -> str:
    """Return the trace that the plan's hangs below: that of the agent which handed the work down, if one did."""
    above = delegation[-1].trace_id if delegation else ""
    if given and above not in ("", given):
        raise _refusal("parent_trace_id", "is not the trace of the agent that stands directly above")
    return above or (_trace_id(given, "parent_trace_id") if given else "")


def _delegate(draft: DelegateDraft, field: str) -> Delegate:
    if not is_agent_id(draft.agent_id):
        raise _refusal(f"{field}.agent_id", "not an agent id")
    return Delegate(draft.agent_id, _trace_id(draft.trace_id, f"{field}.trace_id") if draft.trace_id else "")


def _history(claimed: Sequence[PastStepDraft], observed: Sequence[PastStep]) -> tuple[PastStep, ...]:
    if len(claimed) + len(observed) > LIMITS.history:
        raise _refusal("history", f"a session has at most {LIMITS.history} calls; open another one")
    own = {past.id for past in observed}
    past = []
    for index, draft in enumerate(claimed):
        field = f"history[{index}]"
        step_id = StepId(_identifier(draft.id, f"{field}.step_id"))
        if step_id in own:
            raise _refusal(f"{field}.step_id", "this call was decided in the session itself")
        past.append(PastStep(step_id, _tool(draft.tool, f"{field}.tool"), observed=False))
    return (*past, *observed)


def _model_usage(drafts: Sequence[ModelUsageDraft]) -> tuple[ModelUsage, ...]:
    _at_most(drafts, LIMITS.models, "model_usage")
    seen: set[str] = set()
    for index, draft in enumerate(drafts):
        field = f"model_usage[{index}]"
        if not is_model(draft.model):
            raise _refusal(f"{field}.model", "not the name of a model: 1 to 128 of [A-Za-z0-9_.:/@+-]")
        if draft.model in seen:
            raise _refusal(f"{field}.model", "this model was named before")
        seen.add(draft.model)
        for name, tokens in (("input_tokens", draft.input_tokens), ("output_tokens", draft.output_tokens)):
            if not 0 <= tokens <= LIMITS.tokens:
                raise _refusal(f"{field}.{name}", f"not between 0 and {LIMITS.tokens}")
    return tuple(ModelUsage(draft.model, draft.input_tokens, draft.output_tokens) for draft in drafts)


def _identifier(text: str, field: str) -> str:
    if not is_identifier(text):
        raise _refusal(field, f"not an identifier: 1 to {LIMITS.identifier_characters} of [A-Za-z0-9_.:-]")
    return text


def _optional_identifier(text: str, field: str) -> str:
    return _identifier(text, field) if text else ""


def _trace_id(text: str, field: str) -> str:
    if not is_trace_id(text):
        raise _refusal(field, "not a trace id: 32 lower-case hexadecimal digits")
    return text


def _tool(text: str, field: str) -> str:
    if not is_tool(text):
        raise _refusal(field, "not a qualified tool name `server/tool`")
    return text


def _text(text: str, field: str) -> str:
    if len(text) > LIMITS.text_characters:
        raise _refusal(field, f"{len(text)} characters, at most {LIMITS.text_characters} are allowed")
    if "\0" in text:
        raise _refusal(field, "U+0000 is not a character of a text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _refusal(field, "a lone surrogate is not a character") from error
    return text


def _fresh_id(text: str, seen: Iterable[str], field: str) -> str:
    if _identifier(text, field) in seen:
        raise _refusal(field, "this identifier is already taken")
    return text


def _member(name: str, known: Iterable[str], field: str, what: str) -> str:
    if name not in known:
        raise _refusal(field, f"does not name {what}")
    return name


def _distinct(names: Sequence[str], field: str) -> Sequence[str]:
    if len(set(names)) != len(names):
        raise _refusal(field, "names the same thing twice")
    return names


def _at_most(items: Sequence[object], limit: int, field: str) -> None:
    if len(items) > limit:
        raise _refusal(field, f"{len(items)} given, at most {limit} are allowed")


def _sizes_within(sizes: Iterable[int], limit: int, field: str) -> None:
    total = sum(sizes)
    if total > limit:
        raise _refusal(field, f"{total} bytes in all, at most {limit} are allowed")


def _refusal(field: str, why: str) -> InvalidPlanError:
    return InvalidPlanError(f"{field}: {why}", hint="Correct the plan and send it again", field=field)
