"""Two terminals: an agent that asks and waits, and a person at night who answers."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.program import SECONDS, Terminal

pytestmark = pytest.mark.slow

SUPPORT = "spiffe://corp.example/agent/support-assistant"


def plan(amount: int, step: str = "refund") -> str:
    arguments = {"order_id": "48213", "customer_id": "C-20417", "amount": amount, "reason": "Parcel lost"}
    return json.dumps(
        {
            "intent": "Refund order 48213",
            "environment": "production",
            "steps": [
                {"step_id": step, "tool": "crm/issue_refund", "arguments": arguments, "influenced_by": ["request"]}
            ],
            "sources": [
                {
                    "source_id": "request",
                    "kind": "user_prompt",
                    "content": f"Refund order 48213 of customer C-20417, {amount} EUR. Parcel lost",
                }
            ],
        }
    )


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A control plane for each test: what waits and which keys are registered differ, and tests run in any order."""
    made = Terminal(tmp_path)
    policy = str(tmp_path / "policy")
    assert made.run("dev", "policy", policy).code == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "aisecops_server", "serve"],
        env=made.environment(AISECOPS_REPOSITORY=policy),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        assert process.stderr.readline().startswith("listening on ")
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=SECONDS)


def asked(terminal: Terminal, amount: int, step: str = "refund") -> str:
    done = terminal.run("decide", "-f", "-", "--agent", SUPPORT, "-o", "json", stdin=plan(amount, step))
    assert done.code == 4, done.err
    assert f"aisecops approvals show {done.json['approvalId']}" in done.err
    return str(done.json["approvalId"])


