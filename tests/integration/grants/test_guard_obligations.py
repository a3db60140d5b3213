"""Obligations are met or the call is refused; none is quietly dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from aisecops_client import (
    ConfirmationDeclinedError,
    GrantNotUsableError,
    ObligationUnmetError,
)
from aisecops_client.guarded import GrantedCall, content_digest
from aisecops_client.obligations import Duty

from tests.scenes.grants.guarding import Desk, desk_of, plane


@pytest.fixture
def desk() -> Iterator[Desk]:
    with plane() as served, desk_of(served) as opened:
        yield opened


def test_an_obligation_that_is_not_known_refuses_the_call(desk: Desk) -> None:
    desk.oblige("sing")
    with pytest.raises(ObligationUnmetError, match="sing") as refused:
        desk.send("ada")
    assert (refused.value.metadata["kind"], desk.outbox.sent) == ("sing", [])
    assert desk.plane.types("grant.") == ["grant.issued"]


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("redact", {}),
        ("redact", {"fields": []}),
        ("redact", {"fields": "card"}),
        ("redact", {"fields": ["a"], "of": "everything"}),
        ("limit", {}),
        ("limit", {"rows": -1}),
        ("limit", {"rows": True}),
    ],
)
def test_an_obligation_that_is_not_understood_refuses_the_call(
    desk: Desk, kind: str, parameters: dict[str, Any]
) -> None:
    desk.oblige(kind, **parameters)
    with pytest.raises(ObligationUnmetError):
        desk.send("ada")
    assert desk.outbox.sent == []


def test_arguments_are_redacted_before_they_are_granted_and_before_they_are_sent(desk: Desk) -> None:
    desk.oblige("redact", fields=["card"], of="arguments")
    desk.send("ada", card="4111", order={"card": "4222", "n": 1})
    assert desk.outbox.sent == [
        {"to": "ada", "subject": "none", "card": "[redacted]", "order": {"card": "[redacted]", "n": 1}}
    ]
    assert desk.plane.events("execution.")[0]["details"]["as_granted"] is True


def test_results_are_redacted_and_limited_before_anybody_sees_them(desk: Desk) -> None:
    desk.oblige("redact", fields=["iban"])
    desk.oblige("limit", rows=2)

    @desk.guard.tool("crm/list")
    def customers() -> Any:
        return {"rows": [{"name": name, "iban": "DE1"} for name in "abc"], "iban": {"all": 1}}

    with desk.guard.task("List them."):
        found = customers()
        desk.send("ada")
    assert found == {
        "rows": [{"name": "a", "iban": "[redacted]"}, {"name": "b", "iban": "[redacted]"}],
        "iban": "[redacted]",
    }
    assert "DE1" not in str(desk.plane.events())


@pytest.mark.parametrize(("kind", "parameters"), [("redact", {"fields": ["a"]}), ("limit", {"rows": 1})])
def test_a_result_of_which_it_cannot_be_said_is_withheld_and_the_call_is_told(
    desk: Desk, kind: str, parameters: dict[str, Any]
) -> None:
    desk.oblige(kind, **parameters)

    @desk.guard.tool("crm/read")
    def read() -> object:
        return object()

    with pytest.raises(ObligationUnmetError):
        read()
    assert desk.plane.types("execution.") == ["execution.executed"]


@pytest.mark.parametrize("answer", [False, None, "yes", 1])
def test_only_a_plain_yes_confirms(desk: Desk, answer: object) -> None:
    desk.oblige("confirm", question="Really?")
    asked: list[tuple[str, Mapping[str, Any]]] = []

    def confirm(call: GrantedCall, parameters: Mapping[str, Any]) -> object:
        asked.append((call.tool, parameters))
        return answer

    with pytest.raises(ConfirmationDeclinedError):
        desk.send("ada")
    desk.guard.confirm = confirm
    with pytest.raises(ConfirmationDeclinedError):
        desk.send("ada")
    assert asked == [("mail/send", {"question": "Really?"})]
    assert (desk.outbox.sent, desk.plane.types("grant.redeemed")) == ([], [])


def test_a_confirmed_call_runs_unless_the_person_took_too_long(desk: Desk) -> None:
    desk.oblige("confirm")
    desk.guard.confirm = lambda _call, _parameters: True
    desk.send("ada")

    def slowly(_call: GrantedCall, _parameters: Mapping[str, Any]) -> bool:
        desk.plane.clock.advance(31)
        return True

    desk.guard.confirm = slowly
    with pytest.raises(GrantNotUsableError) as refused:
        desk.send("ada")
    assert (refused.value.metadata["why"], len(desk.outbox.sent)) == ("expired", 1)


def test_only_the_digest_of_a_result_leaves_where_policy_says_so(desk: Desk) -> None:
    desk.oblige("log_digest_only")

    @desk.guard.tool("hr/read")
    def read() -> str:
        return "salary of Ada: 1"

    with desk.guard.task("Read."):
        assert read() == "salary of Ada: 1"
        desk.send("ada")
    [result] = desk.document(1)["sources"]
    assert (result["content_known"], result["digest"]) == (False, content_digest("salary of Ada: 1"))


def test_a_handler_meets_an_obligation_before_the_call_and_can_stop_it(desk: Desk) -> None:
    desk.oblige("notify", channel="ops")
    met: list[tuple[str, Mapping[str, Any], int]] = []

    def notify(call: GrantedCall, duty: Duty) -> None:
        met.append((call.tool, duty.parameters, len(desk.outbox.sent)))
        if duty.parameters["channel"] == "down":
            raise ConnectionError("nobody hears")

    desk.guard.handlers = {"notify": notify}
    desk.send("ada")
    assert met == [("mail/send", {"channel": "ops"}, 0)]
    desk.oblige("notify", channel="down")
    with pytest.raises(ConnectionError):
        desk.send("ada")
    assert len(desk.outbox.sent) == 1
