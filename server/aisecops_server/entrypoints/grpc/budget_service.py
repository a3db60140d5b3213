"""BudgetService: reads and corrects the books.

Who may not read everything is told of their own budgets only, and cannot tell others' from none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aisecops.v1 import budget_pb2
from aisecops.v1 import budget_service_pb2 as api
from google.protobuf.timestamp_pb2 import Timestamp

from aisecops_server.domain.budgets.budget import Budget, BudgetFilter, BudgetState, Metric, Subject, Window
from aisecops_server.domain.budgets.reservation import Reservation
from aisecops_server.domain.callers.identity import Principal
from aisecops_server.domain.errors import InvalidRequestError, NotFoundError
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.entrypoints.grpc import access
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.decision_codec import timestamp
from aisecops_server.entrypoints.grpc.methods import read_message
from aisecops_server.entrypoints.grpc.paging import page_size
from aisecops_server.entrypoints.grpc.plan_codec import idempotency_key
from aisecops_server.ports import Clock
from aisecops_server.ports.budgets import BudgetLedger
from aisecops_server.usecases.budgets.adjust_budget import AdjustCommand
from aisecops_server.usecases.budgets.release_reservation import ReleaseCommand

_MAX_PAGE = 500
_MAX_REMARKS = 100
_MAX_NAME = 1024
_NS = 1_000_000_000
_FREEZES: Mapping[budget_pb2.Freeze.ValueType, bool | None] = {
    budget_pb2.FREEZE_UNSPECIFIED: None,
    budget_pb2.FREEZE_ON: True,
    budget_pb2.FREEZE_OFF: False,
}
_WORDS: Mapping[str, type[StrEnum]] = {"subject": Subject, "metric": Metric, "window": Window}


@dataclass(frozen=True, slots=True)
class BudgetUseCases:
    """What reads and corrects the books."""

    ledger: BudgetLedger
    clock: Clock
    adjust: Callable[[AdjustCommand], Awaitable[BudgetState]]
    release: Callable[[ReleaseCommand], Awaitable[Reservation]]


@dataclass(frozen=True, slots=True)
class BudgetService:
    """The handlers of ``aisecops.v1.BudgetService``."""

    budgets: BudgetUseCases

    async def list_budgets(self, request: bytes, caller: Caller) -> api.ListBudgetsResponse:
        """Answer ListBudgets."""
        asked = read_message(api.ListBudgetsRequest, request)
        for name, words in _WORDS.items():
            _require_word(name, getattr(asked, name), words)
        page = await self.budgets.ledger.budgets(
            BudgetFilter(
                subject=asked.subject,
                id=_short(asked.subject_id, "subject_id"),
                metric=asked.metric,
                window=asked.window,
                frozen=asked.frozen,
                only_of=_only_of(caller.principal),
            ),
            now_seconds=self._now,
            page_size=page_size(asked.page_size, at_most=_MAX_PAGE),
            page_token=_short(asked.page_token, "page_token"),
        )
        budgets = [self._budget(state) for state in page.states]
        return api.ListBudgetsResponse(budgets=budgets, next_page_token=page.next_token)

    async def budget(self, request: bytes, caller: Caller) -> api.GetBudgetResponse:
        """Answer GetBudget."""
        budget = _own(_name(read_message(api.GetBudgetRequest, request).name), caller.principal)
        state = await self.budgets.ledger.budget(budget, now_seconds=self._now)
        return api.GetBudgetResponse(budget=self._budget(state))

    async def history(self, request: bytes, caller: Caller) -> api.GetHistoryResponse:
        """Answer GetHistory."""
        asked = read_message(api.GetHistoryRequest, request)
        budget, ledger = _own(_name(asked.name), caller.principal), self.budgets.ledger
        state = await ledger.budget(budget, now_seconds=self._now)
        size = page_size(asked.page_size, at_most=_MAX_PAGE)
        page = await ledger.periods(budget, page_size=size, page_token=_short(asked.page_token, "page_token"))
        remarks = [] if asked.page_token else await ledger.remarks(budget, limit=_MAX_REMARKS)
        return api.GetHistoryResponse(
            budget=self._budget(state),
            periods=[_period(found) for found in page.periods],
            next_page_token=page.next_token,
            remarks=[_remark(remark) for remark in remarks],
        )

    async def adjust(self, request: bytes, caller: Caller) -> api.AdjustBudgetResponse:
        """Answer AdjustBudget."""
        asked = read_message(api.AdjustBudgetRequest, request)
        if asked.freeze not in _FREEZES:
            raise InvalidRequestError("freeze: has a value that this version does not know", field="freeze")
        state = await self.budgets.adjust(
            AdjustCommand(
                principal_id=caller.principal.id,
                budget=_name(asked.name),
                by=asked.by,
                frozen=_FREEZES[asked.freeze],
                reason=asked.reason,
                idempotency_key=idempotency_key(asked.idempotency_key),
            )
        )
        return api.AdjustBudgetResponse(budget=self._budget(state))

    async def release(self, request: bytes, caller: Caller) -> api.ReleaseReservationResponse:
        """Answer ReleaseReservation."""
        asked = read_message(api.ReleaseReservationRequest, request)
        reservation = await self.budgets.release(
            ReleaseCommand(
                caller.principal.id, _short(asked.decision_id, "decision_id"), tuple(asked.step_ids), asked.reason
            )
        )
        return api.ReleaseReservationResponse(state=reservation.state.value, open_step_ids=list(reservation.open_steps))

    @property
    def _now(self) -> int:
        return self.budgets.clock.now_ns() // _NS

    def _budget(self, state: BudgetState) -> budget_pb2.Budget:
        budget, counter = state.budget, state.counter
        return budget_pb2.Budget(
            name=budget.key,
            subject=budget.subject.value,
            subject_id=budget.id,
            metric=budget.metric.value,
            window=budget.window.value,
            limit=state.limit,
            used=counter.used,
            reserved=counter.reserved,
            overrun=counter.overrun,
            remaining=state.remaining,
            frozen=state.frozen,
            period_started_at=_moment(state.period),
            resets_at=_moment(state.resets_at),
            exhausted_at=_moment(state.exhausted_at(self._now)),
        )


def _only_of(principal: Principal) -> str:
    return "" if access.reads_everything(principal) else principal.id


def _own(budget: Budget, principal: Principal) -> Budget:
    if not BudgetFilter(only_of=_only_of(principal)).includes(budget):
        raise NotFoundError(f"nobody used the budget {budget.key}", id=budget.key)
    return budget


def _name(text: str) -> Budget:
    return Budget.named(_short(text, "name"))


def _short(text: str, field: str) -> str:
    if len(text) > _MAX_NAME:
        raise InvalidRequestError(f"{field}: too long", field=field)
    return text


def _require_word(field: str, text: str, words: type[StrEnum]) -> None:
    if text and text not in tuple(words):
        raise InvalidRequestError(f"{field}: must be one of {', '.join(words)}", field=field)


def _period(state: BudgetState) -> budget_pb2.BudgetPeriod:
    counter = state.counter
    return budget_pb2.BudgetPeriod(
        started_at=_moment(state.period), used=counter.used, reserved=counter.reserved, overrun=counter.overrun
    )


def _remark(stored: StoredEvent) -> budget_pb2.BudgetRemark:
    event = stored.event
    details: Mapping[str, Any] = event.details()
    frozen = details["frozen"]
    return budget_pb2.BudgetRemark(
        type=event.type,
        event_id=event.id,
        occurred_at=timestamp(event.occurred_at_ns),
        principal=details.get("principal", ""),
        reason=details.get("reason", ""),
        by=details.get("by", 0),
        freeze=next(freeze for freeze, value in _FREEZES.items() if value == frozen),
        decision_id=event.decision_id,
        step_id=details.get("step", ""),
        reserved=details.get("reserved", 0),
        actual=details.get("actual", 0),
    )


def _moment(seconds: int) -> Timestamp | None:
    return Timestamp(seconds=seconds) if seconds else None
