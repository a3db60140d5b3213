"""What a lost answer, a late one or a wrong one may not do: let a call run twice, or another one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from aisecops.v1 import execution_service_pb2 as api
from aisecops_client import (
    Answer,
    Client,
    GrantNotUsableError,
    Guard,
    RetryLaterError,
)
from aisecops_grant.verifier import GrantKeys

from tests.scenes.grants.grant_keys import grant_key
from tests.scenes.grants.guarding import Desk, desk_of, plan_of, plane


@pytest.fixture
def desk() -> Iterator[Desk]:
    with plane() as served, desk_of(served) as opened:
        yield opened


@dataclass
class LossyClient:
    """Loses answers of the control plane after it gave them, or changes them, and counts what it was asked."""

    client: Client
    lose: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    tamper: Any = None

    def _lost(self, name: str, answer: Any) -> Any:
        if self.lose.get(name, 0):
            self.lose[name] -= 1
            raise RetryLaterError("lost", grpc.StatusCode.UNAVAILABLE, retry_after_seconds=0.5)
        return answer

    def decide(self, plan: Any, **more: Any) -> Answer:
        self.asked.append(("decide", more["idempotency_key"]))
        answer = self._lost("decide", self.client.decide(plan, **more))
        return self.tamper(answer) if self.tamper else answer

    def redeem(self, request: api.RedeemRequest) -> Any:
        self.asked.append(("redeem", request.redemption_key))
        return self._lost("redeem", self.client.redeem(request))

    def complete(self, request: api.CompleteRequest) -> Any:
        self.asked.append(("complete", request.grant_id))
        return self._lost("complete", self.client.complete(request))


@pytest.fixture
def lossy(desk: Desk) -> LossyClient:
    made = LossyClient(desk.client)
    desk.guard.client = made  # type: ignore[assignment]
    return made


def redeems_apart(desk: Desk) -> None:
    """Put a person between decision and call, so that the grant cannot be used up with the decision."""
    desk.oblige("confirm")
    desk.guard.confirm = lambda _call, _parameters: True


@pytest.mark.parametrize("name", ["decide", "redeem", "complete"])
def test_a_lost_answer_is_asked_for_again_and_nothing_happens_twice(desk: Desk, lossy: LossyClient, name: str) -> None:
    if name == "redeem":
        redeems_apart(desk)
    lossy.lose[name] = 2
    desk.send("ada")
    assert len(desk.outbox.sent) == 1
    keys = [key for asked, key in lossy.asked if asked == name]
    assert (len(keys), len(set(keys)), desk.pauses) == (3, 1, [0.5, 0.5])
    assert desk.plane.types("grant.") == ["grant.issued", "grant.redeemed"]
    assert desk.plane.types("execution.") == ["execution.executed"]
    assert desk.plane.incidents() == []


@pytest.mark.parametrize("name", ["decide", "redeem"])
def test_without_an_answer_in_the_end_the_call_is_not_made(desk: Desk, lossy: LossyClient, name: str) -> None:
    redeems_apart(desk)
    lossy.lose[name] = 3
    with pytest.raises(RetryLaterError):
        desk.send("ada")
    assert desk.outbox.sent == []


def test_a_report_that_cannot_be_told_hides_no_result(
    desk: Desk, lossy: LossyClient, caplog: pytest.LogCaptureFixture
) -> None:
    lossy.lose["complete"] = 3
    with caplog.at_level(logging.WARNING):
        assert desk.send("ada")["id"] == 1
    assert "could not be reported" in caplog.text


def test_an_allow_without_a_grant_opens_nothing(desk: Desk, lossy: LossyClient) -> None:
    lossy.tamper = lambda answer: Answer(answer.decision, answer.receipt)
    with pytest.raises(GrantNotUsableError) as refused:
        desk.send("ada")
    assert (refused.value.metadata["why"], desk.outbox.sent) == ("missing", [])


@pytest.mark.parametrize("apart", [True, False], ids=["redeemed apart", "redeemed at once"])
def test_the_grant_of_another_call_opens_nothing(desk: Desk, lossy: LossyClient, *, apart: bool) -> None:
    if apart:
        redeems_apart(desk)
    other: list[Any] = []

    def swap(answer: Answer) -> Answer:
        other.append(answer.grants)
        return Answer(answer.decision, answer.receipt, other[0])

    lossy.tamper = swap
    desk.send("ada")
    with pytest.raises(GrantNotUsableError) as refused:
        desk.send("eve")
    assert refused.value.metadata["why"] in ({"other_arguments", "reused"} if apart else {"other_call"})
    assert [mail["to"] for mail in desk.outbox.sent] == ["ada"]
    assert desk.plane.incidents() == (["other_arguments"] if apart else [])


def test_a_guarded_call_is_decided_and_redeemed_in_one_call(desk: Desk, lossy: LossyClient) -> None:
    desk.send("ada")
    desk.send("bob")
    assert [asked for asked, _ in lossy.asked] == ["decide", "complete"] * 2
    assert desk.plane.types("grant.") == ["grant.issued", "grant.redeemed"] * 2


@pytest.mark.parametrize("field", ["tool", "arguments_sha256"])
def test_a_grant_that_says_something_else_than_its_token_opens_nothing(
    desk: Desk, lossy: LossyClient, field: str
) -> None:
    def change(answer: Answer) -> Answer:
        setattr(answer.grants[0], field, "0" * 64)
        return answer

    lossy.tamper = change
    with pytest.raises(GrantNotUsableError) as refused:
        desk.send("ada")
    assert (refused.value.metadata["why"], desk.outbox.sent) == ("other_call", [])


def test_with_keys_a_forged_grant_opens_nothing_even_if_it_is_redeemed(desk: Desk, tmp_path: Any) -> None:
    """An impostor in the place of the control plane says yes to everything; its signature does not verify."""
    stranger = grant_key(tmp_path)

    @dataclass
    class Impostor(LossyClient):
        def redeem(self, request: api.RedeemRequest) -> Any:
            return api.RedeemResponse(grant_id="x")

    def resign(answer: Answer) -> Answer:
        own = grant_key(desk.plane.keys)
        answer.grants[0].token = stranger.sign(own.read(answer.grants[0].token))
        return answer

    desk.guard.keys = GrantKeys(desk.client.grant_keys())
    desk.send("ada")
    desk.guard.client = Impostor(desk.client, tamper=resign)  # type: ignore[assignment]
    with pytest.raises(GrantNotUsableError) as refused:
        desk.send("ada")
    assert (refused.value.metadata["why"], len(desk.outbox.sent)) == ("unknown_key", 1)


def test_a_stolen_answer_runs_nothing_with_another_credential(desk: Desk) -> None:
    """Who copies an answer, grants and all, still has to redeem as itself."""

    @dataclass
    class Thief(LossyClient):
        stolen: Answer | None = None

        def decide(self, plan: Any, **more: Any) -> Answer:
            assert self.stolen is not None
            return self.stolen

    stolen = desk.client.decide(plan_of("mail/send", {"to": "ada", "subject": "none"}))
    token = desk.plane.token(subject="spiffe://example.org/agent/thief")
    with Client.connect(desk.plane.address, token) as client:
        guard = Guard(Thief(client, stolen=stolen))  # type: ignore[arg-type]
        with pytest.raises(GrantNotUsableError) as refused:
            guard.tool("mail/send")(desk.outbox.send)("ada")
    assert (refused.value.metadata["why"], desk.outbox.sent) == ("other_caller", [])
    assert desk.plane.incidents() == ["other_caller"]
