"""DecisionService: reads plans strictly, hands them to the use cases, and writes their answers.

Ordering rules: admission before parsing, parsing before deciding, a refused plan is recorded before its error
is returned. Sources, steps and earlier calls that a stream remembers live in ``session``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from aisecops.v1 import decision_service_pb2 as api

from aisecops_server.domain.callers.identity import Principal
from aisecops_server.domain.decisions.decision import Mode
from aisecops_server.domain.errors import AisecopsError, InvalidRequestError
from aisecops_server.domain.formats.identifiers import is_identifier, is_trace_id
from aisecops_server.domain.plans.plan_builder import Fresh, PlanDraft, build_plan
from aisecops_server.entrypoints.grpc import access, status
from aisecops_server.entrypoints.grpc.admission import Admission, WorkQueue
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.decision_codec import SignReceipt, decide_response, explain_response
from aisecops_server.entrypoints.grpc.execution_codec import grant_message, redemption_key
from aisecops_server.entrypoints.grpc.methods import Gate, read_message
from aisecops_server.entrypoints.grpc.plan_codec import draft_of, idempotency_key, request_digest
from aisecops_server.entrypoints.grpc.session import SessionMemory
from aisecops_server.entrypoints.grpc.wire import occurrences
from aisecops_server.ports import Ids
from aisecops_server.ports.log_trace import begin_trace
from aisecops_server.usecases.decisions.decide import Decide, DecideCommand, Decided
from aisecops_server.usecases.decisions.explain import Explain
from aisecops_server.usecases.decisions.turns import Turns
from aisecops_server.usecases.grants.issue_grants import SignedGrant

MAX_BATCH_ITEMS = 1000
# A batch shares its fixed costs, so sixteen of its plans weigh what one alone does.
_ITEMS_PER_WEIGHT = 16
# Large plans weigh more: what it takes to read one grows with its size.
_BYTES_PER_WEIGHT = 64 * 1024
# What all streams together may remember; one caller gets at most half.
SESSION_KIBIBYTES = 256 * 1024
# Another revision may have to be built and started first.
_REVISION_WEIGHT = 16
# Full explanations are some fifty times the work of a decision.
_FULL_WEIGHT = 16
# Reading plans holds the event loop; others get a turn after so many.
_ITEMS_PER_TURN = 16
_ITEMS_FIELD = api.DecideBatchRequest.ITEMS_FIELD_NUMBER
_REVISION_FIELD = api.DryRunRequest.REVISION_FIELD_NUMBER
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class DecisionService:
    """The handlers of ``aisecops.v1.DecisionService``."""

    decide: Decide
    explain: Explain
    ids: Ids
    work: WorkQueue
    gate: Gate
    hand_out: Callable[[Decided, Principal], Awaitable[tuple[SignedGrant, ...]]]
    sign: SignReceipt
    room: Admission = field(default_factory=lambda: session_room(SESSION_KIBIBYTES))

    async def decide_one(self, request: bytes, caller: Caller) -> api.DecideResponse:
        """Answer Decide."""
        async with self.work.turn(caller.principal, weight=_weight(len(request)), seconds=caller.seconds):
            asked = await self._recorded(caller, lambda: read_message(api.DecideRequest, request))
            command = await self._recorded(
                caller,
                lambda: self._command(asked, request, caller=caller, mode=Mode.ENFORCE),
                trace_id=asked.plan.trace_id,
            )
            return await self._response(await self.decide(command), caller)

    async def decide_batch(self, request: bytes, caller: Caller) -> api.DecideBatchResponse:
        """Answer DecideBatch."""
        weight = _weight(len(request)) + occurrences(request, _ITEMS_FIELD) // _ITEMS_PER_WEIGHT
        async with self.work.turn(caller.principal, weight=weight, seconds=caller.seconds):
            batch = await self._recorded(caller, lambda: _batch(request))
            results = await self._decide_items(batch.items, caller)
            answer, turns = api.DecideBatchResponse(), Turns()
            for item, result in zip(batch.items, results, strict=True):
                answer.results.append(await self._batch_result(item.correlation_id, result, caller))
                await turns.after(answer.results[-1].ByteSize())
        return answer

    async def dry_run(self, request: bytes, caller: Caller) -> api.DryRunResponse:
        """Answer DryRun."""
        weight = _weight(len(request)) + (_REVISION_WEIGHT if occurrences(request, _REVISION_FIELD) else 0)
        async with self.work.turn(caller.principal, weight=weight, seconds=caller.seconds):
            asked = await self._recorded(caller, lambda: read_message(api.DryRunRequest, request))
            command = await self._recorded(
                caller, lambda: self._dry_command(asked, caller), trace_id=asked.request.plan.trace_id
            )
            answer = decide_response(await self.decide(command), self.sign)
        return api.DryRunResponse(decision=answer.decision, receipt=answer.receipt)

    async def explain_one(self, request: bytes, caller: Caller) -> api.ExplainResponse:
        """Answer Explain; who may not read everything reads only their own decisions."""
        asked = read_message(api.ExplainRequest, request)
        if not asked.decision_id:
            raise InvalidRequestError("decision_id: is not set", field="decision_id")
        asker = None if access.reads_everything(caller.principal) else caller.principal.id
        weight = _FULL_WEIGHT if asked.full else 1
        async with self.work.turn(caller.principal, weight=weight, seconds=caller.seconds):
            explanation = await self.explain(asked.decision_id, full=asked.full, only_of=asker)
        return explain_response(explanation)

    async def session(self, requests: AsyncIterator[bytes], caller: Caller) -> AsyncIterator[api.SessionResponse]:
        """Answer Session: one answer for each message, in their order."""
        with SessionMemory() as memory:
            async for data in requests:
                # A stream may outlive the credential that opened it.
                self.gate.still(caller)
                request = await self._recorded(caller, partial(read_message, api.SessionRequest, data))
                try:
                    async with asyncio.timeout(caller.seconds):
                        response = await self._session_step(request, caller, memory)
                    yield api.SessionResponse(correlation_id=request.correlation_id, response=response)
                except Exception as error:  # noqa: BLE001 - one message fails, the stream goes on
                    failure = _item_error(status.as_known(error))
                    yield api.SessionResponse(correlation_id=request.correlation_id, error=failure)

    async def _session_step(
        self, request: api.SessionRequest, caller: Caller, memory: SessionMemory
    ) -> api.DecideResponse:
        size = request.ByteSize()
        # What the stream remembers is read again for every message.
        weight = _weight(size + memory.size)
        async with self.work.turn(caller.principal, weight=weight, seconds=caller.seconds):
            return await self._session_turn(request, caller, memory, size=size)

    async def _session_turn(
        self, request: api.SessionRequest, caller: Caller, memory: SessionMemory, *, size: int
    ) -> api.DecideResponse:
        with ExitStack() as room:
            room.enter_context(self.room.admit(caller.principal, weight=1 + size // 1024))
            merged, command = await self._recorded(
                caller, lambda: self._session_command(request, caller, memory), trace_id=request.plan.trace_id
            )
            decided = await self.decide(command)
            memory.remember(merged, command.plan, decided)
            memory.room.push(room.pop_all())
            return await self._response(decided, caller)

    def _session_command(
        self, request: api.SessionRequest, caller: Caller, memory: SessionMemory
    ) -> tuple[PlanDraft, DecideCommand]:
        merged = memory.merged(draft_of(request)).under(caller.parent)
        return merged, DecideCommand(
            principal=caller.principal,
            plan=memory.plan(merged, self._fresh()),
            mode=Mode.ENFORCE,
            idempotency_key=idempotency_key(request.idempotency_key),
            request_digest=_session_digest(request, memory),
            approval_id=_approval_id(request.approval_id),
        )

    async def _decide_items(
        self, items: Sequence[api.DecideBatchItem], caller: Caller
    ) -> list[Decided | AisecopsError]:
        read = [await self._item_command(item, at, caller) for at, item in enumerate(items)]
        commands = [command for command in read if isinstance(command, DecideCommand)]
        decided = iter(await self.decide.batch(commands) if commands else [])
        return [next(decided) if isinstance(command, DecideCommand) else command for command in read]

    async def _item_command(self, item: api.DecideBatchItem, at: int, caller: Caller) -> DecideCommand | AisecopsError:
        if at % _ITEMS_PER_TURN == 0:
            await asyncio.sleep(0)
        mode = Mode.DRY_RUN if item.dry_run else Mode.ENFORCE
        data = item.request.SerializeToString(deterministic=True)
        try:
            return await self._recorded(
                caller,
                lambda: self._command(item.request, data, caller=caller, mode=mode),
                trace_id=item.request.plan.trace_id,
            )
        except AisecopsError as error:
            return error

    async def _response(self, decided: Decided, caller: Caller) -> api.DecideResponse:
        grants = await self.hand_out(decided, caller.principal)
        return decide_response(decided, self.sign, [grant_message(signed) for signed in grants])

    async def _batch_result(
        self, correlation_id: str, result: Decided | AisecopsError, caller: Caller
    ) -> api.DecideBatchResult:
        try:
            if isinstance(result, AisecopsError):
                raise result
            response = await self._response(result, caller)
        except AisecopsError as error:
            return api.DecideBatchResult(correlation_id=correlation_id, error=_item_error(error))
        return api.DecideBatchResult(correlation_id=correlation_id, response=response)

    def _dry_command(self, asked: api.DryRunRequest, caller: Caller) -> DecideCommand:
        inner = asked.request.SerializeToString(deterministic=True)
        return self._command(asked.request, inner, caller=caller, mode=Mode.DRY_RUN, revision=asked.revision)

    def _command(
        self, request: api.DecideRequest, data: bytes, *, caller: Caller, mode: Mode, revision: str = ""
    ) -> DecideCommand:
        return DecideCommand(
            principal=caller.principal,
            plan=build_plan(draft_of(request).under(caller.parent), self._fresh()),
            mode=mode,
            idempotency_key=idempotency_key(request.idempotency_key),
            request_digest=request_digest(mode, revision, data),
            revision=revision,
            approval_id=_approval_id(request.approval_id),
            redemption_key=redemption_key(request.redemption_key) if request.redemption_key else "",
        )

    def _fresh(self) -> Fresh:
        return Fresh(self.ids.trace_id(), self.ids.plan_id())

    async def _recorded(self, caller: Caller, read: Callable[[], _T], *, trace_id: str = "") -> _T:
        """Return what ``read`` gives; a request that it refuses is on the record before the error leaves."""
        begin_trace(_trace_id(trace_id))
        try:
            return read()
        except InvalidRequestError as error:
            await self.decide.refuse(caller.principal, error, trace_id=_trace_id(trace_id))
            raise


def session_room(kibibytes: int) -> Admission:
    """Return the room for what streams remember."""
    return Admission(
        kibibytes,
        full="the sources that open sessions remember take too much room",
        hint="End the sessions that are done; a new one needs only what its next plan was influenced by",
    )


def _weight(size: int) -> int:
    return 1 + size // _BYTES_PER_WEIGHT


def _batch(data: bytes) -> api.DecideBatchRequest:
    batch = read_message(api.DecideBatchRequest, data)
    if not 1 <= len(batch.items) <= MAX_BATCH_ITEMS:
        raise InvalidRequestError(f"items: {len(batch.items)} given, 1 to {MAX_BATCH_ITEMS} are allowed", field="items")
    if len({item.correlation_id for item in batch.items}) != len(batch.items):
        raise InvalidRequestError("items: correlation ids are not unique", field="items")
    return batch


def _item_error(error: AisecopsError) -> api.ItemError:
    return api.ItemError(
        code=status.numeric_code(error),
        reason=error.reason,
        message=status.shown_message(error),
        field=error.metadata().get("field", ""),
    )


def _session_digest(request: api.SessionRequest, memory: SessionMemory) -> str:
    # Digesting everything that the stream remembers is worth it only where a retry may need it.
    if not request.idempotency_key:
        return ""
    same = api.SessionRequest()
    same.CopyFrom(request)
    same.ClearField("correlation_id")
    return request_digest(Mode.ENFORCE, "", memory.digest(), same.SerializeToString(deterministic=True))


def _trace_id(text: str) -> str:
    return text if is_trace_id(text) else ""


def _approval_id(text: str) -> str:
    if text and not is_identifier(text):
        raise InvalidRequestError("approval_id: not an approval id", field="approval_id")
    return text
