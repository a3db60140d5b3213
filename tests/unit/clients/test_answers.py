"""The client takes anything but a recorded, real, plain ALLOW for a denial."""

from __future__ import annotations

import grpc
import pytest
from aisecops.v1 import decision_pb2
from aisecops.v1.decision_service_pb2 import DecideBatchResult, ItemError
from aisecops_client import Answer, FaultError, PlanBuilder, RequestRefusedError, RetryLaterError
from aisecops_client.answers import result_of

RECORDED = decision_pb2.Receipt(event_id="evt-1")


def answer(outcome: int, mode: int = decision_pb2.MODE_ENFORCE, receipt: decision_pb2.Receipt = RECORDED) -> Answer:
    decision = decision_pb2.Decision()
    decision.outcome, decision.mode = outcome, mode
    return Answer(decision, receipt)


def test_only_a_recorded_real_allow_is_allowed() -> None:
    allowed = {(outcome, mode) for outcome in range(8) for mode in range(8) if answer(outcome, mode).allowed}
    assert allowed == {(decision_pb2.OUTCOME_ALLOW, decision_pb2.MODE_ENFORCE)}
    assert not answer(decision_pb2.OUTCOME_ALLOW, receipt=decision_pb2.Receipt()).allowed
    assert not Answer(decision_pb2.Decision(), decision_pb2.Receipt()).allowed


def test_an_outcome_that_this_client_does_not_know_reads_as_a_denial() -> None:
    assert [answer(number).outcome for number in range(5)] == ["DENY", "ALLOW", "DENY", "REQUIRE_APPROVAL", "DENY"]


@pytest.mark.parametrize(
    ("code", "kind"), [(3, RequestRefusedError), (14, RetryLaterError), (13, FaultError), (99, FaultError)]
)
def test_the_error_of_an_item_is_typed(code: int, kind: type[Exception]) -> None:
    error = result_of(DecideBatchResult(error=ItemError(code=code, reason="INVALID_PLAN", message="no", field="steps")))
    assert type(error) is kind
    assert (error.reason, error.metadata) == ("INVALID_PLAN", {"field": "steps"})


def test_a_result_that_says_nothing_is_an_error() -> None:
    error = result_of(DecideBatchResult())
    assert isinstance(error, FaultError)
    assert error.code is grpc.StatusCode.OK


def test_a_plan_that_is_no_json_is_not_built() -> None:
    builder = PlanBuilder()
    with pytest.raises(ValueError, match="JSON"):
        builder.step("mail/send", {"amount": float("nan")})
    with pytest.raises(ValueError, match="kind of source"):
        builder.source("gossip", "x")
    assert builder.build().ByteSize() == 0


def test_a_builder_goes_on_after_it_built() -> None:
    builder = PlanBuilder(intent="x", session_id="s")
    first = builder.build()
    builder.delegated_by("boss")
    builder.past_step("h", "crm/find")
    assert (len(first.delegation), len(builder.build().delegation), len(builder.build().history)) == (0, 1, 1)
