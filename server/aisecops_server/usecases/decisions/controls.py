"""Runtime controls: what stands around policy when a plan is decided.

A control knows something of the world that policy has to know (what was used, who agreed) and keeps something that a
decision changes (a counter, a consent, a grant). It is asked twice in every attempt to decide:

1. before policy, for *facts*: they become part of the document, so policy decides about them and a replay sees them;
2. after policy, for its *commitment*: changes of state, and the events that tell of them. They are stored in the very
   transaction that stores the decision, or the decision is not stored either.

Between the two somebody else may take what policy was told is there. Then a change is refused with ``ContendedError``,
and the whole attempt is made again. What is decided without being enforced commits to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.callers.identity import Principal
from aisecops_server.domain.decisions.decision import Conclusion, Decision, DecisionId, Mode, Verdict
from aisecops_server.domain.documents.input_document import Circumstances
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.events.event import Event
from aisecops_server.domain.formats.canonical import JsonValue, digest
from aisecops_server.domain.plans.plan import ExecutionPlan


@dataclass(frozen=True, slots=True)
class Asked:
    """One attempt to decide one plan. ``bundle`` is that of the engine which will be asked, and holds its tables.

    ``approval_id`` names the approval that the plan is asked with, if any; ``redemption_key`` is the caller's who calls
    right away.
    """

    principal: Principal
    plan: ExecutionPlan
    plan_hash: str
    mode: Mode
    now_ns: int
    bundle: Bundle
    approval_id: str = ""
    redemption_key: str = ""

    def decided(
        self, conclusion: Conclusion, verdict: Verdict, document: bytes, *, id: DecisionId, tenant: str
    ) -> Decision:
        """Return the decision that ``verdict`` on ``document`` comes to."""
        return Decision(
            id=id,
            trace_id=self.plan.trace_id,
            plan_id=self.plan.id,
            session_id=self.plan.session_id,
            mode=conclusion.mode_of(self.mode),
            conclusion=conclusion,
            principal=self.principal,
            bundle_revision=verdict.revision,
            bundle_digest=self.bundle.digest,
            engine_version=verdict.engine_version,
            document_digest=digest(document),
            plan_hash=self.plan_hash,
            decided_at_ns=self.now_ns,
            evaluation_ns=verdict.evaluation_ns,
            tenant=tenant,
        )


@dataclass(frozen=True, slots=True)
class Commitment:
    """What controls add to a decision.

    ``events`` stand before the outcome event; ``details`` become part of the decision's own, so that a retry is
    answered with them too.
    """

    changes: tuple[Change, ...] = ()
    events: tuple[Event, ...] = ()
    details: Mapping[str, JsonValue] = field(default_factory=dict)

    def joined(self, other: Commitment) -> Commitment:
        """Return both as one, in this order."""
        return Commitment(
            (*self.changes, *other.changes), (*self.events, *other.events), {**self.details, **other.details}
        )


class Control(Protocol):
    """One runtime control."""

    async def facts(self, asked: Asked, known: Circumstances) -> Circumstances:
        """Return ``known`` with what this control knows; it is also asked about plans that are not enforced.

        Raises:
            AisecopsError: it cannot be known now; then nothing is decided.
        """
        ...

    async def commitment(self, asked: Asked, decision: Decision) -> Commitment:
        """Return what ``decision``, whatever its outcome, changes. Only decisions that are enforced come here.

        Raises:
            AisecopsError: the decision cannot be kept; then there is none.
        """
        ...


async def gathered(controls: Sequence[Control], asked: Asked, known: Circumstances) -> Circumstances:
    """Return ``known`` with the facts of every control."""
    for control in controls:
        known = await control.facts(asked, known)
    return known


async def committed(controls: Sequence[Control], asked: Asked, decision: Decision) -> Commitment:
    """Return what every control adds to ``decision``: nothing to one that is not enforced."""
    whole = Commitment()
    if decision.mode is Mode.ENFORCE:
        for control in controls:
            whole = whole.joined(await control.commitment(asked, decision))
    return whole
