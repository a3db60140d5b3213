"""The client for agents and tools that wait for an answer. Anything but an answer raises, and raising means: deny."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from aisecops.v1 import (
    audit_service_pb2,
    bundle_pb2,
    bundle_service_pb2,
    decision_service_pb2,
    execution_service_pb2,
)
from aisecops.v1.approval_pb2 import Approval
from aisecops.v1.audit_service_pb2_grpc import AuditServiceStub
from aisecops.v1.bundle_service_pb2_grpc import BundleServiceStub
from aisecops.v1.decision_service_pb2_grpc import DecisionServiceStub
from aisecops.v1.event_pb2 import Event
from aisecops.v1.execution_service_pb2_grpc import ExecutionServiceStub
from aisecops.v1.plan_pb2 import ToolCallMessage
from aisecops.v1.screen_service_pb2_grpc import ScreenServiceStub

from aisecops_client.answers import Answer, answer_of, result_of
from aisecops_client.approvals import GRANTED, WAIT_SECONDS, Approvals, in_trace
from aisecops_client.come_again import ComeAgain
from aisecops_client.errors import AisecopsClientError, from_rpc_error
from aisecops_client.messages import Plan, batch_request, bearer, built, decide_request
from aisecops_client.screening import Screened, Texts, screen_request, screened
from aisecops_client.transport import PLAIN_OPTIONS, TLS_OPTIONS, require_plain

_R = TypeVar("_R")


@dataclass(slots=True)
class Client:
    """Calls one control plane as one caller. Use ``connect`` to make one, and close it."""

    channel: grpc.Channel
    token: str = field(repr=False)
    timeout_seconds: float = 10.0
    work_seconds: float = 60.0
    tenant: str = ""
    address: str = ""
    _come_again: ComeAgain = field(default_factory=ComeAgain, init=False, repr=False)
    _decisions: DecisionServiceStub = field(init=False, repr=False)
    _bundles: BundleServiceStub = field(init=False, repr=False)
    _screening: ScreenServiceStub = field(init=False, repr=False)
    _audit: AuditServiceStub = field(init=False, repr=False)
    _executions: ExecutionServiceStub = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the stubs, once for all calls."""
        self._decisions = DecisionServiceStub(self.channel)
        self._bundles = BundleServiceStub(self.channel)
        self._screening = ScreenServiceStub(self.channel)
        self._audit = AuditServiceStub(self.channel)
        self._executions = ExecutionServiceStub(self.channel)

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
            return cls(grpc.insecure_channel(address, options=PLAIN_OPTIONS), token, tenant=tenant, address=address)
        return cls(
            grpc.secure_channel(address, credentials, options=TLS_OPTIONS), token, tenant=tenant, address=address
        )

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what every call carries: who calls, and for which tenant."""
        return bearer(self.token, self.tenant)

    def close(self) -> None:
        """Close the connection."""
        self.channel.close()

    @property
    def approvals(self) -> Approvals:
        """Return the calls about requests for approval."""
        return Approvals(self.channel, self.metadata, self.work_seconds)

    def decide(
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
        return answer_of(self._call(self._decisions.Decide, request, self.timeout_seconds))

    def wait_for_approval(self, answer: Answer, *, seconds: float = WAIT_SECONDS) -> Approval:
        """Return the request that ``answer`` names when people have decided it, or when ``seconds`` are over.

        Only in the state GRANTED is it of use: decide the same plan again, with its id and a fresh idempotency key.

        Raises:
            AisecopsClientError: it cannot be told what became of it; do not act.
        """
        return self.approvals.wait(answer.approval_id, seconds=seconds)

    def decide_with_people(self, plan: Plan, *, seconds: float = WAIT_SECONDS) -> Answer:
        """Return the decision on one plan, after people were asked where policy wants that; this may take minutes.

        What is not approved in ``seconds`` comes back as it was: not allowed.

        Raises:
            AisecopsClientError: there is no decision; do not act.
        """
        asked = built(plan)
        answer = self.decide(asked)
        if not answer.waits_for_people or self.wait_for_approval(answer, seconds=seconds).state != GRANTED:
            return answer
        return self.decide(in_trace(asked, answer), approval_id=answer.approval_id)

    def decide_batch(self, plans: Sequence[Plan], *, dry_run: bool = False) -> list[Answer | AisecopsClientError]:
        """Return the decisions on many plans in their order, an error standing for what was not decided.

        Raises:
            AisecopsClientError: the batch as a whole was not decided.
        """
        request = batch_request(plans, dry_run=dry_run)
        response = self._call(self._decisions.DecideBatch, request, self.work_seconds)
        return [result_of(result) for result in response.results]

    def dry_run(self, plan: Plan, *, message: ToolCallMessage | None = None, revision: str = "") -> Answer:
        """Return the decision that a plan would get, at ``revision`` or the live one. It never allows anything.

        Raises:
            AisecopsClientError: there is none.
        """
        request = decision_service_pb2.DryRunRequest(request=decide_request(plan, message=message), revision=revision)
        return answer_of(self._call(self._decisions.DryRun, request, self.work_seconds))

    def session(
        self, messages: Iterator[decision_service_pb2.SessionRequest]
    ) -> Iterator[tuple[str, Answer | AisecopsClientError]]:
        """Yield the correlation id and the answer of each message, in their order.

        Raises:
            AisecopsClientError: the stream ended; open another one.
        """
        call = self._decisions.Session(messages, metadata=self.metadata)
        try:
            for response in call:
                yield response.correlation_id, result_of(response)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()

    def screen(
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
        response = self._call(self._screening.Screen, request, self.timeout_seconds)
        return screened(response, [part.part_id for part in request.parts])

    def explain(self, decision_id: str, *, full: bool = False) -> decision_service_pb2.ExplainResponse:
        """Return why a stored decision came out as it did.

        Raises:
            AisecopsClientError: it cannot be told.
        """
        request = decision_service_pb2.ExplainRequest(decision_id=decision_id, full=full)
        return self._call(self._decisions.Explain, request, self.work_seconds)

    def trace(self, trace_id: str) -> audit_service_pb2.GetTraceResponse:
        """Return everything recorded under a trace id.

        Raises:
            AisecopsClientError: there is nothing, or it may not be read.
        """
        request = audit_service_pb2.GetTraceRequest(trace_id=trace_id)
        return self._call(self._audit.GetTrace, request, self.work_seconds)

    def traces(
        self, narrow: audit_service_pb2.TraceFilter | None = None, *, page_size: int = 0, page_token: str = ""
    ) -> audit_service_pb2.ListTracesResponse:
        """Return a page of traces, newest first.

        Raises:
            AisecopsClientError: they cannot be read.
        """
        request = audit_service_pb2.ListTracesRequest(page_size=page_size, page_token=page_token, filter=narrow)
        return self._call(self._audit.ListTraces, request, self.work_seconds)

    def trace_facets(
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
        return self._call(self._audit.ListTraceFacets, request, self.work_seconds)

    def events(self, *, from_index: int = 0, follow: bool = False, trace_id: str = "") -> Generator[Event, None, None]:
        """Yield events in log order.

        Raises:
            AisecopsClientError: they cannot be read any further.
        """
        request = audit_service_pb2.StreamEventsRequest(from_index=from_index, follow=follow, trace_id=trace_id)
        call = self._audit.StreamEvents(request, metadata=self.metadata)
        try:
            for response in call:
                yield response.event
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            # Who stops reading early must not leave the stream open.
            call.cancel()

    def revisions(self, *, page_size: int = 0, page_token: str = "") -> bundle_service_pb2.ListRevisionsResponse:
        """Return a page of revisions, newest first.

        Raises:
            AisecopsClientError: they cannot be read.
        """
        request = bundle_service_pb2.ListRevisionsRequest(page_size=page_size, page_token=page_token)
        return self._call(self._bundles.ListRevisions, request, self.work_seconds)

    def revision(self, name: str) -> bundle_service_pb2.GetRevisionResponse:
        """Return one revision and its rules.

        Raises:
            AisecopsClientError: there is none of that name.
        """
        request = bundle_service_pb2.GetRevisionRequest(revision=name)
        return self._call(self._bundles.GetRevision, request, self.work_seconds)

    def bundle_status(self) -> bundle_pb2.BundleStatus:
        """Return what is live and what went wrong last.

        Raises:
            AisecopsClientError: it cannot be told.
        """
        request = bundle_service_pb2.GetStatusRequest()
        return self._call(self._bundles.GetStatus, request, self.work_seconds).status

    def activate(self, revision: str, *, reason: str = "") -> bundle_pb2.BundleStatus:
        """Make a revision live.

        Raises:
            AisecopsClientError: it was not; what was live before still is.
        """
        request = bundle_service_pb2.ActivateRequest(revision=revision, reason=reason)
        return self._call(self._bundles.Activate, request, self.work_seconds).status

    def rollback(self, *, reason: str = "") -> bundle_pb2.BundleStatus:
        """Make the previous revision live again.

        Raises:
            AisecopsClientError: there is none, or it cannot be made live.
        """
        request = bundle_service_pb2.RollbackRequest(reason=reason)
        return self._call(self._bundles.Rollback, request, self.work_seconds).status

    def sync(self) -> bundle_pb2.BundleStatus:
        """Have the policy repository read now.

        Raises:
            AisecopsClientError: it cannot be read.
        """
        request = bundle_service_pb2.SyncRequest()
        return self._call(self._bundles.Sync, request, self.work_seconds).status

    def redeem(self, request: execution_service_pb2.RedeemRequest) -> execution_service_pb2.RedeemResponse:
        """Use a grant up for the call that is about to be made.

        Raises:
            AisecopsClientError: the call may not be made.
        """
        return self._call(self._executions.Redeem, request, self.timeout_seconds)

    def complete(self, request: execution_service_pb2.CompleteRequest) -> execution_service_pb2.CompleteResponse:
        """Tell what came of a call that a grant allowed.

        Raises:
            AisecopsClientError: it is not on record.
        """
        return self._call(self._executions.Complete, request, self.timeout_seconds)

    def report_execution(
        self, request: execution_service_pb2.ReportExecutionRequest
    ) -> execution_service_pb2.ReportExecutionResponse:
        """Tell of a call that was seen, with or without a grant.

        Raises:
            AisecopsClientError: it is not on record.
        """
        return self._call(self._executions.ReportExecution, request, self.timeout_seconds)

    def grants(self, decision_id: str) -> execution_service_pb2.ListGrantsResponse:
        """Return what became of the grants of a decision.

        Raises:
            AisecopsClientError: it cannot be told.
        """
        request = execution_service_pb2.ListGrantsRequest(decision_id=decision_id)
        return self._call(self._executions.ListGrants, request, self.work_seconds)

    def revoke_grants(self, *, agent_id: str = "", decision_id: str = "", reason: str = "") -> int:
        """Let the unused grants of an agent or of a decision be used no more, and return how many it was.

        Raises:
            AisecopsClientError: nothing was revoked.
        """
        request = execution_service_pb2.RevokeGrantsRequest(agent_id=agent_id, decision_id=decision_id, reason=reason)
        return (self._call(self._executions.RevokeGrants, request, self.work_seconds)).revoked

    def grant_keys(self) -> bytes:
        """Return the public keys that verify grants, as a JWKS document.

        Raises:
            AisecopsClientError: they cannot be told.
        """
        request = execution_service_pb2.GetGrantKeysRequest()
        return (self._call(self._executions.GetGrantKeys, request, self.work_seconds)).jwks_json

    def grant_key_state(self) -> execution_service_pb2.GetGrantKeysResponse:
        """Return the public keys that verify grants, and why none are signed, where that is so.

        Raises:
            AisecopsClientError: they cannot be told.
        """
        request = execution_service_pb2.GetGrantKeysRequest()
        return self._call(self._executions.GetGrantKeys, request, self.work_seconds)

    def rotate_grant_key(self, *, reason: str, revoke: bool = False) -> execution_service_pb2.RotateGrantKeyResponse:
        """Have another key sign grants; with ``revoke`` refuse at once what any earlier key signed.

        Raises:
            AisecopsClientError: it was not rotated.
        """
        request = execution_service_pb2.RotateGrantKeyRequest(reason=reason, revoke=revoke)
        return self._call(self._executions.RotateGrantKey, request, self.work_seconds)

    def incidents(
        self, narrow: execution_service_pb2.ListIncidentsRequest | None = None
    ) -> execution_service_pb2.ListIncidentsResponse:
        """Return a page of runtime incidents, newest first.

        Raises:
            AisecopsClientError: they cannot be read.
        """
        request = narrow or execution_service_pb2.ListIncidentsRequest()
        return self._call(self._executions.ListIncidents, request, self.work_seconds)

    def follow_incidents(self, *, from_index: int = 0, follow: bool = True) -> Iterator[execution_service_pb2.Incident]:
        """Yield incidents in log order.

        Raises:
            AisecopsClientError: they cannot be read any further.
        """
        request = execution_service_pb2.StreamIncidentsRequest(from_index=from_index, follow=follow)
        call = self._executions.StreamIncidents(request, metadata=self.metadata)
        try:
            for response in call:
                yield response.incident
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            # Who stops reading early must not leave the stream open.
            call.cancel()

    def _call(self, method: Callable[..., _R], request: Any, seconds: float) -> _R:
        self._come_again.check(method)
        try:
            return method(request, metadata=self.metadata, timeout=seconds)
        except grpc.RpcError as error:
            found = from_rpc_error(error)
            self._come_again.heard(method, found)
            raise found from error
