"""One guarded call, step by step, without doing anything: who drives it asks, waits and calls, blocking or not.

Ordering rules: the arguments become bytes once, and only those bytes are digested and executed. Then: decision, duties,
people, redemption, and last the local comparison, which no answer of anybody can skip. How a call ended is always told.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aisecops.v1 import execution_service_pb2 as api
from aisecops.v1.grant_pb2 import Grant
from aisecops.v1.plan_pb2 import ExecutionPlan, Step
from aisecops_grant.arguments import canonical, canonical_arguments
from aisecops_grant.token import GrantClaims, GrantRefusedError

from aisecops_client.answers import Answer
from aisecops_client.approvals import in_trace
from aisecops_client.come_again import AT_MOST_SECONDS
from aisecops_client.errors import AisecopsClientError, RetryLaterError
from aisecops_client.obligations import CONFIRM, Duty, arguments_under, duties_of, result_under
from aisecops_client.refusals import (
    ApprovalRequiredError,
    CallDeniedError,
    ConfirmationDeclinedError,
    GrantNotUsableError,
    ObligationUnmetError,
)

_logger = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS = 0.1


class ReadsGrants(Protocol):
    """Knows the keys of the control plane, as ``aisecops_grant.verifier.GrantKeys`` does."""

    def read(self, token: str) -> GrantClaims:
        """Return what a token says, or raise ``GrantRefusedError``."""
        ...


@dataclass(slots=True)
class Spent:
    """What a call cost beside time, which is measured by itself."""

    tokens: int = 0
    micro_usd: int = 0


@dataclass(frozen=True, slots=True)
class GrantedCall:
    """A call that is about to be made, or under way.

    ``token`` is for tools that demand the grant. ``arguments`` are the bytes that were granted.
    """

    tool: str
    step_id: str
    grant_id: str
    token: str = field(repr=False)
    arguments: bytes = field(repr=False)
    arguments_sha256: str
    duties: tuple[Duty, ...] = ()
    spent: Spent = field(default_factory=Spent)

    def spend(self, *, tokens: int = 0, micro_usd: int = 0) -> None:
        """Add to what the call cost."""
        self.spent.tokens += tokens
        self.spent.micro_usd += micro_usd


@dataclass(frozen=True, slots=True)
class Decide:
    """Ask whether a plan may run; ``approval_id`` is the approval that people gave for exactly this one.

    ``redemption_key`` uses up what is called right away.
    """

    plan: ExecutionPlan
    key: str
    approval_id: str = ""
    redemption_key: str = ""


@dataclass(frozen=True, slots=True)
class AskPeople:
    """Wait until people have decided the request that an answer names; true when they approved it."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Confirm:
    """Ask a person whether the call may be made now."""

    call: GrantedCall
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Meet:
    """Hand an obligation to its handler."""

    call: GrantedCall
    duty: Duty


@dataclass(frozen=True, slots=True)
class Redeem:
    """Use a grant up."""

    request: api.RedeemRequest


@dataclass(frozen=True, slots=True)
class Run:
    """Make the call, with the arguments in its bytes."""

    call: GrantedCall