def typed(terminal: Terminal, answer: str, *line: str) -> tuple[int, str]:
    """Run a line in a terminal of its own, answer its question, and return its exit code and what was shown."""
    pid, screen = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "aisecops_server", *line], terminal.environment(COLUMNS="100"))
    shown = b""
    try:
        while b"[y/N]" not in shown:
            shown += os.read(screen, 4096)
        os.write(screen, f"{answer}\n".encode())
        while part := os.read(screen, 4096):
            shown += part
    except OSError:  # the terminal is gone with its process
        pass
    finally:
        os.close(screen)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_one_waits_in_a_terminal_while_another_agrees_in_the_next(terminal: Terminal) -> None:
    file = terminal.home / "plan.json"
    file.write_text(plan(164), encoding="utf-8")
    waiting = subprocess.Popen(
        [sys.executable, "-m", "aisecops_server", "decide", "-f", file, "--agent", SUPPORT, "--wait", "-o", "json"],
        env=terminal.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    approval = waiting.stderr.readline().split()[-1]
    [listed] = terminal.run("approvals", "list", "-o", "json").json["approvals"]
    assert listed["approvalId"] == approval
    drawn = terminal.run("approvals", "show", approval).out
    assert all(said in drawn for said in ("crm/issue_refund", "164", '"Parcel lost"', "customer-support"))
    code, shown = typed(terminal, "y", "approvals", "approve", approval, "--note", "checked")
    assert (code, "Let support-assistant run once: crm/issue_refund with amount 164" in shown) == (0, True)
    out, _ = waiting.communicate(timeout=SECONDS)
    decided = json.loads(out)
    assert (waiting.returncode, decided["approvalId"]) == (0, approval)
    assert decided["decision"]["outcome"] == "OUTCOME_ALLOW"
    assert terminal.run("approvals", "list").err.startswith("nothing waits for you")


def test_who_says_no_to_the_question_has_not_voted(terminal: Terminal) -> None:
    approval = asked(terminal, 165)
    code, _ = typed(terminal, "n", "approvals", "approve", approval)
    assert code == 130
    assert terminal.run("approvals", "show", approval, "-o", "json").json["approval"]["votes"] == []
    without = terminal.run("approvals", "approve", approval)
    assert (without.code, "give --yes" in without.err) == (2, True)


def test_each_command_prints_its_message_and_ends_with_the_answer(terminal: Terminal) -> None:
    granted, rejected, withdrawn = (asked(terminal, amount) for amount in (166, 167, 168))
    shown = terminal.run("approvals", "show", granted, "-o", "json").json
    assert set(shown) == {"approval", "statementJson", "decision", "caller", "pastAnswers", "identical"}
    statement = terminal.run("approvals", "show", granted, "--statement").out
    assert json.loads(statement)["approval_id"] == granted
    assert terminal.run("approvals", "wait", granted, "--seconds", "0.2").code == 4
    lines = {
        ("approve", granted, "--yes"): ("APPROVAL_STATE_GRANTED", 0),
        ("deny", rejected, "--note", "no ticket"): ("APPROVAL_STATE_REJECTED", 0),
        ("withdraw", withdrawn, "--agent", SUPPORT): ("APPROVAL_STATE_WITHDRAWN", 0),
        ("wait", granted): ("APPROVAL_STATE_GRANTED", 0),
        ("wait", rejected): ("APPROVAL_STATE_REJECTED", 3),
        ("wait", withdrawn): ("APPROVAL_STATE_WITHDRAWN", 3),
    }
    for line, (state, code) in lines.items():
        done = terminal.run("approvals", *line, "-o", "json")
        fields = {"approval", "answered"} if line[0] in {"approve", "deny"} else {"approval"}
        assert (set(done.json), done.json["approval"]["state"], done.code) == (fields, state, code)
    late = terminal.run("approvals", "deny", rejected, "-o", "json")
    assert (late.code, late.json["error"]["reason"], late.json["error"]["metadata"]["why"]) == (
        3,
        "APPROVAL_NOT_USABLE",
        "rejected",
    )
    states = terminal.run("approvals", "list", "--state", "rejected", "--state", "withdrawn", "-o", "ndjson").lines
    assert {line["approvalId"] for line in states} == {rejected, withdrawn}
    used = terminal.run("decide", "-f", "-", "--agent", SUPPORT, "--approval", granted, stdin=plan(166))
    assert (used.code, "people agreed" in used.err) == (0, True)


def test_requests_for_the_very_same_stand_together_and_are_answered_together(terminal: Terminal) -> None:
    first, second, third = (asked(terminal, 170, step) for step in ("once", "again", "and-again"))
    other = asked(terminal, 171)
    listed = terminal.run("approvals", "list").out
    assert f"×3 identical  {second}, {third}" in " ".join(listed.split()).replace("identical apr", "identical  apr")
    assert f"aisecops approvals approve {first} --identical" in " ".join(listed.split())
    assert terminal.run("approvals", "deny", second, "--note", "not this one", "-o", "json").code == 0
    code, shown = typed(terminal, "y", "approvals", "approve", first, "--identical", "--note", "one parcel, two losses")
    assert (code, "run 2 times, once for each request: crm/issue_refund" in " ".join(shown.split())) == (0, True)
    states = {one["approvalId"]: one for one in terminal.run("approvals", "list", "--all", "-o", "ndjson").lines}
    assert [states[name]["state"].removeprefix("APPROVAL_STATE_") for name in (first, second, third, other)] == [
        "GRANTED",
        "REJECTED",
        "GRANTED",
        "REQUESTED",
    ]
    assert [states[name]["votes"][0]["note"] for name in (first, third)] == ["one parcel, two losses"] * 2
    more = [asked(terminal, 172, step) for step in ("once", "again")]
    code, shown = typed(terminal, "y", "approvals", "approve", second)
    assert (code, "the request is rejected already" in " ".join(shown.split())) == (3, True)
    assert "[y/N]" not in shown
    denied = terminal.run("approvals", "deny", more[1], "--identical", "-o", "json")
    assert (denied.code, {one["approval"]["approvalId"] for one in denied.json["answered"]}) == (0, set(more))
    assert {one["reason"] for one in denied.json["answered"]} == {""}


def test_a_person_makes_a_key_has_it_registered_and_signs_with_it(terminal: Terminal) -> None:
    approval = asked(terminal, 169)
    own = str(terminal.home / "own.pem")
    made = terminal.run("approvals", "key", own, "--make", "-o", "json").json
    assert set(made) == {"publicKey", "keyId"}
    assert Path(own).stat().st_mode & 0o077 == 0
    assert terminal.run("approvals", "key", own, "--make").code == 2
    assert terminal.run("approvals", "key", own, "-o", "json").json == made
    unknown = terminal.run("approvals", "approve", approval, "--yes", "--key", own, "-o", "json")
    assert (unknown.code, unknown.json["error"]["metadata"]["field"]) == (2, "signature")
    missing = terminal.run("approvals", "approve", approval, "--yes", "--key", str(terminal.home / "nowhere.pem"))
    assert missing.code == 2
    people = terminal.home / "policy/data/people.yaml"
    line = terminal.run("approvals", "key", own).out.strip()
    people.write_text(f"{people.read_text('utf-8')}operator@localhost:\n  keys:\n    {line}\n", encoding="utf-8")
    commit = ["git", "-C", str(terminal.home / "policy"), "-c", "user.name=A", "-c", "user.email=a@corp.example"]
    subprocess.run([*commit, "commit", "-qam", "Register a key"], check=True)
    assert terminal.run("bundle", "sync").code == 0
    without = terminal.run("approvals", "approve", approval, "--yes", "-o", "json")
    assert (without.code, without.json["error"]["metadata"]["field"]) == (2, "signature")
    signed = terminal.run("approvals", "approve", approval, "--yes", "--key", own, "-o", "json")
    [vote] = signed.json["approval"]["votes"]
    assert (signed.code, vote["signedBy"], vote["keyId"]) == (0, "SIGNED_BY_VOTER", made["keyId"])
    assert "signed with their own key" in terminal.run("approvals", "show", approval).out
