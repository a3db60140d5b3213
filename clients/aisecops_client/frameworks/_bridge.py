"""One pending call of a framework's tool: decided, and then run, refused or held until people have answered.

Frameworks differ in what a hook that raises does: several run the tool. So nothing here is left to them: an adapter
asks ``begin``, and without the permit that it returns it has no arguments to run anything with.

It blocks, and asyncio adapters have the same by ``a``-methods, in threads of the bridge: a bridge belongs to no event
loop, and what came of a call is told even when the loop that made it is gone.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from aisecops.v1 import approval_pb2, decision_pb2
from aisecops.v1.execution_service_pb2 import CompleteRequest, CompleteResponse
from aisecops.v1.plan_pb2 import ExecutionPlan, Step
from aisecops_grant.arguments import arguments_sha256, canonical_arguments

from aisecops_client.answers import Answer
from aisecops_client.enforce import Guard, fresh_key, running
from aisecops_client.errors import AisecopsClientError, ApprovalNotUsableError, RetryLaterError
from aisecops_client.frameworks._heard import Heard, free_step, identifier, tidy, write
from aisecops_client.frameworks._ledger import Entry, Ledger, State
from aisecops_client.guarded import Ask, Complete, GrantedCall, Rules, Run, Steps, decided, executed
from aisecops_client.obligations import REDACTED, Duty, result_under
from aisecops_client.plan import PlanBuilder
from aisecops_client.refusals import ApprovalRequiredError, NotApprovedError, ResultWithheldError

if TYPE_CHECKING:
    from aisecops_client.spool import Kept

_THREADS, _KEPT, _INTENT, _PAUSE_SECONDS = 32, 1024, 500, 0.5
_RESULT_KINDS = frozenset({"redact", "limit"})
_T = TypeVar("_T")
# What a refusal is answered with where the call shall be asked about once more.
AGAIN = object()
BlockingRun = Callable[[Mapping[str, Any]], Any]
AsyncRun = Callable[[Mapping[str, Any]], Awaitable[Any]]
Refused = Callable[[Exception], Any]
PassedOn = Callable[[Any, Sequence[Duty]], Any]
_logger = logging.getLogger(__name__)


def _pool(threads: int, name: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix=f"aisecops-{name}")


class ToolFailedError(Exception):
    """The tool ran and failed; ``result`` is what its framework made of that for the model."""

    def __init__(self, result: Any) -> None:
        super().__init__("the tool failed")
        self.result = result


def passed_on(result: Any, duties: Sequence[Duty]) -> Any:
    """Return what of a result may be passed on. Text that is a record is read as one; other text goes whole.

    Raises:
        ObligationUnmetError: the result is of a kind of which that cannot be said.
    """
    binding = [
        duty for duty in duties if duty.kind in _RESULT_KINDS and duty.parameters.get("of", "result") == "result"
    ]
    if not binding:
        return result
    if not isinstance(result, str):
        return result_under(result, binding)
    try:
        record = json.loads(result)
    except (ValueError, RecursionError):
        return REDACTED
    return (
        json.dumps(result_under(record, binding), ensure_ascii=False) if isinstance(record, dict | list) else REDACTED
    )


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call that a model asked for. ``name`` and ``call_id`` are the framework's, ``heard`` all that the model read.

    ``session`` is the conversation, where the framework has a name for it, and ``occasion`` the place in it to which
    the framework may come back; empty where it never does. Without a ``call_id`` a call is known by what it does.
    ``passed_on`` makes of a result what may be passed on under the obligations of the call.
    """

    name: str
    arguments: Mapping[str, Any]
    call_id: str
    heard: Sequence[Heard] = ()
    session: str = ""
    occasion: str = ""
    passed_on: PassedOn = passed_on


@dataclass(frozen=True, slots=True)
class Permit:
    """A call that is to be made now, with ``arguments`` and no others; or one that ran already, with its ``result``."""

    arguments: Mapping[str, Any]
    call: GrantedCall | None
    entry: Entry = field(repr=False)
    steps: Steps | None = field(default=None, repr=False)

    @property
    def result(self) -> Any:
        """Return what a call that ran already gave."""
        return self.entry.result