@dataclass(frozen=True, slots=True)
class Complete:
    """Tell what came of it."""

    request: api.CompleteRequest


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait a moment before the next attempt."""

    seconds: float


Ask = Decide | AskPeople | Confirm | Meet | Redeem | Run | Complete | Pause
Steps = Generator[Ask, Any, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """How calls are guarded. ``asks_people`` says that it is waited for approvals where policy wants them.

    ``passed_on`` makes of a result what may be passed on under the obligations of its call.
    """

    attempts: int
    asks_people: bool
    handled: frozenset[str]
    keys: ReadsGrants | None
    new_key: Callable[[], str]
    clock: Callable[[], float]
    stopwatch: Callable[[], float]
    passed_on: Callable[[Any, Sequence[Duty]], Any] = result_under


def decided(plan: ExecutionPlan, rules: Rules, *, approval_id: str = "", at_once: bool = False) -> Steps:
    """Return the answer that allows ``plan``; ``approval_id`` is the approval that people gave for exactly it.

    ``at_once`` when its one call is made right away.

    Raises:
        CallDeniedError: it is not allowed.
        AisecopsClientError: there is no decision.
    """
    used = rules.new_key() if at_once else ""
    answer: Answer = yield from _persistent(Decide(plan, rules.new_key(), approval_id, used), rules)
    if answer.waits_for_people and rules.asks_people and (yield AskPeople(answer)):
        used = rules.new_key() if at_once else ""
        again = Decide(in_trace(plan, answer), rules.new_key(), answer.approval_id, used)
        answer = yield from _persistent(again, rules)
    if answer.allowed:
        return answer
    raise (ApprovalRequiredError if answer.outcome == "REQUIRE_APPROVAL" else CallDeniedError)(answer)


def executed(step: Step, answer: Answer, rules: Rules, *, redeems: bool) -> Steps:
    """Return the result of a step that ``answer`` allows, after making exactly that call, and the call.

    Raises:
        CallRefusedError: it was not made, or its result may not be passed on.
    """
    grant = _grant_of(step, answer)
    call = _call(step, grant, duties_of(grant, handled=rules.handled))
    for duty in call.duties:
        if duty.kind in rules.handled:
            yield Meet(call, duty)
        elif duty.kind == CONFIRM and not (yield Confirm(call, duty.parameters)):
            raise ConfirmationDeclinedError(call.tool)
    if redeems and not grant.redeemed:
        yield from _redeemed(call, rules)
    _require_granted(step, grant, call, rules)
    result = yield from _ran(call, rules)
    return result, call


def _grant_of(step: Step, answer: Answer) -> Grant:
    for grant in answer.grants:
        if grant.step_id == step.step_id:
            return grant
    # A retry of an allow whose grants were used or ended meanwhile, or a control plane that gives none.
    raise GrantNotUsableError(f"the plan is allowed, and there is no grant left for {step.step_id}", why="missing")


def _call(step: Step, grant: Grant, duties: tuple[Duty, ...]) -> GrantedCall:
    data = canonical_arguments(arguments_under(json.loads(step.arguments_json), duties))
    return GrantedCall(
        tool=step.tool,
        step_id=step.step_id,
        grant_id=grant.grant_id,
        token=grant.token,
        arguments=data,
        arguments_sha256=hashlib.sha256(data).hexdigest(),
        duties=duties,
    )


def _redeemed(call: GrantedCall, rules: Rules) -> Steps:
    request = api.RedeemRequest(
        token=call.token,
        redemption_key=rules.new_key(),
        tool=call.tool,
        arguments_sha256=call.arguments_sha256,
    )
    try:
        yield from _persistent(Redeem(request), rules)
    except AisecopsClientError as error:
        if error.reason == "GRANT_NOT_USABLE":
            raise GrantNotUsableError(error.message, why=error.metadata.get("why", "")) from error
        raise


def _require_granted(step: Step, grant: Grant, call: GrantedCall, rules: Rules) -> None:
    """Compare once more, on this side and on the very bytes: with the grant, and with its signature where keys are."""
    granted = [(grant.tool, grant.step_id, grant.arguments_sha256)]
    if rules.keys is not None:
        try:
            claims = rules.keys.read(call.token)
        except GrantRefusedError as error:
            raise GrantNotUsableError(str(error), why=error.why) from error
        granted.append((claims.tool, claims.step_id, claims.arguments_sha256))
    digest = hashlib.sha256(call.arguments).hexdigest()
    if any(found != (step.tool, step.step_id, digest) for found in granted):
        raise GrantNotUsableError("the grant is not for this call", why="other_call")


def _ran(call: GrantedCall, rules: Rules) -> Steps:
    started, began = int(rules.clock()), rules.stopwatch()
    digest = hashlib.sha256(call.arguments).hexdigest()

    def report(outcome: api.ExecutionOutcome.ValueType, **told: str) -> api.CompleteRequest:
        cost = api.ExecutionCost(
            tokens=call.spent.tokens,
            micro_usd=call.spent.micro_usd,
            wall_milliseconds=max(0, round((rules.stopwatch() - began) * 1000)),
        )
        executed = api.ExecutionReport(
            outcome=outcome,
            tool=call.tool,
            arguments_sha256=digest,
            cost=cost,
            started_at_seconds=started,
            **told,
        )
        return api.CompleteRequest(grant_id=call.grant_id, report=executed)

    try:
        result = yield Run(call)
    except GeneratorExit:
        raise
    except BaseException as error:
        # What it says may hold what it was given; its kind does not.
        yield from _told(report(api.EXECUTION_OUTCOME_FAILED, failure=type(error).__name__), rules)
        raise
    try:
        passed_on = rules.passed_on(result, call.duties)
    except ObligationUnmetError:
        yield from _told(report(api.EXECUTION_OUTCOME_EXECUTED), rules)
        raise
    yield from _told(report(api.EXECUTION_OUTCOME_EXECUTED, result_sha256=content_digest(passed_on)), rules)
    return passed_on


def _told(request: api.CompleteRequest, rules: Rules) -> Steps:
    """Tell what came of a call. That it cannot be told does not undo it, so it is no reason to hide its result."""
    try:
        answer = yield from _persistent(Complete(request), rules)
    except AisecopsClientError as error:
        _logger.warning("what came of the grant %s could not be reported: %s", request.grant_id, error)
    else:
        for kind in answer.incidents:
            _logger.warning("the call by grant %s is an incident: %s", request.grant_id, kind)


def _persistent(ask: Ask, rules: Rules) -> Steps:
    """Ask until there is an answer, a few times at most; the same key goes along, so that it counts once."""
    pause = _FIRST_PAUSE_SECONDS
    for attempt in range(1, rules.attempts + 1):
        try:
            return (yield ask)
        except RetryLaterError as error:
            if attempt == rules.attempts:
                raise
            wait = pause if error.retry_after_seconds is None else error.retry_after_seconds
        # Whoever asks before the time that was told is refused here, and would lose an attempt.
        yield Pause(min(wait, AT_MOST_SECONDS))
        pause *= 2
    raise AssertionError("the last attempt returns or raises")


def content_digest(content: Any) -> str:
    """Return the SHA-256 of a result as bytes, text, or canonical JSON; empty for what has no such form."""
    if isinstance(content, bytes | bytearray):
        return hashlib.sha256(content).hexdigest()
    if isinstance(content, str):
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
    try:
        return hashlib.sha256(canonical(content)).hexdigest()
    except (TypeError, ValueError):
        return ""
