"""What happens to budgets, as changes of state, and the events that tell of them.

Each event carries all of its change, so that the books can be written anew from the log: ``change_of`` reads back what
``details_of`` wrote. Times are in the changes, because a store has no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from aisecops_server.domain.budgets.budget import Budget
from aisecops_server.domain.budgets.reservation import Ending, Portion, Reservation, Settled, StepSettlement
from aisecops_server.domain.errors import InvalidPlanError, InvalidRequestError
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.events.event import Event, EventId, Stage, control_event, make_event
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.formats.json_fields import JsonFields

KIND = "budget"
RESERVED = "budget.reserved"
ADJUSTED = "budget.adjusted"
OVERRUN = "budget.overrun"
_ENDED = {
    Ending.SETTLED: "budget.settled",
    Ending.VOID: "budget.voided",
    Ending.EXPIRED: "budget.expired",
    Ending.LATE: "budget.settled_late",
}


@dataclass(frozen=True, slots=True)
class Reserve(Change):
    """Take every portion of ``reservation``, or none: when one does not fit, somebody was faster."""

    kind: ClassVar[str] = KIND
    reservation: Reservation


@dataclass(frozen=True, slots=True)
class Settle(Change):
    """End steps of a reservation that are still open; all ``steps`` end in the same way.

    ``principal`` and ``reason`` are set where a person ends them.
    """

    kind: ClassVar[str] = KIND
    decision_id: str
    steps: tuple[StepSettlement, ...]
    principal: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Adjust(Change):
    """Raise or lower what was used in a period, and freeze or unfreeze the budget, as a person says.

    ``frozen`` is ``None`` to leave that as it is. The same ``request_id`` adjusts once.
    """

    kind: ClassVar[str] = KIND
    request_id: str
    budget: Budget
    period: int
    by: int
    frozen: bool | None
    principal: str
    reason: str


BudgetChange = Reserve | Settle | Adjust


def reserved_event(change: Reserve, *, id: EventId, now_ns: int) -> Event:
    """Return the event that tells of a reservation."""
    return _event(change, RESERVED, change.reservation, id=id, now_ns=now_ns)


def settled_events(
    change: Settle, reservation: Reservation, *, next_id: Callable[[], EventId], now_ns: int
) -> tuple[Event, ...]:
    """Return the events that tell how steps ended: one for all of them, and one for each budget that was overrun."""
    told = _event(change, _ENDED[change.steps[0].ending], reservation, id=next_id(), now_ns=now_ns)
    overruns = [
        make_event(
            id=next_id(),
            trace_id=reservation.trace_id,
            plan_id=reservation.plan_id,
            decision_id=reservation.decision_id,
            stage=Stage.BUDGET,
            type=OVERRUN,
            occurred_at_ns=now_ns,
            details={"step": step.step_id, **_settled_details(settled), "frozen": True},
        )
        for step in change.steps
        for settled in step.amounts
        if settled.breaks_estimate
    ]
    return (told, *overruns)


def adjusted_event(change: Adjust, *, id: EventId, now_ns: int) -> Event:
    """Return the event that tells of an adjustment."""
    return control_event(ADJUSTED, details_of(change), id=id, now_ns=now_ns, stage=Stage.BUDGET)


def details_of(change: BudgetChange) -> dict[str, JsonValue]:
    """Return all of a change."""
    match change:
        case Reserve():
            return _reserve_details(change.reservation)
        case Settle():
            return {
                "decision": change.decision_id,
                "principal": change.principal,
                "reason": change.reason,
                "steps": [
                    {
                        "step": step.step_id,
                        "ending": step.ending.value,
                        "amounts": [_settled_details(settled) for settled in step.amounts],
                    }
                    for step in change.steps
                ],
            }
        case Adjust():
            return {
                "request": change.request_id,
                "budget": change.budget.key,
                "period": change.period,
                "by": change.by,
                "frozen": change.frozen,
                "principal": change.principal,
                "reason": change.reason,
            }


def change_of(type: str, details: Mapping[str, JsonValue]) -> BudgetChange | None:
    """Return the change that an event of ``type`` tells of; ``None`` when it tells of none.

    Raises:
        ValueError: it should tell of one and does not.
    """
    fields = JsonFields(details, type)
    try:
        if type == RESERVED:
            return Reserve(_reservation(fields))
        if type in _ENDED.values():
            steps = tuple(map(_step, fields.objects("steps")))
            return Settle(fields.text("decision"), steps, fields.text("principal"), fields.text("reason"))
        if type == ADJUSTED:
            return _adjust(fields)
    except (InvalidPlanError, InvalidRequestError) as error:
        raise ValueError(error.message) from error
    return None


def _event(change: Reserve | Settle, type: str, reservation: Reservation, *, id: EventId, now_ns: int) -> Event:
    return make_event(
        id=id,
        trace_id=reservation.trace_id,
        plan_id=reservation.plan_id,
        decision_id=reservation.decision_id,
        stage=Stage.BUDGET,
        type=type,
        occurred_at_ns=now_ns,
        details=details_of(change),
    )


def _reserve_details(reservation: Reservation) -> dict[str, JsonValue]:
    return {
        "decision": reservation.decision_id,
        "trace": reservation.trace_id,
        "plan": reservation.plan_id,
        "expires_at_seconds": reservation.expires_at_seconds,
        "steps": list(reservation.step_ids),
        "charges": [
            {
                "budget": portion.budget.key,
                "period": portion.period,
                "limit": portion.limit,
                "spent": portion.spent,
                "steps": dict(portion.steps),
                "enforced": portion.enforced,
            }
            for portion in reservation.portions
        ],
    }


def _settled_details(settled: Settled) -> dict[str, JsonValue]:
    return {
        "budget": settled.budget.key,
        "period": settled.period,
        "limit": settled.limit,
        "reserved": settled.reserved,
        "actual": settled.actual,
    }


def _reservation(fields: JsonFields) -> Reservation:
    return Reservation(
        decision_id=fields.text("decision"),
        trace_id=fields.text("trace"),
        plan_id=fields.text("plan"),
        expires_at_seconds=fields.integer("expires_at_seconds"),
        step_ids=fields.texts("steps"),
        portions=tuple(
            Portion(
                budget=Budget.named(charge.text("budget")),
                period=charge.integer("period"),
                limit=charge.integer("limit"),
                spent=charge.integer("spent"),
                steps={step: charge.object("steps").integer(step) for step in charge.mapping("steps")},
                enforced=charge.boolean("enforced"),
            )
            for charge in fields.objects("charges")
        ),
    )


def _step(fields: JsonFields) -> StepSettlement:
    return StepSettlement(
        fields.text("step"),
        Ending(fields.text("ending")),
        tuple(
            Settled(
                Budget.named(amount.text("budget")),
                amount.integer("period"),
                amount.integer("limit"),
                amount.integer("reserved"),
                amount.integer("actual"),
            )
            for amount in fields.objects("amounts")
        ),
    )


def _adjust(fields: JsonFields) -> Adjust:
    return Adjust(
        request_id=fields.text("request"),
        budget=Budget.named(fields.text("budget")),
        period=fields.integer("period"),
        by=fields.integer("by"),
        frozen=None if fields.value("frozen") is None else fields.boolean("frozen"),
        principal=fields.text("principal"),
        reason=fields.text("reason"),
    )
