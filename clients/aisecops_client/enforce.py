"""The deterministic executor: a function of yours runs exactly as it was granted, or not at all.

    guard = Guard(client, environment="production")

    @guard.tool("email/send")
    def send(to: str, subject: str, body: str) -> None: ...

    with guard.task("Answer ticket T-5519.") as task:
        task.source("user_prompt", "Tell Mara that her order is on its way.")
        send(to="mara@example.org", subject="Your order", body="It is on its way.")

Each call is decided, its grant is used up for exactly these arguments, the function runs with them, and what came of it
is told. Anything but a plain yes raises, and then the function did not run. The function itself is not handed out.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from aisecops.v1.execution_service_pb2 import CompleteRequest, CompleteResponse
from aisecops.v1.plan_pb2 import ExecutionPlan, Step

from aisecops_client.answers import Answer
from aisecops_client.approvals import GRANTED
from aisecops_client.client import Client
from aisecops_client.guarded import (
    Ask,
    AskPeople,
    Complete,
    Confirm,
    Decide,
    GrantedCall,
    Meet,
    Pause,
    ReadsGrants,
    Redeem,
    Rules,
    Run,
    Steps,
    decided,
    executed,
)
from aisecops_client.obligations import Duty
from aisecops_client.plan import PlanBuilder
from aisecops_client.task import Task

if TYPE_CHECKING:
    from aisecops_client.keeping import Telling

ATTEMPTS = 3
SPOOL_VARIABLE = "AISECOPS_SPOOL_DIR"
_KEY_BYTES = 16
_F = TypeVar("_F", bound=Callable[..., Any])
_C = TypeVar("_C")
_RUNNING: ContextVar[GrantedCall | None] = ContextVar("aisecops_running_call", default=None)

Confirmation = Callable[[GrantedCall, Mapping[str, Any]], Any]
Handler = Callable[[GrantedCall, Duty], Any]


def current_call() -> GrantedCall | None:
    """Return the call that a guarded function is running for, or ``None`` outside of one."""
    return _RUNNING.get()


def fresh_key(token_hex: Callable[[int], str] = secrets.token_hex) -> str:
    """Return a key of 32 hexadecimal digits that nobody had before."""
    return token_hex(_KEY_BYTES)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that runs only by a grant."""

    name: str
    function: Callable[..., Any] = field(repr=False)
    signature: inspect.Signature
    redeems: bool

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call by name, with defaults.

        Raises:
            TypeError: the function does not take them.
        """
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        named: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if self.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                named |= value
            else:
                named[name] = value
        return named


@dataclass
class GuardOf(Generic[_C]):
    """What both guards share. ``environment`` and ``session_id`` go into every plan.

    Where policy wants an approval, people are waited for ``approval_seconds``; with 0 such calls are refused at once.
    ``confirm`` is asked where policy obliges to ask; without it such calls are refused. ``handlers`` meet other kinds
    of obligations. ``keys`` verify grants on this side too (``aisecops_grant.verifier.GrantKeys``); without them the
    control plane alone does, when a grant is redeemed.

    In the folder ``spool``, else that of ``AISECOPS_SPOOL_DIR``, what came of a call is on disk before its result is
    handed on, and is told until the control plane has taken it, by this process or the next one of the same agent;
    without one, and with an empty word, it is told a few times. Whose it is, the client's token says, or ``agent_id``.
    """

    client: _C
    environment: str = ""
    session_id: str = ""
    confirm: Confirmation | None = None
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    keys: ReadsGrants | None = None
    attempts: int = ATTEMPTS
    approval_seconds: float = 0.0
    clock: Callable[[], float] = time.time
    stopwatch: Callable[[], float] = time.monotonic
    new_key: Callable[[], str] = fresh_key
    spool: str | Path | None = None
    agent_id: str = ""
    _tools: dict[str, Tool] = field(default_factory=dict, init=False, repr=False)
    _task: ContextVar[Task | None] = field(
        default_factory=lambda: ContextVar("aisecops_task", default=None), init=False, repr=False
    )

    def _spool_folder(self) -> Path | None:
        root = os.environ.get(SPOOL_VARIABLE, "") if self.spool is None else self.spool
        return Path(root).absolute() if str(root) else None

    @contextlib.contextmanager
    def task(self, intent: str, *, trace_id: str = "", parent_trace_id: str = "") -> Iterator[Task]:
        """Make the calls of this block one task: what one of them returns has influenced those after it."""
        plan = PlanBuilder(
            intent=intent,
            environment=self.environment,
            trace_id=trace_id,
            session_id=self.session_id,
            parent_trace_id=parent_trace_id,
        )
        task = Task(plan)
        token = self._task.set(task)
        try:
            yield task
        finally:
            self._task.reset(token)

    def _register(self, name: str, function: Callable[..., Any], *, redeems: bool) -> Tool:
        signature = inspect.signature(function)
        for parameter in signature.parameters.values():
            if parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL):
                raise TypeError(f"{name}: a guarded function takes its arguments by name, and {parameter} has none")
        if name in self._tools:
            raise ValueError(f"{name} is guarded already")
        tool = self._tools[name] = Tool(name, function, signature, redeems)
        return tool

    def _rules(self) -> Rules:
        return Rules(
            attempts=self.attempts,
            asks_people=self.approval_seconds > 0,
            handled=frozenset(self.handlers),
            keys=self.keys,
            new_key=self.new_key,
            clock=self.clock,
            stopwatch=self.stopwatch,
        )

    def _one_call(self, tool: Tool, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Steps:
        task = self._task.get() or Task(PlanBuilder(environment=self.environment, session_id=self.session_id))
        plan, step = task.proposal(tool.name, tool.arguments(args, kwargs))
        rules = self._rules()
        answer: Answer = yield from decided(plan, rules, at_once=tool.redeems)
        task.joined(answer)
        result, call = yield from executed(step, answer, rules, redeems=tool.redeems)
        task.ran(step, result, call.duties)
        return result

    def _plan_call(self, step: Step, answer: Answer) -> Steps:
        tool = self._tool(step.tool)
        result, _ = yield from executed(step, answer, self._rules(), redeems=tool.redeems)
        return result

    def _tool(self, name: str) -> Tool:
        if name not in self._tools:
            raise LookupError(f"no function is guarded as {name}")
        return self._tools[name]

    def _function(self, call: GrantedCall) -> Callable[..., Any]:
        return self._tool(call.tool).function


@dataclass
class Guard(GuardOf[Client]):
    """Guards functions that block."""

    pause: Callable[[float], Any] = field(default_factory=lambda: threading.Event().wait)
    _keeper: Telling | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Open the spool, where there is one.

        Raises:
            SpoolError: nothing can be kept in it.
            ValueError: nobody says whose it is.
        """
        if (root := self._spool_folder()) is not None:
            self._keep_in(root)

    def __enter__(self) -> Self:
        """Return the guard itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the spool."""
        self.close()

    def close(self) -> None:
        """Tell what can be told in a moment of what waits in the spool, and leave the rest to who opens it next."""
        if self._keeper is not None:
            self._keeper.close()

    def tool(self, name: str, *, redeems: bool = True) -> Callable[[_F], _F]:
        """Return a decorator that lets a function run only by a grant for the tool ``name`` (`server/tool`).

        ``redeems`` is false where the tool's server uses the grant up itself.
        """

        def wrap(function: _F) -> _F:
            if inspect.iscoroutinefunction(function):
                raise TypeError(f"{name} is a coroutine function; guard it with AsyncGuard")
            tool = self._register(name, function, redeems=redeems)

            def guarded(*args: Any, **kwargs: Any) -> Any:
                return self._drive(self._one_call(tool, args, kwargs))

            return veiled(guarded, function)

        return wrap

    def plan(self, plan: PlanBuilder | ExecutionPlan) -> PlanRun:
        """Return a plan of several steps that may run, each by the function that is guarded as its tool.

        Raises:
            CallRefusedError: it may not.
            AisecopsClientError: there is no decision.
        """
        built = plan.build() if isinstance(plan, PlanBuilder) else plan
        answer = self._drive(decided(built, self._rules()))
        return PlanRun(built, answer, lambda step: self._drive(self._plan_call(step, answer)))

    def _drive(self, steps: Steps) -> Any:
        try:
            ask = next(steps)
            while True:
                try:
                    given = self._perform(ask)
                except BaseException as error:  # noqa: BLE001 - what is raised belongs to the steps, which raise it on
                    ask = steps.throw(error)
                else:
                    ask = steps.send(given)
        except StopIteration as ended:
            return ended.value

    def _perform(self, ask: Ask) -> Any:
        given: Any = None
        match ask:
            case Decide():
                given = self.client.decide(
                    ask.plan,
                    idempotency_key=ask.key,
                    approval_id=ask.approval_id,
                    redemption_key=ask.redemption_key,
                )
            case AskPeople():
                waited = self.client.wait_for_approval(ask.answer, seconds=self.approval_seconds)
                given = waited.state == GRANTED
            case Confirm():
                given = self.confirm is not None and self.confirm(ask.call, ask.parameters) is True
            case Meet():
                given = self.handlers[ask.duty.kind](ask.call, ask.duty)
            case Redeem():
                if self._keeper is not None:
                    # A call may have to wait until it is known that the one before it ended.
                    self._keeper.catch_up()
                given = self.client.redeem(ask.request)
            case Run():
                with running(ask.call):
                    given = self._function(ask.call)(**json.loads(ask.call.arguments))
            case Complete():
                given = self._completed(ask.request)
            case Pause():
                given = self.pause(ask.seconds)
        return given

    def _completed(self, request: CompleteRequest) -> CompleteResponse:
        if self._keeper is None:
            return self.client.complete(request)
        self._keeper.told(request)
        return CompleteResponse()

    def _keep_in(self, root: Path) -> None:
        # What locks files is not there on every system, and not asked for where nothing is kept.
        from aisecops_client.keeping import Telling, whose_spool  # noqa: PLC0415

        client = self.client
        whose = whose_spool(client.address, client.tenant, client.token, self.agent_id)
        self._keeper = Telling(root, whose, client.complete, self.new_key)
        weakref.finalize(self, self._keeper.close)