@dataclass
class Bridge(Guard):
    """Governs the tools of one agent in any framework.

    ``tools`` maps the framework's names to policy's (`server/tool`); any other tool is ``server``/its name.
    ``above`` governs the agent that hands work to this one, in the same session; it has to have its ``agent_id``.
    ``tells_later`` lets what came of a call be told while its result is on its way; ``settle`` waits for that.
    """

    tools: Mapping[str, str] = field(default_factory=dict)
    server: str = "agent"
    intent: str = ""
    above: Bridge | None = None
    tells_later: bool = False
    ledger: Ledger = field(default_factory=Ledger, repr=False)
    _traces: OrderedDict[str, str] = field(default_factory=OrderedDict, init=False, repr=False)
    _requests: OrderedDict[str, str] = field(default_factory=OrderedDict, init=False, repr=False)
    _otherwise: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    _session: str = field(default_factory=lambda: f"session-{fresh_key()}", init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _telling: set[Future[None]] = field(default_factory=set, init=False, repr=False)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: _pool(_THREADS, "ask"), init=False, repr=False)
    _teller: ThreadPoolExecutor = field(default_factory=lambda: _pool(1, "tell"), init=False, repr=False)

    def begin(self, pending: PendingCall) -> Permit:
        """Return the permit to make a call now. It must be ended with ``finish`` or ``failed``.

        Raises:
            ApprovalRequiredError: people have to approve it; asked again about the same call, it is known.
            CallRefusedError: it may not be made.
            AisecopsClientError: there is no decision.
            TypeError, ValueError: the arguments have no exact form.
        """
        plan, step = self.proposal(pending)
        entry = self.ledger.claim(_call_key(plan, step), pending.occasion)
        if entry.state is State.RAN:
            if isinstance(entry.result, ResultWithheldError):
                raise entry.result
            return Permit({}, None, entry)
        try:
            steps = self._steps(plan, step, entry, pending.passed_on)
            ask = self._pumped(steps, lambda: next(steps))
        except BaseException as error:
            self.ledger.released(entry)
            self.ledger.note(f"{plan.session_id}/{step.step_id}", refused=True)
            if isinstance(error, ApprovalRequiredError):
                self._requests.pop(pending.call_id, None)
                self._kept(self._requests, pending.call_id, error.approval_id)
            raise
        self.ledger.note(f"{plan.session_id}/{step.step_id}", refused=False)
        return Permit(json.loads(ask.call.arguments), ask.call, entry, steps)

    def finish(self, permit: Permit, result: Any) -> Any:
        """Return what of a call's result may be passed on, after telling that it was made.

        Raises:
            ResultWithheldError: that cannot be said, so nothing may.
        """
        steps = permit.steps
        if steps is None:
            return permit.result
        try:
            passed_on = self._ended(steps, lambda: steps.send(result))
        except Exception:  # noqa: BLE001 - whatever went wrong, nobody sees the result
            # It ran, so it must not run again, and nobody may see what it gave.
            withheld = ResultWithheldError()
            self.ledger.ran(permit.entry, withheld)
            raise withheld from None
        self.ledger.ran(permit.entry, passed_on)
        return passed_on

    def failed(self, permit: Permit, error: BaseException) -> None:
        """Tell that a call was made and failed."""
        steps = permit.steps
        if steps is None:
            return
        try:
            self._ended(steps, lambda: steps.throw(error))
        except BaseException as again:
            if again is not error:
                raise
        finally:
            self.ledger.failed(permit.entry)

    def ran_otherwise(self, permit: Permit, arguments: Mapping[str, Any], result: Any) -> Any:
        """Tell that a call was made with other arguments than were granted, which is an incident.

        Raises:
            ResultWithheldError: as ``finish`` does.
        """
        if permit.call is not None:
            self._otherwise[permit.call.grant_id] = arguments_sha256(arguments)
        return self.finish(permit, result)

    def call(self, pending: PendingCall, run: BlockingRun, refused: Refused) -> Any:
        """Make a call by ``run`` with the arguments that were granted, and return its result.

        Where it is not made, or nobody may see its result, ``refused`` gives what is returned instead; ``AGAIN`` from
        it asks once more. What ``run`` raises is raised.
        """
        permit: Permit | None = None
        while permit is None:
            try:
                permit = self.begin(pending)
            except Exception as error:  # noqa: BLE001 - whatever went wrong, the tool does not run
                told = refused(error)
                if told is not AGAIN:
                    return told
        if permit.call is None:
            return permit.result
        try:
            with running(permit.call):
                result = run(permit.arguments)
        except BaseException as error:
            self.failed(permit, error)
            if isinstance(error, ToolFailedError):
                return pending.passed_on(error.result, permit.call.duties)
            raise
        try:
            return self.finish(permit, result)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, nobody sees the result
            return refused(error)

    async def acall(self, pending: PendingCall, run: AsyncRun, refused: Refused, permit: Permit | None = None) -> Any:
        """Do as ``call`` does without blocking the event loop; ``permit`` is one that is there already."""
        while permit is None:
            try:
                permit = await self.abegin(pending)
            except Exception as error:  # noqa: BLE001 - whatever went wrong, the tool does not run
                told = refused(error)
                if told is not AGAIN:
                    return told
        if permit.call is None:
            return permit.result
        try:
            with running(permit.call):
                result = await run(permit.arguments)
        except BaseException as error:
            # Who stops waiting still lets it be told what came of the call.
            await asyncio.shield(self.apart(functools.partial(self.failed, permit, error)))
            if isinstance(error, ToolFailedError):
                return pending.passed_on(error.result, permit.call.duties)
            raise
        try:
            return await asyncio.shield(self.apart(functools.partial(self.finish, permit, result)))
        except Exception as error:  # noqa: BLE001 - whatever went wrong, nobody sees the result
            return refused(error)

    async def abegin(self, pending: PendingCall) -> Permit:
        """Return what ``begin`` does. Nobody runs a call for which nobody waits any more."""
        asked = self._threads.submit(self.begin, pending)
        try:
            return await asyncio.wrap_future(asked)
        except asyncio.CancelledError as gone:
            asked.add_done_callback(functools.partial(self._abandoned, error=gone))
            raise

    async def apart(self, work: Callable[[], _T]) -> _T:
        """Do something that blocks in a thread of the bridge."""
        return await asyncio.wrap_future(self._threads.submit(work))

    def links(self, session: str) -> tuple[tuple[str, str], ...]:
        """Return this agent and those above it, outermost first, each with its trace in a session.

        An agent that did nothing yet in the session has none, which policy takes for what it is: no authority.
        """
        own = (self.agent_id, self._traces.get(session, ""))
        return (*(self.above.links(session) if self.above is not None else ()), own)

    def request_of(self, call_id: str) -> str:
        """Return the request for approval about a call of the framework; empty where there is none."""
        return self._requests.get(call_id, "")

    def settle(self) -> None:
        """Return when what came of every call is told, or cannot be."""
        while waiting := list(self._telling):
            for telling in waiting:
                telling.exception()

    def tool_name(self, name: str) -> str:
        """Return policy's name of a tool; what has a server already is policy's."""
        return self.tools.get(name) or (name if "/" in name else f"{self.server}/{name}")

    def proposal(self, pending: PendingCall) -> tuple[ExecutionPlan, Step]:
        """Return the plan of one call with all that influenced it, and its step.

        Raises:
            TypeError, ValueError: the arguments are not JSON, or have no exact form.
        """
        session = identifier(pending.session or self.session_id or self._session)
        links = self.above.links(session) if self.above is not None else ()
        builder = PlanBuilder(
            intent=self.intent or _asked(pending.heard),
            environment=self.environment,
            trace_id=self._kept(self._traces, session, self.new_key()),
            session_id=session,
            parent_trace_id=links[-1][1] if links else "",
        )
        for agent_id, trace_id in links:
            builder.delegated_by(agent_id, trace_id)
        taken = write(
            builder,
            pending.heard,
            named=self._told_name,
            refused=lambda step: self.ledger.is_refused(f"{session}/{step}"),
        )
        plan = builder.build()
        tool, data = self.tool_name(pending.name), canonical_arguments(pending.arguments)
        call_id = pending.call_id or f"call-{hashlib.sha256(tool.encode() + data).hexdigest()[:24]}"
        return plan, plan.steps.add(step_id=free_step(call_id, taken), tool=tool, arguments_json=data)

    def _steps(self, plan: ExecutionPlan, step: Step, entry: Entry, shown: PassedOn) -> Steps:
        answer: Answer = yield from self._allowed(plan, entry)
        self.ledger.used(entry)
        result, _ = yield from executed(step, answer, replace(self._rules(), passed_on=shown), redeems=True)
        return result

    def _allowed(self, plan: ExecutionPlan, entry: Entry) -> Steps:
        asked = entry.approval_id
        try:
            return (yield from decided(plan, self._rules_for(entry), approval_id=self._approved(entry), at_once=True))
        except ApprovalRequiredError as error:
            if error.approval_id == asked:
                raise
            self.ledger.asks(entry, error.approval_id)
            if self.approval_seconds > 0:
                raise
        except ApprovalNotUsableError:
            self.ledger.asks(entry)
            raise
        # The same call may have been asked about before, by a process that is gone, and have been approved since.
        return (yield from decided(plan, self._rules_for(entry), approval_id=self._approved(entry), at_once=True))

    def _approved(self, entry: Entry) -> str:
        """Return the approval that people gave for a call by now; empty if they were not asked, or it has ended.

        Raises:
            ApprovalRequiredError: they have not answered yet.
            NotApprovedError: they said no.
        """
        if not entry.approval_id:
            return ""
        shown = self.client.approvals.show(entry.approval_id)
        state, approval_id = shown.approval.state, entry.approval_id
        if state == approval_pb2.APPROVAL_STATE_REQUESTED and self.approval_seconds > 0:
            state = self.client.approvals.wait(approval_id, seconds=self.approval_seconds).state
        if state == approval_pb2.APPROVAL_STATE_REQUESTED:
            raise ApprovalRequiredError(_waiting(shown.approval))
        if state in (approval_pb2.APPROVAL_STATE_GRANTED, approval_pb2.APPROVAL_STATE_CONSUMED):
            # Consumed by this very call, if its answer was lost; by anything else, it is refused.
            return approval_id
        self.ledger.asks(entry)
        if state == approval_pb2.APPROVAL_STATE_EXPIRED:
            return ""
        raise NotApprovedError(approval_id)

    def _rules_for(self, entry: Entry) -> Rules:
        # In the order in which they are taken: first that of redemption, then that of the decision.
        keys = itertools.chain((entry.redemption_key, entry.decide_key), iter(self.new_key, None))
        return replace(self._rules(), new_key=lambda: str(next(keys)))

    def _ended(self, steps: Steps, begin: Callable[[], Any]) -> Any:
        try:
            self._pumped(steps, begin)
        except StopIteration as ended:
            return ended.value
        raise AssertionError("a call is made once")

    def _pumped(self, steps: Steps, begin: Callable[[], Ask]) -> Run:
        """Do what the steps ask until they ask for the call to be made."""
        ask = begin()
        while not isinstance(ask, Run):
            try:
                given = self._perform(ask)
            except BaseException as error:  # noqa: BLE001 - what is raised belongs to the steps, which raise it on
                ask = steps.throw(error)
            else:
                ask = steps.send(given)
        return ask

    def _perform(self, ask: Ask) -> Any:
        if isinstance(ask, Complete) and ask.request.grant_id in self._otherwise:
            ask.request.report.arguments_sha256 = self._otherwise.pop(ask.request.grant_id)
        if isinstance(ask, Complete) and self.tells_later:
            # On disk before the result is handed on, where there is a place for it; told while it is on its way.
            kept = self._keeper.keep(ask.request) if self._keeper is not None else None
            telling = self._teller.submit(self._tell, ask.request, kept)
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)
            return CompleteResponse()
        return super()._perform(ask)

    def _tell(self, request: CompleteRequest, kept: Kept | None) -> None:
        if self._keeper is not None and kept is not None:
            self._keeper.tell(kept)
            return
        for attempt in range(1, self.attempts + 1):
            try:
                answer = self.client.complete(request)
            except AisecopsClientError as error:
                if not isinstance(error, RetryLaterError) or attempt == self.attempts:
                    _logger.warning("what came of the grant %s could not be told: %s", request.grant_id, error)
                    return
                self.pause(_PAUSE_SECONDS * attempt)
            else:
                for kind in answer.incidents:
                    _logger.warning("the call by grant %s is an incident: %s", request.grant_id, kind)
                return

    def _abandoned(self, asked: Future[Permit], *, error: BaseException) -> None:
        if not asked.cancelled() and asked.exception() is None:
            self.failed(asked.result(), error)

    def _kept(self, kept: OrderedDict[str, str], key: str, value: str) -> str:
        """Return what is kept under a key: what is there already, or else ``value``."""
        with self._lock:
            found = kept.setdefault(key, value)
            kept.move_to_end(key)
            while len(kept) > _KEPT:
                kept.popitem(last=False)
            return found

    def _told_name(self, name: str) -> str:
        server, _, tool = self.tool_name(name).partition("/")
        return f"{tidy(server)}/{tidy(tool)}"


def _call_key(plan: ExecutionPlan, step: Step) -> str:
    """Return what a call is known by: what an approval of it would be for, in its conversation."""
    parts = (plan.session_id, step.step_id, step.tool, hashlib.sha256(step.arguments_json).hexdigest())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _asked(heard: Sequence[Heard]) -> str:
    """Return the beginning of what a person asked last."""
    return next((item.content or "" for item in reversed(heard) if item.kind == "user_prompt"), "")[:_INTENT]


def _waiting(approval: approval_pb2.Approval) -> Answer:
    """Return the answer that a request for approval stands for."""
    decision = decision_pb2.Decision(
        decision_id=approval.decision_id,
        trace_id=approval.trace_id,
        outcome=decision_pb2.OUTCOME_REQUIRE_APPROVAL,
        explanation=approval.explanation,
    )
    return Answer(decision, decision_pb2.Receipt(), approval_id=approval.approval_id)
