"""Giving out execution authority: grants are kept with the decision that gives them, and signed when it is told.

An allow that is asked for again gives what is left of its authority: grants that were used, revoked or have expired
do not come back, and nobody gets them but who could redeem them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aisecops_server.domain.callers.identity import Principal
from aisecops_server.domain.decisions.decision import Decision, Mode, Outcome
from aisecops_server.domain.documents.input_document import Circumstances
from aisecops_server.domain.events.event import Stage, make_event
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.grants.execution import redeemed_event
from aisecops_server.domain.grants.grant import Grant, GrantState, StoredGrant, claims_of, issue
from aisecops_server.domain.grants.grant_changes import IssueGrants, RedeemGrant
from aisecops_server.domain.plans.plan import ExecutionPlan
from aisecops_server.ports import Clock, Ids
from aisecops_server.ports.grants import GrantSigner, GrantStore
from aisecops_server.usecases.decisions.controls import Asked, Commitment
from aisecops_server.usecases.decisions.decide import Decided
from aisecops_server.usecases.decisions.lifetimes import Lifetimes
from aisecops_server.usecases.grants.redeem_grant import Bearer

# The member of a decision's details that says what was refused, so that it is known again when it runs all the same.
REFUSED_CALLS = "refused_calls"


_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class GrantControl:
    """Implements ``Control``: an allow comes with one grant a step, used up at once where the caller says so.

    ``seconds`` is how long a grant lives; for ``report_seconds`` more it may be told what came of it.
    """

    ids: Ids
    seconds: int
    report_seconds: int

    async def facts(self, asked: Asked, known: Circumstances) -> Circumstances:  # noqa: ARG002 - the port's signature
        """Add nothing: what was granted before is no reason to grant again."""
        return known

    async def commitment(self, asked: Asked, decision: Decision) -> Commitment:
        """Keep the grants of an allow, and what a refusal refused."""
        if decision.outcome is not Outcome.ALLOW:
            return Commitment(details={REFUSED_CALLS: _calls(asked.plan)})
        grants = issue(decision, asked.plan, seconds=self.seconds)
        if not grants:
            return Commitment()
        claims = [claims_of(grant) for grant in grants]
        event = make_event(
            id=self.ids.event_id(),
            trace_id=decision.trace_id,
            plan_id=decision.plan_id,
            decision_id=decision.id,
            stage=Stage.EXECUTION,
            type="grant.issued",
            occurred_at_ns=decision.decided_at_ns,
            details={
                "bundle_revision": decision.bundle_revision,
                "grants": claims,
                "report_seconds": self.report_seconds,
            },
        )
        issued = IssueGrants(grants, tuple(map(canonical_bytes, claims)), self.report_seconds)
        return Commitment((issued,), (event,)).joined(self._used(asked, decision, grants))

    def _used(self, asked: Asked, decision: Decision, grants: Sequence[Grant]) -> Commitment:
        """Use up what the caller calls right away, in the transaction that gives it."""
        key, now = asked.redemption_key, decision.decided_at_ns
        used = [grant for grant in grants if key and grant.may_be_used_at_once]
        return Commitment(
            tuple(RedeemGrant(grant, key) for grant in used),
            tuple(
                redeemed_event(grant, key, id=self.ids.event_id(), now_ns=now, by=decision.principal.id)
                for grant in used
            ),
        )


@dataclass(frozen=True, slots=True)
class SignedGrant:
    """A grant with the token that proves it. ``redeemed`` when the request that gave it has used it up."""

    grant: Grant
    token: str
    redeemed: bool = False


@dataclass(frozen=True, slots=True)
class HandOut:
    """Signs the grants of a decision for the caller who is told of it."""

    signer: GrantSigner
    grants: GrantStore
    clock: Clock
    lifetimes: Lifetimes

    async def __call__(self, decided: Decided, holder: Principal) -> tuple[SignedGrant, ...]:
        """Return the grants that ``holder`` may use, in plan order; none for what is not an enforced allow."""
        if decided.outcome is not Outcome.ALLOW or decided.details["mode"] != Mode.ENFORCE:
            return ()
        if decided.receipt.replayed:
            return await self._left(decided, holder)
        used = {change.grant.id for change in decided.changes if isinstance(change, RedeemGrant)}
        given = [
            pair
            for change in decided.changes
            if isinstance(change, IssueGrants)
            for pair in zip(change.grants, change.claims, strict=True)
        ]
        for grant, _ in given:
            if grant.id not in used:
                self.lifetimes.begin(
                    grant.id,
                    given_at_ns=grant.issued_at_seconds * _SECOND,
                    ends_at_ns=grant.expires_at_seconds * _SECOND,
                )
        return tuple(
            SignedGrant(grant, self.signer.sign(grant, claims), redeemed=grant.id in used) for grant, claims in given
        )

    async def _left(self, decided: Decided, holder: Principal) -> tuple[SignedGrant, ...]:
        now, bearer = self.clock.now_ns() // 1_000_000_000, Bearer(holder.id, holder.thumbprint)
        stored = await self.grants.grants_of(str(decided.details["decision_id"]))
        return tuple(
            SignedGrant(item.grant, self.signer.sign(item.grant), redeemed=item.state is GrantState.REDEEMED)
            for item in stored
            if _is_usable(item, now, retried=decided.redeems) and bearer.holds(item.grant)
        )


def _is_usable(stored: StoredGrant, now_seconds: int, *, retried: bool) -> bool:
    """Return whether a grant may be given again; ``retried`` by the request that used up what it could at once."""
    in_time = stored.grant.issued_at_seconds <= now_seconds < stored.grant.expires_at_seconds
    own = retried and stored.state is GrantState.REDEEMED and stored.grant.may_be_used_at_once
    return in_time and (own or (stored.state is GrantState.ISSUED and not stored.revoked))


def _calls(plan: ExecutionPlan) -> list[JsonValue]:
    return [
        {"step": step.id, "tool": step.tool, "arguments_sha256": digest(canonical_bytes(step.arguments))}
        for step in plan.steps
    ]
