"""Execution authority: one grant for each step of an allowed plan, signed, seconds-lived, for one call by one caller.

A grant says everything that its call must be: tool, digest of the arguments, place in the plan, who may use it. It is
what a tool demands and what an enforcement point runs; a decision by itself opens nothing. ``claims_of`` and
``grant_of`` are each other's inverse, so that the event that tells of a grant carries all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NewType

from aisecops_server.domain.decisions.decision import Decision, DecisionId, Mode, Obligation, Outcome
from aisecops_server.domain.errors import GrantNotUsableError, InvalidPlanError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.formats.json_fields import JsonFields
from aisecops_server.domain.grants.obligations import arguments_under
from aisecops_server.domain.plans.plan import ExecutionPlan, PlanId, Step, StepId, TraceId

GrantId = NewType("GrantId", str)

ISSUER = "aisecops"
# Obligations that are met on the arguments or the result; all others may take their time before the call.
_SETTLED_BY_THE_CALL = frozenset({"redact", "limit", "log_digest_only"})
# The confirmation method (RFC 7800): the SHA-256 of the certificate or token that its bearer must present.
_CREDENTIAL = "credential#S256"


class GrantState(StrEnum):
    """What became of a grant. The last three are final, and each grant reaches exactly one of them."""

    ISSUED = "issued"
    REDEEMED = "redeemed"
    EXECUTED = "executed"
    FAILED = "failed"
    EXPIRED_UNKNOWN = "expired_unknown"

    @property
    def is_final(self) -> bool:
        """Return whether nothing follows."""
        return self not in (GrantState.ISSUED, GrantState.REDEEMED)


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to make one call.

    ``thumbprint`` is the SHA-256 of the certificate that asked, empty if it was a token; ``reservation`` names what was
    reserved for the call in the budgets, or is empty. ``depends_on`` names the steps that must have run first.
    """

    id: GrantId
    decision_id: DecisionId
    trace_id: TraceId
    plan_id: PlanId
    plan_hash: str
    bundle_revision: str
    agent_id: str
    thumbprint: str
    step_id: StepId
    step_index: int
    tool: str
    arguments_digest: str
    depends_on: tuple[StepId, ...]
    obligations: tuple[Obligation, ...]
    reservation: str
    issued_at_seconds: int
    expires_at_seconds: int

    @property
    def may_be_used_at_once(self) -> bool:
        """Return whether nothing has to come between its decision and its call: no other step, and nobody's answer."""
        return not self.depends_on and _SETTLED_BY_THE_CALL.issuperset(item.kind for item in self.obligations)

    @property
    def audience(self) -> str:
        """Return the tool server that the grant is for."""
        return self.tool.partition("/")[0]


@dataclass(frozen=True, slots=True)
class StoredGrant:
    """A grant and what became of it.

    ``waiting_for`` names the steps that it depends on and that have not run; ``report`` is the digest of the report
    that closed it. ``redeemed`` tells whether it was used up, also when it is closed by now.
    """

    grant: Grant
    state: GrantState
    revoked: bool
    report: str
    waiting_for: tuple[StepId, ...]
    redeemed: bool = False


def grant_id(decision_id: str, step_index: int) -> GrantId:
    """Return the name of a step's grant: it says of which decision, and cannot be guessed better than that one."""
    return GrantId(f"grt-{decision_id.removeprefix('dec-')}.{step_index}")


def issue(decision: Decision, plan: ExecutionPlan, *, seconds: int) -> tuple[Grant, ...]:
    """Return a grant for each step of ``plan``, valid for ``seconds`` from the decision on.

    Nothing is granted for what is not allowed in earnest, nor to a caller who showed no credential.
    """
    if decision.outcome is not Outcome.ALLOW or decision.mode is not Mode.ENFORCE or not decision.principal.thumbprint:
        return ()
    return tuple(_grant(decision, step, index, seconds=seconds) for index, step in enumerate(plan.steps))


