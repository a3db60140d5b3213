"""Exactly the JSON that policy sees, and the one function that makes it.

The models are the contract: `rego/schemas/input.json` is generated from them. ``build`` writes the same shape
straight to canonical bytes, because validation of what we ourselves wrote is the tests' work. What the policy
repository owns (grants, limits, tool effects, trust) is *not* here: it is the bundle's data, so that a replay
judges with the tables of the revision it replays on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.json_schema import SkipJsonSchema

from aisecops_server.domain.approvals.approval import GrantedApproval
from aisecops_server.domain.budgets.budget import Usage
from aisecops_server.domain.callers.identity import Principal
from aisecops_server.domain.decisions.decision import Mode
from aisecops_server.domain.edges.edge import EdgeStanding
from aisecops_server.domain.formats.canonical import JsonValue as Json
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.grounding.grounding import Grounding
from aisecops_server.domain.plans.plan import ExecutionPlan, ModelUsage, Step, usage_beyond
from aisecops_server.domain.plans.provenance import Source

SCHEMA_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Now(_Part):
    """The control plane's clock when the document was made."""

    unix_seconds: int
    rfc3339: str = Field(description="The same instant in UTC, with seconds.")


class PrincipalPart(_Part):
    """Who asks, as the credential proved it."""

    id: str
    authenticated_by: str


class DelegatePart(_Part):
    """One agent above the caller, outermost first."""

    agent_id: str
    trace_id: str
    verified: bool = Field(
        description="Whether the log shows that it was allowed to act in that trace, with exactly the chain above it."
    )


class RequestPart(_Part):
    """What the human asked for, as words: the prompts of kind `user_prompt`, case-folded."""

    known: bool = Field(description="Whether the text of at least one user prompt was given.")
    words: dict[str, Literal[True]] = Field(description="Every word of the prompts, at most 1,024.")
    truncated: bool = Field(description="Whether there were more words than that.")


class OccurrencePart(_Part):
    """One source in which a value occurs."""

    source: str
    form: Literal["whole", "field", "line", "text"] = Field(
        description="`whole`: it is the whole content; `field`: it is one value of a structured record; "
        "`line`: it is an item of a plain list; `text`: it stands inside prose."
    )
    prose: bool = Field(description="Whether it also, or only, stands inside prose of that source.")
    bound: bool = Field(description="Whether a record that holds it also holds something else that the human named.")


class ValuePart(_Part):
    """One value of an argument that could direct an effect, and where it was seen."""

    pointer: str = Field(description="RFC 6901 pointer into the step's arguments.")
    argument: str = Field(description="The top-level argument it belongs to.")
    shape: Literal["email", "url", "host", "iban", "path", "identifier", "number", "word", "phrase", "text"]
    embedded: bool = Field(description="Whether it was found inside a longer text argument.")
    value: str = Field(description="The value, at most 256 characters, in normal form.")
    named: bool = Field(
        description="Whether the human said every word of it; of an e-mail address, those before the @."
    )
    found: list[OccurrencePart]


class StepPart(_Part):
    """One proposed call."""

    id: str
    index: int
    tool: str
    server: str
    name: str
    capability: str
    arguments: dict[str, JsonValue]
    depends_on: list[str]
    influenced_by: list[str]
    values: list[ValuePart]


class PlanPart(_Part):
    """What the agent proposes."""

    id: str
    hash: str
    intent: str
    steps: list[StepPart]


class SourcePart(_Part):
    """One thing that influenced the plan; its text stays outside the document."""

    id: str
    kind: Literal[
        "agent_identity",
        "user_prompt",
        "system_prompt",
        "skill",
        "memory",
        "retrieval_chunk",
        "tool_result",
        "agent_message",
    ]
    name: str
    origin_uri: str
    digest: str
    digest_verified: bool
    content_known: bool
    size: int
    declared_trust: Literal["", "trusted", "internal", "external", "unverified"]
    tool: str
    step_id: str
    pointed_at: bool = Field(description="Whether the human named its origin, or an argument of the call that gave it.")
    given: bool = Field(description="Whether the prompt holds that origin or argument itself: an address, path or id.")


class GroundingPart(_Part):
    """What grounding does not know."""

    complete: bool = Field(description="False when a source could not be searched or the work bound was hit.")
    unsearched: list[str] = Field(description="Sources of which only a digest is known.")
    truncated: bool = Field(description="Whether the bound on work was hit.")


