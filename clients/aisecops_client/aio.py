"""The client for asyncio. Anything but an answer raises, and raising means: deny."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
from aisecops.v1 import (
    agent_service_pb2,
    audit_service_pb2,
    bundle_pb2,
    bundle_service_pb2,
    decision_service_pb2,
    execution_service_pb2,
)
from aisecops.v1.agent_service_pb2_grpc import AgentServiceStub
from aisecops.v1.approval_pb2 import Approval
from aisecops.v1.audit_service_pb2_grpc import AuditServiceStub
from aisecops.v1.bundle_service_pb2_grpc import BundleServiceStub
from aisecops.v1.decision_service_pb2_grpc import DecisionServiceStub
from aisecops.v1.event_pb2 import Event
from aisecops.v1.execution_service_pb2_grpc import ExecutionServiceStub
from aisecops.v1.plan_pb2 import ToolCallMessage
from aisecops.v1.screen_service_pb2_grpc import ScreenServiceStub

from aisecops_client.aio_approvals import AsyncApprovals
from aisecops_client.answers import Answer, answer_of, result_of
from aisecops_client.approvals import GRANTED, WAIT_SECONDS, in_trace
from aisecops_client.come_again import ComeAgain
from aisecops_client.errors import AisecopsClientError, from_rpc_error
from aisecops_client.messages import Plan, batch_request, bearer, built, decide_request
from aisecops_client.screening import Screened, Texts, screen_request, screened
from aisecops_client.transport import PLAIN_OPTIONS, TLS_OPTIONS, require_plain

if TYPE_CHECKING:
    from aisecops.v1.agent_service_pb2_grpc import AgentServiceAsyncStub
    from aisecops.v1.audit_service_pb2_grpc import AuditServiceAsyncStub
    from aisecops.v1.bundle_service_pb2_grpc import BundleServiceAsyncStub
    from aisecops.v1.decision_service_pb2_grpc import DecisionServiceAsyncStub
    from aisecops.v1.execution_service_pb2_grpc import ExecutionServiceAsyncStub
    from aisecops.v1.screen_service_pb2_grpc import ScreenServiceAsyncStub

_R = TypeVar("_R")


@dataclass(slots=True)
class AsyncClient:
    """Calls one control plane as one caller. Use ``connect`` to make one, and close it."""

    channel: grpc.aio.Channel
    token: str = field(repr=False)
    timeout_seconds: float = 10.0
    work_seconds: float = 60.0
    tenant: str = ""
    address: str = ""
    _come_again: ComeAgain = field(default_factory=ComeAgain, init=False, repr=False)
    _decisions: DecisionServiceAsyncStub = field(init=False, repr=False)
    _bundles: BundleServiceAsyncStub = field(init=False, repr=False)
    _screening: ScreenServiceAsyncStub = field(init=False, repr=False)
    _audit: AuditServiceAsyncStub = field(init=False, repr=False)
    _executions: ExecutionServiceAsyncStub = field(init=False, repr=False)
    _agents: AgentServiceAsyncStub = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the stubs, once for all calls."""
        self._decisions = DecisionServiceStub(self.channel)
        self._bundles = BundleServiceStub(self.channel)
        self._screening = ScreenServiceStub(self.channel)
        self._audit = AuditServiceStub(self.channel)
        self._executions = ExecutionServiceStub(self.channel)
        self._agents = AgentServiceStub(self.channel)

    @classmethod
    def connect(
        cls, address: str, token: str = "", *, credentials: grpc.ChannelCredentials | None = None, tenant: str = ""
    ) -> Self:
        """Return a client of ``address``, such as ``unix:/run/aisecops.sock`` or ``control.example:8443``.

        Who calls is said by the token or, with ``credentials=tls(...)``, by the client certificate in it. ``tenant``
        says which is meant where that credential is of several.

        Raises:
            ValueError: the address is not on this machine, and there are no credentials for TLS.
        """
        if credentials is None:
            require_plain(address)
            return cls(grpc.aio.insecure_channel(address, options=PLAIN_OPTIONS), token, tenant=tenant, address=address)
        return cls(
            grpc.aio.secure_channel(address, credentials, options=TLS_OPTIONS), token, tenant=tenant, address=address
        )

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self.close()

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what every call carries: who calls, and for which tenant."""
        return bearer(self.token, self.tenant)

    async def close(self) -> None:
        """Close the connection."""
        await self.channel.close()

    @property
    def approvals(self) -> AsyncApprovals:
        """Return the calls about requests for approval."""
        return AsyncApprovals(self.channel, self.metadata, self.work_seconds)

    async def decide(
        self,
        plan: Plan,
        *,
        message: ToolCallMessage | None = None,
        idempotency_key: str = "",
        approval_id: str = "",
        redemption_key: str = "",
    ) -> Answer:
        """Return the decision on one plan; ``approval_id`` is the approval that people gave for exactly this one.

        With a fresh ``redemption_key`` the call is made right away: grants that nothing has to precede are used up
        with the decision, and say so (``redeemed``).

        Raises:
            ApprovalNotUsableError: the approval does not stand for this plan now.
            AisecopsClientError: there is no decision; do not act.
        """
        request = decide_request(
            plan,
            message=message,
            idempotency_key=idempotency_key,
            approval_id=approval_id,
            redemption_key=redemption_key,
        )
        return answer_of(await self._call(self._decisions.Decide, request, self.timeout_seconds))

    async def wait_for_approval(self, answer: Answer, *, seconds: float = WAIT_SECONDS) -> Approval:
        """Return the request that ``answer`` names when people have decided it, or when ``seconds`` are over.

        Only in the state GRANTED is it of use: decide the same plan again, with its id and a fresh idempotency key.

        Raises:
            AisecopsClientError: it cannot be told what became of it; do not act.
        """
        return await self.approvals.wait(answer.approval_id, seconds=seconds)

    async def decide_with_people(self, plan: Plan, *, seconds: float = WAIT_SECONDS) -> Answer:
        """Return the decision on one plan, after people were asked where policy wants that; this may take minutes.

        What is not approved in ``seconds`` comes back as it was: not allowed.

        Raises:
            AisecopsClientError: there is no decision; do not act.
        """
        asked = built(plan)
        answer = await self.decide(asked)
        if not answer.waits_for_people or (await self.wait_for_approval(answer, seconds=seconds)).state != GRANTED:
            return answer
        return await self.decide(in_trace(asked, answer), approval_id=answer.approval_id)

    async def decide_batch(self, plans: Sequence[Plan], *, dry_run: bool = False) -> list[Answer | AisecopsClientError]:
        """Return the decisions on many plans in their order, an error standing for what was not decided.

        Raises:
            AisecopsClientError: the batch as a whole was not decided.
        """
        request = batch_request(plans, dry_run=dry_run)
        response = await self._call(self._decisions.DecideBatch, request, self.work_seconds)
        return [result_of(result) for result in response.results]

    async def dry_run(self, plan: Plan, *, message: ToolCallMessage | None = None, revision: str = "") -> Answer:
        """Return the decision that a plan would get, at ``revision`` or the live one. It never allows anything.

        Raises:
            AisecopsClientError: there is none.
        """
        request = decision_service_pb2.DryRunRequest(request=decide_request(plan, message=message), revision=revision)
        return answer_of(await self._call(self._decisions.DryRun, request, self.work_seconds))

    async def session(
        self, messages: AsyncIterator[decision_service_pb2.SessionRequest]
    ) -> AsyncIterator[tuple[str, Answer | AisecopsClientError]]:
        """Yield the correlation id and the answer of each message, in their order.

        Raises:
            AisecopsClientError: the stream ended; open another one.
        """
        call = self._decisions.Session(messages, metadata=self.metadata)
        try:
            async for response in call:
                yield response.correlation_id, result_of(response)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()

    async def screen(
        self,
        texts: Texts,
        *,
        direction: str,
        kind: str = "",
        tool: str = "",
        trace_id: str = "",
        session_id: str = "",
        keep_text: bool = False,
        approval_id: str = "",
    ) -> Screened:
        """Return the decision about a text, or about several by part id, that go to a model or came from one.

        ``direction`` is `prompt`, `input`, `tool_result` or `output`. Use ``.text`` of the answer and nothing else.

        Raises:
            AisecopsClientError: there is none; do not use the text.
            ValueError: there is no such direction or kind.
        """
        request = screen_request(
            texts,
            direction=direction,
            kind=kind,
            tool=tool,
            trace_id=trace_id,
            session_id=session_id,
            keep_text=keep_text,
            approval_id=approval_id,
        )
        response = await self._call(self._screening.Screen, request, self.timeout_seconds)
        return screened(response, [part.part_id for part in request.parts])

    async def tools(self, *, environment: str, server: str = "") -> agent_service_pb2.ListToolsResponse:
        """Return the tools that the caller may ask for in an environment, of one server or of all.

        Raises:
            AisecopsClientError: it cannot be told.
        """
        request = agent_service_pb2.ListToolsRequest(environment=environment, server=server)
        return await self._call(self._agents.ListTools, request, self.timeout_seconds)

    async def explain(self, decision_id: str, *, full: bool = False) -> decision_service_pb2.ExplainResponse:
        """Return why a stored decision came out as it did.

        Raises:
            AisecopsClientError: it cannot be told.
        """
        request = decision_service_pb2.ExplainRequest(decision_id=decision_id, full=full)
        return await self._call(self._decisions.Explain, request, self.work_seconds)

    async def trace(self, trace_id: str) -> audit_service_pb2.GetTraceResponse:
        """Return everything recorded under a trace id.

        Raises:
            AisecopsClientError: there is nothing, or it may not be read.
        """
        request = audit_service_pb2.GetTraceRequest(trace_id=trace_id)
        return await self._call(self._audit.GetTrace, request, self.work_seconds)

    async def traces(
        self, narrow: audit_service_pb2.TraceFilter | None = None, *, page_size: int = 0, page_token: str = ""
    ) -> audit_service_pb2.ListTracesResponse:
        """Return a page of traces, newest first.

        Raises:
            AisecopsClientError: they cannot be read.
        """
        request = audit_service_pb2.ListTracesRequest(page_size=page_size, page_token=page_token, filter=narrow)
        return await self._call(self._audit.ListTraces, request, self.work_seconds)

    async def trace_facets(
        self,
        narrow: audit_service_pb2.TraceFilter | None = None,
        *,
        fields: Sequence[str] = (),
        count_only: bool = False,
    ) -> audit_service_pb2.ListTraceFacetsResponse:
        """Return how many traces match, and how many have each value of ``fields``, of all when there are none.

        Raises:
            AisecopsClientError: they cannot be read.
        """
        request = audit_service_pb2.ListTraceFacetsRequest(filter=narrow, fields=fields, count_only=count_only)
        return await self._call(self._audit.ListTraceFacets, request, self.work_seconds)

    async def events(self, *, from_index: int = 0, follow: bool = False, trace_id: str = "") -> AsyncIterator[Event]:
        """Yield events in log order.

        Raises:
            AisecopsClientError: they cannot be read any further.
        """
        request = audit_service_pb2.StreamEventsRequest(from_index=from_index, follow=follow, trace_id=trace_id)
        call = self._audit.StreamEvents(request, metadata=self.metadata)
        try:
            async for response in call:
                yield response.event
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            # Who stops reading early must not leave the stream open.
            call.cancel()

    async def revisions(self, *, page_size: int = 0, page_token: str = "") -> bundle_service_pb2.ListRevisionsResponse:
        """Return a page of revisions, newest first.

        Raises:
            AisecopsClientError: they cannot be read.
        """
        request = bundle_service_pb2.ListRevisionsRequest(page_size=page_size, page_token=page_token)
        return await self._call(self._bundles.ListRevisions, request, self.work_seconds)

    async def revision(self, name: str) -> bundle_service_pb2.GetRevisionResponse:
        """Return one revision and its rules.

        Raises:
            AisecopsClientError: there is none of that name.
        """
        request = bundle_service_pb2.GetRevisionRequest(revision=name)
        return await self._call(self._bundles.GetRevision, request, self.work_seconds)

    async def bundle_status(self) -> bundle_pb2.BundleStatus:
        """Return what is live and what went wrong last.

        Raises:
            AisecopsClientError: it cannot be told.
        """
        request = bundle_service_pb2.GetStatusRequest()
        response = await self._call(self._bundles.GetStatus, request, self.work_seconds)
        return response.status

    async def activate(self, revision: str, *, reason: str = "") -> bundle_pb2.BundleStatus:
        """Make a revision live.

        Raises:
            AisecopsClientError: it was not; what was live before still is.
        """
        request = bundle_service_pb2.ActivateRequest(revision=revision, reason=reason)
        response = await self._call(self._bundles.Activate, request, self.work_seconds)
        return response.status

    async def rollback(self, *, reason: str = "") -> bundle_pb2.BundleStatus:
        """Make the previous revision live again.

        Raises:
            AisecopsClientError: there is none, or it cannot be made live.
        """
        request = bundle_service_pb2.RollbackRequest(reason=reason)
        response = await self._call(self._bundles.Rollback, request, self.work_seconds)
        return response.status

    async def sync(self) -> bundle_pb2.BundleStatus:
        """Have the policy repository read now.

        Raises:
            AisecopsClientError: it cannot be read.
        """
        request = bundle_service_pb2.SyncRequest()
        response = await self._call(self._bundles.Sync, request, self.work_seconds)
        return response.status

    async def redeem(self, request: execution_service_pb2.RedeemRequest) -> execution_service_pb2.RedeemResponse:
        """Use a grant up for the call that is about to be made.

        Raises:
            AisecopsClientError: the call may not be made.
        """
        return await self._call(self._executions.Redeem, request, self.timeout_seconds)

    async def complete(self, request: execution_service_pb2.CompleteRequest) -> execution_service_pb2.CompleteResponse:
        """Tell what came of a call that a grant allowed.

        Raises:
            AisecopsClientError: it is not on record.
        """
        return await self._call(self._executions.Complete, request, self.timeout_seconds)

    async def report_execution(
        self, request: execution_service_pb2.ReportExecutionRequest
    ) -> execution_service_pb2.ReportExecutionResponse:
        """Tell of a call that was seen, with or without a grant.

        Raises:
            AisecopsClientError: it is not on record.
        """
        return await self._call(self._executions.ReportExecution, request, self.timeout_seconds)

    async def grants(self, decision_id: str) -> execution_service_pb2.ListGrantsResponse:
        """Return what became of the grants of a decision.

        Raises:
            AisecopsClientError: it cannot be told.
        """
        request = execution_service_pb2.ListGrantsRequest(decision_id=decision_id)
        return await self._call(self._executions.ListGrants, request, self.work_seconds)

    async def revoke_grants(self, *, agent_id: str = "", decision_id: str = "", reason: str = "") -> int:
        """Let the unused grants of an agent or of a decision be used no more, and return how many it was.

        Raises:
            AisecopsClientError: nothing was revoked.
        """
        request = execution_service_pb2.RevokeGrantsRequest(agent_id=agent_id, decision_id=decision_id, reason=reason)
        return (await self._call(self._executions.RevokeGrants, request, self.work_seconds)).revoked

    async def grant_keys(self) -> bytes:
        """Return the public keys that verify grants, as a JWKS document.

        Raises:
            AisecopsClientError: they cannot be told.
        """
        request = execution_service_pb2.GetGrantKeysRequest()
        return (await self._call(self._executions.GetGrantKeys, request, self.work_seconds)).jwks_json

    async def grant_key_state(self) -> execution_service_pb2.GetGrantKeysResponse:
        """Return the public keys that verify grants, and why none are signed, where that is so.

        Raises:
            AisecopsClientError: they cannot be told.
        """
        request = execution_service_pb2.GetGrantKeysRequest()
        return await self._call(self._executions.GetGrantKeys, request, self.work_seconds)

    async def rotate_grant_key(
        self, *, reason: str, revoke: bool = False
    ) -> execution_service_pb2.RotateGrantKeyResponse:
        """Have another key sign grants; with ``revoke`` refuse at once what any earlier key signed.

        Raises:
            AisecopsClientError: it was not rotated.
        """
        request = execution_service_pb2.RotateGrantKeyRequest(reason=reason, revoke=revoke)
        return await self._call(self._executions.RotateGrantKey, request, self.work_seconds)

    async def incidents(
        self, narrow: execution_service_pb2.ListIncidentsRequest | None = None
    ) -> execution_service_pb2.ListIncidentsResponse:
        """Return a page of runtime incidents, newest first.

        Raises:
            AisecopsClientError: they cannot be read.
        """
        request = narrow or execution_service_pb2.ListIncidentsRequest()
        return await self._call(self._executions.ListIncidents, request, self.work_seconds)

    async def follow_incidents(
        self, *, from_index: int = 0, follow: bool = True
    ) -> AsyncIterator[execution_service_pb2.Incident]:
        """Yield incidents in log order.

        Raises:
            AisecopsClientError: they cannot be read any further.
        """
        request = execution_service_pb2.StreamIncidentsRequest(from_index=from_index, follow=follow)
        call = self._executions.StreamIncidents(request, metadata=self.metadata)
        try:
            async for response in call:
                yield response.incident
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            # Who stops reading early must not leave the stream open.
            call.cancel()

    async def _call(self, method: Callable[..., Awaitable[_R]], request: Any, seconds: float) -> _R:
        self._come_again.check(method)
        try:
            return await method(request, metadata=self.metadata, timeout=seconds)
        except grpc.RpcError as error:
            found = from_rpc_error(error)
            self._come_again.heard(method, found)
            raise found from error