def claims_of(grant: Grant) -> dict[str, JsonValue]:
    """Return the claims that a grant's signature covers."""
    return {
        "iss": ISSUER,
        "aud": grant.audience,
        "sub": grant.agent_id,
        "jti": grant.id,
        "iat": grant.issued_at_seconds,
        "exp": grant.expires_at_seconds,
        **({"cnf": {_CREDENTIAL: grant.thumbprint}} if grant.thumbprint else {}),
        "decision_id": grant.decision_id,
        "trace_id": grant.trace_id,
        "plan_id": grant.plan_id,
        "plan_hash": grant.plan_hash,
        "revision": grant.bundle_revision,
        "step_id": grant.step_id,
        "step_index": grant.step_index,
        "depends_on": list(grant.depends_on),
        "tool": grant.tool,
        "arguments_sha256": grant.arguments_digest,
        "obligations": [{"kind": item.kind, "parameters": item.parameters} for item in grant.obligations],
        "reservation": grant.reservation,
    }


def grant_of(claims: Mapping[str, JsonValue]) -> Grant:
    """Return the grant that ``claims`` describe.

    Raises:
        GrantNotUsableError: they describe none.
    """
    try:
        grant = _read(JsonFields(claims, "grant"))
    except InvalidPlanError as error:
        raise _no_grant() from error
    # Whatever was added or is of another issuer would not come back the same.
    if canonical_bytes(claims_of(grant)) != canonical_bytes(claims):
        raise _no_grant()
    return grant


def _grant(decision: Decision, step: Step, index: int, *, seconds: int) -> Grant:
    binding = (item for item in decision.conclusion.obligations if item.step_id in ("", step.id))
    obligations = tuple(replace(item, step_id=step.id) for item in binding)
    now = decision.decided_at_ns // 1_000_000_000
    return Grant(
        id=grant_id(decision.id, index),
        decision_id=decision.id,
        trace_id=decision.trace_id,
        plan_id=decision.plan_id,
        plan_hash=decision.plan_hash,
        bundle_revision=decision.bundle_revision,
        agent_id=decision.principal.id,
        thumbprint=decision.principal.bound_to,
        step_id=step.id,
        step_index=index,
        tool=step.tool,
        arguments_digest=digest(canonical_bytes(arguments_under(step.arguments, obligations))),
        depends_on=step.depends_on,
        obligations=obligations,
        # What a decision reserves is kept under its own name.
        reservation=decision.id if decision.conclusion.charges else "",
        issued_at_seconds=now,
        expires_at_seconds=now + seconds,
    )


def _read(claims: JsonFields) -> Grant:
    step_id = StepId(claims.text("step_id"))
    return Grant(
        id=GrantId(claims.text("jti")),
        decision_id=DecisionId(claims.text("decision_id")),
        trace_id=TraceId(claims.text("trace_id")),
        plan_id=PlanId(claims.text("plan_id")),
        plan_hash=claims.text("plan_hash"),
        bundle_revision=claims.text("revision"),
        agent_id=claims.text("sub"),
        thumbprint=claims.object("cnf").text(_CREDENTIAL) if claims.has("cnf") else "",
        step_id=step_id,
        step_index=claims.integer("step_index"),
        tool=claims.text("tool"),
        arguments_digest=claims.text("arguments_sha256"),
        depends_on=tuple(map(StepId, claims.texts("depends_on"))),
        obligations=tuple(
            Obligation(item.text("kind"), step_id, item.mapping("parameters")) for item in claims.objects("obligations")
        ),
        reservation=claims.text("reservation"),
        issued_at_seconds=claims.integer("iat"),
        expires_at_seconds=claims.integer("exp"),
    )


def _no_grant() -> GrantNotUsableError:
    return GrantNotUsableError(
        "what was presented is not a grant", hint="Nothing may run. Present a grant as Decide gave it", why="forged"
    )