class PastStepPart(_Part):
    """A call already made in the session."""

    step_id: str
    tool: str
    observed: bool


class TracePart(_Part):
    """The trace the plan belongs to."""

    id: str
    parent_id: str


class SessionPart(_Part):
    """The conversation the plan belongs to."""

    id: str


class ApprovedFindingPart(_Part):
    """A demand for approval that the people saw who gave it."""

    rule: str
    step: str = Field(description="Empty when it concerns the whole plan.")


class ApprovalPart(_Part):
    """A granted approval that covers this plan."""

    id: str
    plan_hash: str
    approvers: list[str] = Field(description="Different people who agreed, by the name that the people table has.")
    expires_at_seconds: int
    tool_digests: dict[str, str] = Field(description="The SHA-256 of each tool's entry when people were asked.")
    revision: str = Field(description="The policy commit that asked them.")
    findings: list[ApprovedFindingPart] = Field(description="What they saw, and so what the approval can lift.")


class SubjectsPart(_Part):
    """Whose use was looked up. Who is missing was not; the tools of the plan never are."""

    agent: str = ""
    session: str = Field(default="", description="The session of this agent: its id, `#`, the session or trace.")
    team: str = ""
    tenant: str = ""


class CounterPart(_Part):
    """How one budget stands in its present period."""

    used: int = Field(description="Everything that was used in the period.")
    reserved: int = Field(description="What is promised to calls that were allowed and are not settled.")
    overrun: int = Field(description="The part of `used` for which there was no room.")
    frozen: bool = Field(description="Whether it refuses everything until a person looked at it.")
    resets_at_seconds: int = Field(description="When the period ends, in Unix seconds; 0 for never.")


class ModelUsagePart(_Part):
    """What a model used."""

    input_tokens: int
    output_tokens: int


class ReportedPart(ModelUsagePart):
    """What the agent says its models used since the plan before, without what was counted when people were asked."""

    models: dict[str, ModelUsagePart]


class UsagePart(_Part):
    """What was used so far."""

    session_calls: int = Field(description="The calls that were allowed earlier in this stream.")
    subjects: SubjectsPart
    counters: dict[str, CounterPart] = Field(
        description="By name `SUBJECT:ID/METRIC/WINDOW`; what is not here was not used."
    )
    reported: ReportedPart


class EdgeBundlePart(_Part):
    """The centre's last word that this policy is what counts."""

    counter: int = Field(description="How often the centre had changed the live policy by then.")
    age_seconds: int = Field(description="How long ago that was, counted so that no clock makes it less.")
    lifetime_seconds: int = Field(description="How long it counts by the centre's signature.")


class EdgePart(_Part):
    """The edge that decides."""

    id: str
    clock_sound: bool = Field(description="Whether its machine's clock did not go back since that word.")
    bundle: EdgeBundlePart


