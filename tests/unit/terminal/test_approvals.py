"""The inbox and one request: what is at stake first, nothing hidden, the agent's words marked as its own."""

from __future__ import annotations

import io
from typing import Any

import pytest
from aisecops_server.terminal.approvals import approval_block, duration, effect, inbox, one_line
from aisecops_server.terminal.consoles import make_console
from rich.console import RenderableType

NOW = 1_800_000_000.0
APPROVAL: dict[str, Any] = {
    "approvalId": "apr-1",
    "state": "APPROVAL_STATE_REQUESTED",
    "agentId": "spiffe://corp.example/agent/clerk",
    "tools": ["bank/pay"],
    "explanation": "Approval required by approval.amount_over_limit at bank/pay: The amount is high.",
    "approversRequired": 2,
    "groups": ["treasury"],
    "excluded": ["clerks"],
    "votes": [
        {
            "approver": "ada",
            "choice": "CHOICE_APPROVE",
            "note": "called them",
            "votedAt": "2027-01-15T08:00:00Z",
            "signedBy": "SIGNED_BY_VOTER",
            "authenticatedBy": "certificate",
        }
    ],
    "statementDigest": "ab" * 32,
    "requestedAt": "2027-01-15T07:58:20Z",
    "expiresAt": "2027-01-15T08:02:10Z",
    "closedBy": "",
    "closedNote": "",
}
STATEMENT: dict[str, Any] = {
    "agent_id": "spiffe://corp.example/agent/clerk",
    "delegation": ["spiffe://corp.example/agent/chief"],
    "intent": "pay \x1b[2Jthe invoice",
    "steps": [
        {"id": "s1", "tool": "bank/pay", "arguments": {"to": "NL\u202e91", "amount": 500}, "depends_on": []},
        {"id": "s2", "tool": "mail/send", "arguments": {}, "depends_on": ["s1"]},
    ],
    "steps_to_approve": ["s1"],
    "findings": [
        {"rule": "approval.amount_over_limit", "effect": "require_approval", "severity": "high", "step": "s1"}
        | {"message": "The amount is high.", "remedy": "Ask."}
    ],
    "sources": [{"id": "mail", "kind": "tool_result", "trust": "external", "name": "inbox", "origin_uri": ""}],
    "bundle_revision": "0123456789abcdef",
    "trace_id": "f" * 32,
}


def drawn(what: Any, *, width: int = 100) -> str:
    stream = io.StringIO()
    console = make_console(stream, color="never")
    console.width = width
    part: RenderableType = what(console)
    console.print(part)
    return stream.getvalue()


def test_the_inbox_says_how_long_still_who_wants_what_and_why() -> None:
    text = drawn(lambda console: inbox(console, [APPROVAL], NOW))
    assert "waits  1 of 2  expires in 2m 10s  asked 1m 40s ago" in text
    assert "clerk wants bank/pay" in text
    assert "approval.amount_over_limit" in text
    assert "apr-1" in text


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_request_shows_every_argument_and_hides_no_character(width: int) -> None:
    text = drawn(
        lambda console: approval_block(console, APPROVAL, STATEMENT, now=NOW, when=lambda stamp: stamp), width=width
    )
    joined = " ".join(text.split())
    assert "\x1b" not in text
    assert "\u202e" not in text
    for said in ('"NL\\u202e91"', "500", "mail/send", "on behalf of", "it says it wants to “pay \\x1b[2Jthe invoice”"):
        assert said in joined
    assert "tool result · external" in joined
    assert "signed with their own key" in joined
    assert "2 different people must agree: somebody of treasury" in joined
    assert "not those who answer for the agent: clerks" in joined


def test_what_was_answered_before_stands_beside_it_with_who_and_why() -> None:
    vote = {"choice": "CHOICE_DENY", "approver": "bob", "note": "no \x1b[2J invoice", "votedAt": "2027-01-14T08:00:00Z"}
    past = [{"approvalId": "apr-0", "vote": vote, "tools": ["bank/pay"], "intent": "pay"}]
    text = drawn(
        lambda console: approval_block(console, APPROVAL, STATEMENT, now=NOW, when=lambda stamp: stamp, past=past)
    )
    assert "bob  2027-01-14T08:00:00Z  bank/pay  apr-0" in text
    assert ("\x1b" in text, "invoice”" in text) == (False, True)
    assert "answered before" not in drawn(
        lambda console: approval_block(console, APPROVAL, STATEMENT, now=NOW, when=lambda stamp: stamp)
    )


def test_the_question_names_what_a_yes_does() -> None:
    assert (
        effect(STATEMENT)
        == 'Let clerk run once: bank/pay with to "NL\\u202e91", amount 500; mail/send with no arguments?'
    )
    long = {**STATEMENT, "steps": [{**STATEMENT["steps"][0], "arguments": {"body": "x" * 900}}] * 5}
    asked = effect(long)
    assert "(902 characters)" in asked
    assert asked.endswith("; and 2 more calls?")


def test_a_text_that_waits_is_asked_about_as_a_text() -> None:
    text = {"id": "text", "kind": "user_prompt", "trust": "trusted", "name": "", "origin_uri": "", "digest": "cd" * 32}
    place = {"detector": "injection.override", "start": 3, "end": 15, "excerpt": "forget \u202eit"}
    private = {"detector": "secret.jwt", "start": 20, "end": 90, "excerpt": ""}
    facts = [{"pointer": "/parts/0/detections/0", "value": value} for value in (place, private)]
    findings = [{**STATEMENT["findings"][0], "step": "text", "facts": facts}]
    statement = {
        **STATEMENT,
        "findings": findings,
        "intent": "",
        "steps": [],
        "steps_to_approve": ["text"],
        "sources": [text],
    }
    assert effect(statement) == "Let clerk use once: the prompt 'text'?"
    shown = drawn(lambda console: approval_block(console, APPROVAL, statement, now=NOW, when=lambda stamp: stamp))
    assert f"what would be used, once\n  the prompt 'text'  SHA-256 {'cd' * 32}" in shown
    assert '    "forget \\u202eit"  injection.override, characters 3 to 15\n' in shown
    assert "\n    secret.jwt, characters 20 to 90\n" in shown
    assert "what would run" not in shown
    assert "clerk wants to use a text" in drawn(lambda console: inbox(console, [{**APPROVAL, "tools": []}], NOW))


@pytest.mark.parametrize(
    ("state", "word"),
    [("GRANTED", "granted"), ("REJECTED", "rejected"), ("EXPIRED", "expired"), ("WITHDRAWN", "withdrawn")],
)
def test_what_became_of_a_request_is_one_word(state: str, word: str) -> None:
    text = drawn(lambda console: one_line(console, {**APPROVAL, "state": f"APPROVAL_STATE_{state}"}, NOW))
    assert word in text.splitlines()[0]
    assert ("expires in" in text) is (state == "GRANTED")
    assert "“called them”" in text


@pytest.mark.parametrize(
    ("seconds", "said"), [(-3, "0s"), (59.9, "59s"), (61, "1m 01s"), (3_660, "1h 01m"), (90_000, "1d 01h")]
)
def test_a_span_of_time_has_its_two_largest_parts(seconds: float, said: str) -> None:
    assert duration(seconds) == said