@dataclass(frozen=True, slots=True)
class PlanRun:
    """A plan that may run."""

    plan: ExecutionPlan
    answer: Answer
    _make: Callable[[Step], Any] = field(repr=False)

    def call(self, step_id: str) -> Any:
        """Make one call of the plan, after those that it depends on, and return its result.

        Raises:
            CallRefusedError: it was not made.
            LookupError: the plan has no such step, or no function is guarded as its tool.
        """
        return self._make(step_of(self.plan, step_id))

    def run(self) -> dict[str, Any]:
        """Make every call in order, and return the results by step; the first refusal or failure ends it."""
        return {step.step_id: self.call(step.step_id) for step in self.plan.steps}


def step_of(plan: ExecutionPlan, step_id: str) -> Step:
    """Return a step of a plan.

    Raises:
        LookupError: it has none of that name.
    """
    for step in plan.steps:
        if step.step_id == step_id:
            return step
    raise LookupError(f"the plan has no step {step_id}")


@contextlib.contextmanager
def running(call: GrantedCall) -> Iterator[None]:
    """Let a function ask which call it runs for."""
    token = _RUNNING.set(call)
    try:
        yield
    finally:
        _RUNNING.reset(token)


def veiled(guarded: Callable[..., Any], function: _F) -> _F:
    """Return ``guarded`` looking like ``function``, without a way to the function itself."""
    made: Any = functools.wraps(function)(guarded)
    del made.__wrapped__
    made.__signature__ = inspect.signature(function)
    return cast(_F, made)