class InputDocument(_Part):
    """The whole document."""

    schema_version: Literal[1]
    mode: Literal["ENFORCE", "DRY_RUN", "SHADOW"]
    now: Now
    principal: PrincipalPart
    environment: str
    trace: TracePart
    session: SessionPart
    delegation: list[DelegatePart]
    request: RequestPart
    plan: PlanPart
    sources: list[SourcePart]
    grounding: GroundingPart
    history: list[PastStepPart]
    usage: UsagePart
    approvals: list[ApprovalPart]
    edge: EdgePart | SkipJsonSchema[None] = Field(
        default=None, description="Only where an edge decides; the centre's documents are without it."
    )
    salt: str = Field(
        default="", description="Chance, so that the digest of an erased document gives nothing away. No rule reads it."
    )


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the world supplies besides the plan, recorded once and never looked up again.

    ``verified_links`` says of each link of the plan's chain whether the log shows it; what is not said is not shown.
    ``counted`` is what of the plan's claim of model usage was counted when people were asked about the same plan.
    ``salt`` is what nobody can guess: with it, the digest of a document that was erased gives nothing away.
    """

    mode: Mode
    principal: Principal
    now_ns: int
    session_calls: int = 0
    approvals: tuple[GrantedApproval, ...] = ()
    verified_links: tuple[bool, ...] = ()
    usage: Usage = field(default_factory=Usage)
    counted: tuple[ModelUsage, ...] = ()
    edge: EdgeStanding | None = None
    salt: str = ""


def build(plan: ExecutionPlan, *, plan_hash: str, grounding: Grounding, circumstances: Circumstances) -> bytes:
    """Return the canonical bytes of the input document for ``plan``.

    Pure: the same arguments give the same bytes, and these bytes are what the engine reads, what is hashed
    and what is stored.
    """
    seconds = circumstances.now_ns // 1_000_000_000
    return canonical_bytes(
        {
            "schema_version": SCHEMA_VERSION,
            "mode": circumstances.mode.value,
            "now": {"unix_seconds": seconds, "rfc3339": rfc3339(seconds)},
            "principal": {
                "id": circumstances.principal.id,
                "authenticated_by": circumstances.principal.authenticated_by,
            },
            "environment": plan.environment,
            "trace": {"id": plan.trace_id, "parent_id": plan.parent_trace_id},
            "session": {"id": plan.session_id},
            "delegation": _delegation(plan, circumstances.verified_links),
            "request": grounding.request,
            "plan": {
                "id": plan.id,
                "hash": plan_hash,
                "intent": plan.intent,
                "steps": [
                    _step(index, step, grounding.values.get(step.id, ())) for index, step in enumerate(plan.steps)
                ],
            },
            "sources": [_source(source, grounding) for source in plan.sources],
            "grounding": grounding.summary,
            "history": [{"step_id": past.id, "tool": past.tool, "observed": past.observed} for past in plan.history],
            "usage": {
                "session_calls": circumstances.session_calls,
                **circumstances.usage.facts(),
                "reported": _reported(usage_beyond(plan.model_usage, circumstances.counted)),
            },
            "approvals": [approval_json(approval) for approval in circumstances.approvals],
            **({"edge": circumstances.edge.facts()} if circumstances.edge else {}),
            **salted(circumstances),
        }
    )


def salted(circumstances: Circumstances) -> dict[str, Json]:
    """Return the part of a document that makes its digest a salted commitment; documents of before have none."""
    return {"salt": circumstances.salt} if circumstances.salt else {}


def _delegation(plan: ExecutionPlan, verified: Sequence[bool]) -> Sequence[Json]:
    return [
        {"agent_id": link.agent_id, "trace_id": link.trace_id, "verified": at < len(verified) and verified[at]}
        for at, link in enumerate(plan.delegation)
    ]


def _step(index: int, step: Step, values: Sequence[Json]) -> Json:
    server, _, name = step.tool.partition("/")
    return {
        "id": step.id,
        "index": index,
        "tool": step.tool,
        "server": server,
        "name": name,
        "capability": step.capability,
        "arguments": step.arguments,
        "depends_on": list(step.depends_on),
        "influenced_by": list(step.influenced_by),
        "values": list(values),
    }


def _reported(used: Sequence[ModelUsage]) -> Json:
    return {
        "input_tokens": sum(item.input_tokens for item in used),
        "output_tokens": sum(item.output_tokens for item in used),
        "models": {
            item.model: {"input_tokens": item.input_tokens, "output_tokens": item.output_tokens} for item in used
        },
    }


def _source(source: Source, grounding: Grounding) -> Json:
    return {
        "id": source.id,
        "kind": source.kind.value,
        "name": source.name,
        "origin_uri": source.origin_uri,
        "digest": source.digest,
        "digest_verified": source.digest_verified,
        "content_known": source.content is not None,
        "size": 0 if source.content is None else len(source.content),
        "declared_trust": source.declared_trust.value if source.declared_trust else "",
        "tool": source.tool,
        "step_id": source.step_id,
        "pointed_at": source.id in grounding.pointed_at,
        "given": source.id in grounding.given,
    }


def approval_json(approval: GrantedApproval) -> Json:
    """Return a granted approval as policy sees it."""
    return {
        "id": approval.id,
        "plan_hash": approval.plan_hash,
        "approvers": approval.approvers,
        "expires_at_seconds": approval.expires_at_seconds,
        "tool_digests": approval.tool_digests,
        "revision": approval.revision,
        "findings": [{"rule": rule, "step": step} for rule, step in approval.findings],
    }


def rfc3339(unix_seconds: int) -> str:
    """Return an instant in UTC, with seconds."""
    return datetime.fromtimestamp(unix_seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
