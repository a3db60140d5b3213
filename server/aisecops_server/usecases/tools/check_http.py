"""An HTTP request in, a decision out: for gateways that ask before they pass a request on to a tool's server.

The request becomes a plan of one step, and is decided, recorded and granted by the same path as every other. The
gateway makes the call right away, so its grant is redeemed here, and nothing passes that was not.

Ordering rules: reading before deciding, deciding before redeeming; a request that cannot be read, or that no route
describes, is on record before it is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aisecops_server.domain.callers.identity import Principal
from aisecops_server.domain.decisions.decision import Mode, Outcome
from aisecops_server.domain.errors import AisecopsError, GrantNotUsableError
from aisecops_server.domain.formats.canonical import canonical_bytes, digest
from aisecops_server.domain.formats.identifiers import is_identifier
from aisecops_server.domain.formats.trace_parent import HEADER, TraceParent, read_trace_parent
from aisecops_server.domain.plans.plan import ExecutionPlan
from aisecops_server.domain.plans.plan_builder import Fresh, PlanDraft, StepDraft, build_plan
from aisecops_server.domain.tools.http_request import APPROVAL_HEADER, HttpCall, HttpRequest, read_call
from aisecops_server.ports import Ids
from aisecops_server.usecases.decisions.decide import Decide, DecideCommand, Decided
from aisecops_server.usecases.grants.issue_grants import SignedGrant
from aisecops_server.usecases.grants.redeem_grant import Bearer, Redeem, RedeemCommand

STEP = "call"
# A gateway keeps no texts of results; whatever else policy may want of a call, it cannot do.
_MET = frozenset({"log_digest_only"})


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """What became of a request. It may pass only with a ``grant``, which is used up by now."""

    decided: Decided
    grant: SignedGrant | None = None


@dataclass(frozen=True, slots=True)
class CheckHttp:
    """Decides HTTP requests of agents, on behalf of the gateway that they came through."""

    decide: Decide
    hand_out: Callable[[Decided, Principal], Awaitable[tuple[SignedGrant, ...]]]
    redeem: Redeem
    ids: Ids

    async def __call__(self, request: HttpRequest, *, agent: Principal, gateway: Principal) -> CheckedRequest:
        """Decide ``request``, which ``agent`` sent through ``gateway``, and use up the grant of what is allowed.

        Raises:
            InvalidRequestError, NotFoundError: it is no call that policy knows; that is on record.
            GrantNotUsableError: policy allows it with obligations that a gateway cannot meet.
            AisecopsError: it could not be decided, recorded or redeemed.
        """
        plan = await self._plan(request, agent)
        decided = await self.decide(
            DecideCommand(
                principal=agent,
                plan=plan,
                mode=Mode.ENFORCE,
                idempotency_key="",
                request_digest="",
                approval_id=_approval_id(request),
            )
        )
        if decided.outcome is not Outcome.ALLOW:
            return CheckedRequest(decided)
        return CheckedRequest(decided, await self._used_up(decided, plan, agent=agent, gateway=gateway))

    async def refuse(self, agent: Principal, error: AisecopsError) -> None:
        """Record that ``agent`` sent what is no request at all."""
        await self.decide.refuse(agent, error)

    async def _plan(self, request: HttpRequest, agent: Principal) -> ExecutionPlan:
        routes: Mapping[str, Any] = self._routes()
        try:
            return self._built(read_call(request, routes), request)
        except AisecopsError as error:
            await self.decide.refuse(agent, error, trace_id=_parent(request).trace_id)
            raise

    def _routes(self) -> Mapping[str, Any]:
        found = self.decide.engines.current().bundle.tables.get("routes")
        return found if isinstance(found, Mapping) else {}

    def _built(self, call: HttpCall, request: HttpRequest) -> ExecutionPlan:
        step = StepDraft(STEP, call.tool, canonical_bytes(call.arguments))
        draft = PlanDraft((step,), intent=f"HTTP {call.route}", environment=call.environment)
        return build_plan(draft.under(_parent(request)), Fresh(self.ids.trace_id(), self.ids.plan_id()))

    async def _used_up(
        self, decided: Decided, plan: ExecutionPlan, *, agent: Principal, gateway: Principal
    ) -> SignedGrant:
        grants = await self.hand_out(decided, agent)
        if len(grants) != 1:
            raise _unusable("policy only tries this agent, so nothing of it is executed", "not_enforced")
        [signed] = grants
        unmet = sorted({item.kind for item in signed.grant.obligations} - _MET)
        if unmet:
            raise _unusable(f"policy wants of this call what a gateway cannot do: {', '.join(unmet)}", "obligation")
        [step] = plan.steps
        await self.redeem(
            RedeemCommand(
                caller=gateway.id,
                bearer=Bearer(agent.id, agent.thumbprint),
                token=signed.token,
                key=f"http-{signed.grant.id}",
                tool=step.tool,
                arguments_digest=digest(canonical_bytes(step.arguments)),
            )
        )
        return signed


def _unusable(message: str, why: str) -> GrantNotUsableError:
    return GrantNotUsableError(message, hint="Call the tool through a guard beside the agent", why=why)


def _approval_id(request: HttpRequest) -> str:
    given = request.header(APPROVAL_HEADER)
    return given if is_identifier(given) else ""


def _parent(request: HttpRequest) -> TraceParent:
    return read_trace_parent(request.header(HEADER))
