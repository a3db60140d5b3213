"""What a developer does wrong in the first ten minutes is told with what to do about it."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from aisecops.v1 import decision_pb2
from aisecops_client import AccessRefusedError, Answer, Client, PlanBuilder, RetryLaterError
from aisecops_client.messages import bearer, tool_call_message
from aisecops_client.refusals import ApprovalRequiredError, CallDeniedError
from aisecops_client.screening import screen_request


def test_a_kind_that_there_is_not_is_told_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"no kind of source 'prompt', did you mean 'user_prompt'\?") as told:
        PlanBuilder().source("prompt", "Please.")
    assert "tool_result" in str(told.value)
    with pytest.raises(ValueError, match="no trust level 'total'"):
        PlanBuilder().source("user_prompt", "Please.", declared_trust="total")
    with pytest.raises(ValueError, match="openai, anthropic, mcp"):
        tool_call_message("gemini", b"{}")


@pytest.mark.parametrize("kind", ["unspecified", "", "SOURCE_KIND_USER_PROMPT", "user prompt"])
def test_no_word_stands_for_a_source_of_no_kind(kind: str) -> None:
    with pytest.raises(ValueError, match="kind of source"):
        PlanBuilder().source(kind, "Please.")


def test_a_text_goes_in_a_direction_and_may_be_of_no_kind() -> None:
    assert screen_request("Hello.", direction="input").parts[0].kind == 0
    with pytest.raises(ValueError, match="no direction 'up'"):
        screen_request("Hello.", direction="up")


def test_the_line_end_of_a_tokens_file_is_no_part_of_the_token() -> None:
    assert bearer("ab.cd.ef\r\n") == bearer("ab.cd.ef") == (("authorization", "Bearer ab.cd.ef"),)
    assert bearer("\n") == ()


@pytest.mark.parametrize("token", ["one\ntwo", "one two", "tök", "a\x00b", "a\x7fb", "Bearer x"])
def test_what_is_no_token_is_never_sent_and_is_not_repeated(token: str) -> None:
    with pytest.raises(AccessRefusedError) as refused:
        bearer(token)
    assert refused.value.code is grpc.StatusCode.UNAUTHENTICATED
    assert token not in str(refused.value)


def test_nobody_who_answers_is_told_with_where_it_was_looked_for(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/nobody.sock"
    with Client.connect(address, "x") as client, pytest.raises(RetryLaterError) as refused:
        client.decide(PlanBuilder())
    assert "Is 'aisecops serve' running" in str(refused.value)
    assert address in str(refused.value)


def test_a_denial_says_what_would_be_acceptable_and_a_request_where_it_waits() -> None:
    decision = decision_pb2.Decision(explanation="Denied by a.b: No.")
    decision.findings.add(rule="a.b", remedy="Register the agent.")
    decision.findings.add(rule="a.c", remedy="Register the agent.")
    answer = Answer(decision, decision_pb2.Receipt(), approval_id="apr-1")
    assert str(CallDeniedError(answer)) == "DENIED: Denied by a.b: No. What would be acceptable: Register the agent."
    assert str(ApprovalRequiredError(answer)).endswith("Request apr-1 waits for people.")
