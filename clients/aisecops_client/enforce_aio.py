"""The deterministic executor for asyncio: the same steps as ``enforce``, waited for and not blocked on."""

from __future__ import annotations

import asyncio
import inspect
import json
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from aisecops.v1.execution_service_pb2 import CompleteRequest, CompleteResponse
from aisecops.v1.plan_pb2 import ExecutionPlan, Step

from aisecops_client.aio import AsyncClient
from aisecops_client.answers import Answer
from aisecops_client.approvals import GRANTED
from aisecops_client.enforce import GuardOf, running, step_of, veiled
from aisecops_client.guarded import Ask, AskPeople, Complete, Confirm, Decide, Meet, Pause, Redeem, Run, Steps, decided
from aisecops_client.plan import PlanBuilder

if TYPE_CHECKING:
    from aisecops_client.keeping import AsyncTelling

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass
class AsyncGuard(GuardOf[AsyncClient]):
    """Guards coroutine functions, and blocking ones, which run in a thread. Callbacks may be either."""

    pause: Callable[[float], Awaitable[Any]] = field(default=asyncio.sleep)
    _keeper: AsyncTelling | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Open the spool, where there is one; what is left in it is told from here on, or when there is an event loop.

        Raises:
            SpoolError: nothing can be kept in it.
            ValueError: nobody says whose it is.
        """
        if (root := self._spool_folder()) is not None:
            self._keep_in(root)

    async def __aenter__(self) -> Self:
        """Begin to tell what waits in the spool; return the guard itself."""
        if self._keeper is not None:
            self._keeper.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the spool."""
        await self.close()

    async def close(self) -> None:
        """Tell what can be told in a moment of what waits in the spool, and leave the rest to who opens it next."""
        if self._keeper is not None:
            await self._keeper.close()

    def tool(self, name: str, *, redeems: bool = True) -> Callable[[_F], Callable[..., Awaitable[Any]]]:
        """Return a decorator that lets a function run only by a grant for the tool ``name`` (`server/tool`).

        ``redeems`` is false where the tool's server uses the grant up itself.
        """

        def wrap(function: _F) -> Callable[..., Awaitable[Any]]:
            tool = self._register(name, function, redeems=redeems)

            async def guarded(*args: Any, **kwargs: Any) -> Any:
                return await self._drive(self._one_call(tool, args, kwargs))

            return veiled(guarded, function)

        return wrap

    async def plan(self, plan: PlanBuilder | ExecutionPlan) -> AsyncPlanRun:
        """Return a plan of several steps that may run, each by the function that is guarded as its tool.

        Raises:
            CallRefusedError: it may not.
            AisecopsClientError: there is no decision.
        """
        built = plan.build() if isinstance(plan, PlanBuilder) else plan
        answer = await self._drive(decided(built, self._rules()))
        return AsyncPlanRun(built, answer, lambda step: self._drive(self._plan_call(step, answer)))

    async def _drive(self, steps: Steps) -> Any:
        if self._keeper is not None:
            self._keeper.begin()
        try:
            ask = next(steps)
            while True:
                try:
                    given = await self._perform(ask)
                except BaseException as error:  # noqa: BLE001 - what is raised belongs to the steps, which raise it on
                    ask = steps.throw(error)
                else:
                    ask = steps.send(given)
        except StopIteration as ended:
            return ended.value

    async def _perform(self, ask: Ask) -> Any:
        given: Any = None
        match ask:
            case Decide():
                given = await self.client.decide(
                    ask.plan,
                    idempotency_key=ask.key,
                    approval_id=ask.approval_id,
                    redemption_key=ask.redemption_key,
                )
            case AskPeople():
                waited = await self.client.wait_for_approval(ask.answer, seconds=self.approval_seconds)
                given = waited.state == GRANTED
            case Confirm():
                given = self.confirm is not None and await _waited(self.confirm(ask.call, ask.parameters)) is True
            case Meet():
                given = await _waited(self.handlers[ask.duty.kind](ask.call, ask.duty))
            case Redeem():
                if self._keeper is not None:
                    # A call may have to wait until it is known that the one before it ended.
                    await self._keeper.catch_up()
                given = await self.client.redeem(ask.request)
            case Run():
                given = await self._run(ask)
            case Complete():
                # Who stops waiting for the call still lets it be told what came of it.
                given = await asyncio.shield(self._completed(ask.request))
            case Pause():
                given = await self.pause(ask.seconds)
        return given

    async def _completed(self, request: CompleteRequest) -> CompleteResponse:
        if self._keeper is None:
            return await self.client.complete(request)
        await self._keeper.told(request)
        return CompleteResponse()

    def _keep_in(self, root: Path) -> None:
        # What locks files is not there on every system, and not asked for where nothing is kept.
        from aisecops_client.keeping import AsyncTelling, whose_spool  # noqa: PLC0415

        client = self.client
        whose = whose_spool(client.address, client.tenant, client.token, self.agent_id)
        self._keeper = AsyncTelling(root, whose, client.complete, self.new_key)
        weakref.finalize(self, self._keeper.let_go)

    async def _run(self, ask: Run) -> Any:
        work, arguments = self._function(ask.call), json.loads(ask.call.arguments)
        with running(ask.call):
            if inspect.iscoroutinefunction(work):
                return await work(**arguments)
            return await asyncio.to_thread(work, **arguments)


@dataclass(frozen=True, slots=True)
class AsyncPlanRun:
    """A plan that may run."""

    plan: ExecutionPlan
    answer: Answer
    _make: Callable[[Step], Awaitable[Any]] = field(repr=False)

    async def call(self, step_id: str) -> Any:
        """Make one call of the plan, after those that it depends on, and return its result.

        Raises:
            CallRefusedError: it was not made.
            LookupError: the plan has no such step, or no function is guarded as its tool.
        """
        return await self._make(step_of(self.plan, step_id))

    async def run(self) -> dict[str, Any]:
        """Make every call in order, and return the results by step; the first refusal or failure ends it."""
        return {step.step_id: await self.call(step.step_id) for step in self.plan.steps}


async def _waited(given: Any) -> Any:
    return await given if inspect.isawaitable(given) else given
