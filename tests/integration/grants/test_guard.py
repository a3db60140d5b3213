"""A guarded function runs exactly as it was granted, or not at all, and how it ended is always told."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aisecops_client import (
    AccessRefusedError,
    AisecopsClientError,
    ApprovalRequiredError,
    CallDeniedError,
    CallRefusedError,
    Client,
    ConfirmationDeclinedError,
    GrantNotUsableError,
    Guard,
    ObligationUnmetError,
    RetryLaterError,
    current_call,
)
from aisecops_client.guarded import content_digest
from aisecops_grant.arguments import arguments_sha256

from tests.fakes.clock import START_NS
from tests.integration.api.running import AGENT
from tests.scenes.grants.grant_keys import grant_key
from tests.scenes.grants.guarding import Desk, Outbox, desk_of, plan_of, plane


@pytest.fixture
def desk() -> Iterator[Desk]:
    with plane() as served, desk_of(served) as opened:
        yield opened


def test_a_call_is_decided_granted_made_and_told(desk: Desk) -> None:
    with desk.guard.task("Answer the ticket.") as task:
        task.source("user_prompt", "Tell Ada.")
        assert desk.send("ada@example.org", subject="Hello") == {"id": 1, "to": "ada@example.org"}
    assert desk.outbox.sent == [{"to": "ada@example.org", "subject": "Hello"}]
    assert desk.plane.types("grant.") == ["grant.issued", "grant.redeemed"]
    [ended] = desk.plane.events("execution.")
    told = ended["details"]
    assert (ended["type"], told["as_granted"], told["redeemed"]) == ("execution.executed", True, True)
    assert told["arguments_sha256"] == arguments_sha256({"to": "ada@example.org", "subject": "Hello"})
    assert told["result_sha256"] == content_digest({"id": 1, "to": "ada@example.org"})
    assert (told["wall_milliseconds"] >= 0, told["started_at_seconds"]) == (True, START_NS // 10**9)
    assert desk.plane.incidents() == []


def test_a_denied_call_does_not_run_and_says_what_would_be_acceptable(desk: Desk) -> None:
    delete = desk.guard.tool("db/delete")(desk.outbox.send)
    with pytest.raises(CallDeniedError) as denied:
        delete("users")
    assert (denied.value.reason, denied.value.remedies) == ("DENIED", ("ask somebody",))
    assert "fake.tool" in str(denied.value)
    assert (desk.outbox.sent, desk.plane.types("grant.")) == ([], [])


def test_a_call_that_needs_people_does_not_run(desk: Desk) -> None:
    pay = desk.guard.tool("bank/pay")(desk.outbox.send)
    with pytest.raises(ApprovalRequiredError) as refused:
        pay("eve")
    assert (refused.value.reason, desk.outbox.sent) == ("APPROVAL_REQUIRED", [])


def test_nobody_to_ask_is_no_permission() -> None:
    with Client.connect("unix:/nowhere/api.sock", "token") as client:
        outbox, pauses = Outbox(), []
        guard = Guard(client, pause=pauses.append)
        with pytest.raises(RetryLaterError):
            guard.tool("mail/send")(outbox.send)("ada")
    assert (outbox.sent, len(pauses)) == ([], 2)


def test_a_bad_credential_is_not_tried_again(desk: Desk) -> None:
    with Client.connect(desk.plane.address, "letmein") as client:
        guard = Guard(client, pause=desk.pauses.append)
        with pytest.raises(AccessRefusedError):
            guard.tool("mail/send")(desk.outbox.send)("ada")
    assert (desk.outbox.sent, desk.pauses) == ([], [])


def test_a_function_that_fails_is_told_to_have_failed_and_not_what_it_said(desk: Desk) -> None:
    @desk.guard.tool("mail/read")
    def read(path: str) -> str:
        raise LookupError(f"secret of {path}")

    with pytest.raises(LookupError, match="secret"):
        read("/a")
    [ended] = desk.plane.events("execution.")
    assert (ended["type"], ended["details"]["failure"]) == ("execution.failed", "LookupError")
    assert "secret" not in str(ended)


def test_an_interrupt_during_a_call_is_told_too(desk: Desk) -> None:
    @desk.guard.tool("mail/read")
    def read() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read()
    assert desk.plane.types("execution.") == ["execution.failed"]


def test_the_function_gets_the_bytes_that_were_granted_and_nothing_else(desk: Desk) -> None:
    mutable = {"cc": ["bob"]}
    seen = []

    @desk.guard.tool("mail/forward")
    def forward(to: str, amount: float, **options: Any) -> None:
        seen.append((to, amount, options))

    forward("ada", 50.0, **mutable)
    assert seen == [("ada", 50, {"cc": ["bob"]})]
    assert seen[0][2]["cc"] is not mutable["cc"]


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), 2**53, b"bytes", "\ud800"])
def test_arguments_without_an_exact_form_reach_nobody(desk: Desk, value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        desk.send(value)
    assert (desk.outbox.sent, desk.plane.events()) == ([], [])


def test_a_wrong_call_of_the_function_reaches_nobody(desk: Desk) -> None:
    with pytest.raises(TypeError):
        desk.send()
    assert desk.plane.events() == []


def test_functions_that_cannot_be_called_by_name_are_not_guarded(desk: Desk) -> None:
    def positional(first: int, /) -> None: ...

    def several(*all_of_them: int) -> None: ...

    async def later() -> None: ...

    for function in (positional, several, later):
        with pytest.raises(TypeError):
            desk.guard.tool("a/b")(function)
    with pytest.raises(ValueError, match="already"):
        desk.guard.tool("mail/send")(desk.outbox.send)


def test_a_guarded_function_looks_like_itself_and_has_no_way_around(desk: Desk) -> None:
    def archive(path: str, *, deep: bool = False) -> None:
        """Archive a folder."""

    guarded = desk.guard.tool("files/archive")(archive)
    assert (guarded.__name__, guarded.__doc__) == ("archive", "Archive a folder.")
    assert inspect.signature(guarded) == inspect.signature(archive)
    assert not hasattr(guarded, "__wrapped__")


def test_what_calls_return_has_influenced_the_calls_after_them(desk: Desk) -> None:
    @desk.guard.tool("tickets/read")
    def read(ticket: str) -> str:
        return f"text of {ticket}"

    with desk.guard.task("Answer.") as task:
        task.source("user_prompt", "Read T-1 and answer.")
        read("T-1")
        desk.send("ada")
    with desk.guard.task("Another."):
        desk.send("ada")
    kinds = [[source["kind"] for source in desk.document(at)["sources"]] for at in range(3)]
    assert kinds == [["user_prompt"], ["user_prompt", "tool_result"], []]
    second = desk.document(1)
    assert [source["digest_verified"] for source in second["sources"]] == [True, True]
    assert second["plan"]["intent"] == "Answer."
    traces = [event["trace_id"] for event in desk.plane.events("decision.concluded")]
    assert traces[0] == traces[1] != traces[2]


def test_a_thread_of_its_own_is_in_no_task(desk: Desk) -> None:
    with desk.guard.task("Answer.") as task:
        task.source("user_prompt", "Only here.")
        worker = threading.Thread(target=desk.send, args=("ada",))
        worker.start()
        worker.join()
    assert desk.document(0)["sources"] == []


def test_a_running_function_knows_its_grant_and_can_say_what_it_cost(desk: Desk) -> None:
    tokens = []

    @desk.guard.tool("mail/read")
    def read() -> None:
        call = current_call()
        assert call is not None
        tokens.append(call.token)
        call.spend(tokens=7, micro_usd=9)
        call.spend(tokens=1)

    assert current_call() is None
    read()
    assert current_call() is None
    told = desk.plane.events("execution.")[0]["details"]
    assert (told["tokens"], told["micro_usd"]) == (8, 9)
    assert tokens[0].count(".") == 2
    assert grant_key(desk.plane.keys).read(tokens[0]).tool == "mail/read"


def test_who_asks_is_the_agent_of_the_credential(desk: Desk) -> None:
    with contextlib.suppress(CallRefusedError):
        desk.send("ada")
    assert desk.document(0)["principal"]["id"] == AGENT


def test_a_plan_runs_step_by_step_in_its_order(desk: Desk) -> None:
    read = desk.guard.tool("mail/read")(lambda path: f"content of {path}")
    run = desk.guard.plan(plan_of(("mail/read", {"path": "/a"}), ("mail/send", {"to": "ada"})))
    assert callable(read)
    with pytest.raises(GrantNotUsableError) as refused:
        run.call("step-2")
    assert refused.value.metadata["why"] == "out_of_order"
    assert run.run() == {"step-1": "content of /a", "step-2": {"id": 1, "to": "ada"}}
    with pytest.raises(GrantNotUsableError) as again:
        run.call("step-1")
    assert again.value.metadata["why"] == "reused"
    assert desk.plane.types("execution.") == ["execution.executed"] * 2
    assert desk.plane.incidents() == ["out_of_order", "grant_reused"]


def test_a_plan_that_is_not_allowed_runs_not_even_in_part(desk: Desk) -> None:
    desk.guard.tool("db/delete")(desk.outbox.send)
    with pytest.raises(CallDeniedError):
        desk.guard.plan(plan_of(("mail/send", {"to": "ada"}), ("db/delete", {"to": "all"})))
    assert desk.outbox.sent == []


def test_a_step_without_a_guarded_function_or_of_another_plan_does_not_run(desk: Desk) -> None:
    run = desk.guard.plan(plan_of("files/read", {"path": "/a"}))
    for name in ("step-1", "step-9"):
        with pytest.raises(LookupError):
            run.call(name)
    assert desk.plane.types("grant.redeemed") == []


def test_a_tool_that_redeems_by_itself_is_left_its_grant(desk: Desk) -> None:
    seen = []

    @desk.guard.tool("mail/read", redeems=False)
    def read() -> None:
        call = current_call()
        assert call is not None
        seen.append(call.token)

    read()
    assert (len(seen), desk.plane.types("grant.")) == (1, ["grant.issued"])
    assert desk.plane.events("execution.")[0]["details"]["redeemed"] is False


def test_every_refusal_is_of_one_family() -> None:
    kinds = (
        CallDeniedError,
        ApprovalRequiredError,
        GrantNotUsableError,
        ObligationUnmetError,
        ConfirmationDeclinedError,
    )
    assert all(issubclass(kind, CallRefusedError) and issubclass(kind, AisecopsClientError) for kind in kinds)
