from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import git
import pytest
from aisecops_server.adapters.git.create import commit_files
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.demo.change import TABLE
from aisecops_server.demo.scenario import Scenario, scenarios

from tests.e2e.program import SECONDS, Done, Terminal

pytestmark = pytest.mark.slow

SUPPORT = "spiffe://corp.example/agent/support-assistant"


@dataclass(frozen=True, slots=True)
class Kept:
    """A demo that was played to its end, and the place that it kept."""

    terminal: Terminal
    root: Path
    shown: Done

    def run(self, *line: str, stdin: str = "", **environment: str) -> Done:
        settings = str(self.root / "aisecops-demo.yaml")
        return self.terminal.run(*line, stdin=stdin, AISECOPS_CONFIG=settings, **environment)

    def plan(self, name: str) -> str:
        return str(self.root / "plans" / f"{name}.json")


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """What a shell runs in the background ignores Ctrl-C, and so would the programs that are interrupted here."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    home = tmp_path_factory.mktemp("home")
    terminal = Terminal(home)
    return Kept(terminal, home / "demo", terminal.run("demo", "--keep", str(home / "demo")))


@pytest.fixture(scope="module")
def served(kept: Kept) -> Iterator[Kept]:
    settings = str(kept.root / "aisecops-demo.yaml")
    process = subprocess.Popen(
        [sys.executable, "-m", "aisecops_server", "serve"],
        env=kept.terminal.environment(AISECOPS_CONFIG=settings),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if line.startswith("policy "):
                break
        yield kept
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0


def by_id(name: str) -> Scenario:
    return next(scenario for scenario in scenarios() if scenario.id == name)


def decide(served: Kept, name: str, *more: str) -> Done:
    return served.run("decide", "-f", served.plan(name), "--agent", by_id(name).agent, *more)


def test_the_demo_ends_well_and_shows_every_decision(kept: Kept) -> None:
    assert (kept.shown.code, kept.shown.err) == (0, "")
    assert [scenario.id for scenario in scenarios() if scenario.title not in kept.shown.out] == []
    for part in ("✓ allowed", "✕ blocked", "▲ escalated", "heard", "2 outcomes changed: 1 looser, 1 stricter"):
        assert part in kept.shown.out


def test_the_demo_governs_a_real_mcp_server_that_knows_nothing_of_it(kept: Kept) -> None:
    flat = " ".join(kept.shown.out.split())
    for part in (
        "✓ an MCP client is shown the tools read, comment its server has purge as well",
        "✓ read and comment were decided, granted and made tickets/read, tickets/comment",
        "✕ purge, which only the ticket asked for, never reached the server",
    ):
        assert part in flat


def test_the_demo_replays_what_is_on_record_before_the_change_is_live(kept: Kept) -> None:
    flat = " ".join(kept.shown.out.split())
    replayed = flat.index("decided again on it, while it is not live")
    assert replayed < flat.index("is live built, signed, probed and switched")
    for part in (
        "✓ trustworthy:",
        "2 outcomes would change: 1 looser, 1 stricter",
        "approvals.tools.crm/issue_refund.amount_over 100 → 50",
        "If amount of crm/issue_refund were 50: ✓ allowed",
        "✓ exactly what the replay had foretold, decision by decision",
    ):
        assert part in flat, part


def test_the_demo_shows_who_how_much_with_whose_consent_and_that_exactly_that_is_done(kept: Kept) -> None:
    flat = " ".join(kept.shown.out.split())
    for part in (
        "spiffe://corp.example/agent/operations-assistant proved by certificate",
        "✕ the same name on a certificate of another authority was turned away",
        "✓ 3 calls of logs/search were allowed",
        "✕ call 4 was blocked budget.exhausted",
        "▲ deploy/release waits for people",
        "✓ granted 1 of 1",
        "✓ the same plan, decided again on the live policy, is allowed",
        "✕ the same approval a second time was refused APPROVAL_NOT_USABLE",
        "was swapped in: refused GRANT_NOT_USABLE",
        "on record as incident: other_arguments",
    ):
        assert part in flat, part


def test_what_the_demo_shows_is_what_is_on_record(served: Kept) -> None:
    recorded = served.run("trace", "list", "--limit", "500", "-o", "ndjson").lines
    enforced = [trace for trace in recorded if trace["mode"] == "ENFORCE" and trace["agentId"] != "operator@localhost"]
    assert len(enforced) >= 2 * len(scenarios())
    revisions = {str(trace["bundleRevision"])[:8] for trace in enforced[-2 * len(scenarios()) :]}
    assert revisions == set(re.findall(r"policy ([0-9a-f]{8}) is live", served.shown.out))


def test_a_pipe_gets_no_escape_sequence_and_lines_of_the_given_width(kept: Kept) -> None:
    assert "\x1b" not in kept.shown.out
    copied = [line for line in kept.shown.out.splitlines() if len(line) > 100]
    assert [line for line in copied if not line.startswith(("  aisecops ", "  export ", "✓ "))] == []


@pytest.mark.parametrize("width", ["80", "120"])
def test_the_demo_fits_and_leaves_nothing_behind_on_request(kept: Kept, width: str) -> None:
    before = sorted(kept.terminal.home.iterdir())
    done = kept.terminal.run("demo", "--temporary", "--pace", "0", "--color", "always", COLUMNS=width, NO_COLOR="1")
    assert done.code == 0, done.out + done.err
    assert "\x1b[" in done.out
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", done.out)  # colours, and what erases a line before it is drawn anew
    long = [line for line in plain.splitlines() if len(line) > int(width)]
    assert [line for line in long if not line.startswith(("  aisecops ", "  export "))] == []
    assert sorted(kept.terminal.home.iterdir()) == before
    assert "Try next" not in plain


def test_a_stream_that_knows_ascii_only_gets_a_whole_demo(kept: Kept) -> None:
    done = kept.terminal.run("demo", "--temporary", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert done.code == 0, done.err
    assert "x blocked" in done.out
    assert done.out.isascii()


def test_the_demo_does_not_play_over_somebodys_files(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    done = kept.terminal.run("demo", "--keep", str(tmp_path))
    assert done.code == ExitCode.USAGE
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_every_command_that_the_demo_names_works(served: Kept) -> None:
    named = [line.split() for line in served.shown.out.splitlines() if line.startswith("  aisecops ")]
    assert [words[1] for words in named] == ["serve", "ui", "trace", "explain", "replay", "decide", "log"]
    codes = [served.run(*words[1:]).code for words in named[1:]]
    assert codes == [ExitCode.OK, ExitCode.DENIED, ExitCode.OK, ExitCode.OK, ExitCode.OK, ExitCode.OK]


def test_the_demo_ends_with_links_that_open_its_traces_and_its_flip(kept: Kept) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "aisecops_server", "demo", "--temporary", "--serve"],
        env=kept.terminal.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        links = []
        for line in process.stdout:
            links += [word for word in line.split() if word.startswith("http://127.0.0.1:")]
            if "Ctrl-C ends it" in line:
                break
        pages = [_signed_in(link) for link in links]
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == ExitCode.OK
    finally:
        process.kill()
        process.communicate()
    assert ["<h1>Traces</h1>" in page for page in pages] == [True, False, False]
    assert "looser" in pages[1]
    assert "Ten questions" in pages[2]


def _signed_in(link: str) -> str:
    """Open a link as a browser does, and return the page that it leads to."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    address = urlsplit(link)
    origin = f"{address.scheme}://{address.netloc}"
    form = {name: values[0] for name, values in parse_qs(address.query).items()}
    with opener.open(f"{origin}/sign-in", urlencode(form).encode(), timeout=SECONDS) as answer:
        return str(answer.read().decode())


def test_what_the_demo_keeps_is_closed_to_others(kept: Kept) -> None:
    assert stat.S_IMODE(kept.root.stat().st_mode) == 0o700


def test_the_log_verifies_without_a_control_plane_and_a_changed_byte_does_not(kept: Kept, tmp_path: Path) -> None:
    state = kept.root / "state"
    found = kept.run("log", "verify", "-o", "json")
    assert (found.code, found.json["ok"]) == (0, True)
    copy = tmp_path / "state"
    copy.mkdir()
    content = (state / "audit.db").read_bytes()
    changed = content.replace(b"data-rescue.example", b"data-rescuE.example")
    assert changed != content
    (copy / "audit.db").write_bytes(changed)
    spoiled = kept.run("log", "verify", "--state-dir", str(copy), "-o", "json")
    assert spoiled.code == ExitCode.UNVERIFIED
    assert spoiled.json["ok"] is False


@pytest.mark.parametrize(
    ("name", "code", "outcome"),
    [
        ("answer-ticket", ExitCode.OK, "OUTCOME_ALLOW"),
        ("ticket-asks-for-customers", ExitCode.DENIED, "OUTCOME_DENY"),
        ("release", ExitCode.ESCALATED, "OUTCOME_REQUIRE_APPROVAL"),
    ],
)
def test_the_exit_code_of_decide_is_its_outcome(served: Kept, name: str, code: ExitCode, outcome: str) -> None:
    done = decide(served, name, "-o", "json")
    assert done.code == code
    assert done.json["decision"]["outcome"] == outcome
    assert set(done.json) == {"decision", "receipt", "approvalId"}


def test_a_dry_run_says_so_and_grants_nothing(served: Kept) -> None:
    done = decide(served, "answer-ticket", "--dry-run")
    assert done.code == 0
    assert "◌ dry-run (would be allowed)" in done.out


def test_a_dry_run_on_the_older_revision_decides_as_it_did(served: Kept) -> None:
    revisions = served.run("bundle", "list", "-o", "json").json["revisions"]
    oldest = revisions[-1]["commit"]
    done = decide(served, "refund-lost-parcel", "--dry-run", "--revision", oldest, "-o", "json")
    assert (done.code, done.json["decision"]["bundleRevision"]) == (0, oldest)


def test_a_retry_with_the_same_key_returns_the_stored_decision(served: Kept) -> None:
    first = decide(served, "answer-ticket", "--key", "retry-1", "-o", "json").json
    again = decide(served, "answer-ticket", "--key", "retry-1", "-o", "json").json
    assert again["decision"] == first["decision"]
    assert (first["receipt"]["replayed"], again["receipt"]["replayed"]) == (False, True)


def test_a_plan_can_come_from_a_pipe_and_a_misspelt_field_is_named(served: Kept) -> None:
    plan = Path(served.plan("answer-ticket")).read_text(encoding="utf-8")
    piped = served.run("decide", "-f", "-", "--agent", SUPPORT, "-q", stdin=plan)
    assert (piped.code, piped.err) == (0, "")
    wrong = served.run("decide", "-f", "-", "--agent", SUPPORT, stdin=plan.replace('"sources"', '"source"'))
    assert wrong.code == ExitCode.USAGE
    assert "did you mean 'sources'" in wrong.err


def test_tool_calls_of_a_models_message_are_decided(served: Kept, tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "read", "arguments": '{"ticket_id": "T-1"}'}}
    message = tmp_path / "call.json"
    message.write_text(json.dumps({"role": "assistant", "tool_calls": [call]}), encoding="utf-8")
    plan = tmp_path / "plan.json"
    asked = {"source_id": "ask", "kind": "user_prompt", "content": "Read ticket T-1"}
    plan.write_text(json.dumps({"environment": "production", "sources": [asked]}), encoding="utf-8")
    line = ["--message", str(message), "--format", "openai", "--tool-server", "tickets", "--agent", SUPPORT]
    done = served.run("decide", "-f", str(plan), *line, "-o", "json")
    assert done.code == 0, done.out
    assert len(done.json["decision"]["steps"]) == 1


def test_explain_answers_who_what_why_and_reproduces_the_decision(served: Kept) -> None:
    decision = decide(served, "swapped-account", "-o", "json").json["decision"]
    done = served.run("explain", decision["decisionId"])
    assert done.code == 0
    flat = " ".join(done.out.split())
    for part in (
        "agent spiffe://corp.example/agent/finance-assistant, proved by token",
        "provenance.destination_dictated",
        "retrieval · external",
        "gb33bukb20201555555555",
        "granted by finance-controls",
        "destination_dictated.rego:",
        "✓ yes: the stored document gives the same decision again",
    ):
        assert part in flat


def test_the_stored_document_is_printed_byte_for_byte(served: Kept) -> None:
    decision = decide(served, "answer-ticket", "-o", "json").json["decision"]
    document = served.run("explain", decision["decisionId"], "--document").json
    assert document["plan"]["hash"] == decision["planHash"]


def test_a_trace_shows_a_strip_of_gates_for_each_step(served: Kept) -> None:
    decision = decide(served, "ticket-asks-for-customers", "-o", "json").json["decision"]
    done = served.run("trace", "show", decision["traceId"])
    assert done.code == ExitCode.DENIED
    rows = {line.split()[0]: line.split()[2:] for line in done.out.splitlines() if line.startswith(("list ", "send "))}
    assert rows["list"] == ["✓", "✓", "✓", "✓", "✓", "✓", "·", "✓", "allowed"]
    assert rows["send"] == ["✓", "✓", "✓", "✕", "✓", "✓", "·", "✕", "blocked"]
    assert re.search(r"rule at rego/aisecops/rules/provenance/destination_dictated/\S+\.rego:\d+", done.out)
    assert "tool result · external" in done.out


def test_the_query_of_the_pages_narrows_and_leaves_out_in_a_command(served: Kept) -> None:
    blocked = served.run("trace", "list", "--outcome", "blocked", "-o", "ndjson").lines
    query = "outcome:blocked -tool:email/send"
    rest = served.run("trace", "list", "--where", query, "-o", "ndjson").lines
    assert rest == [trace for trace in blocked if "email/send" not in trace["tools"]]
    assert 0 < len(rest) < len(blocked)
    refused = served.run("trace", "list", "--where", "outcom:blocked")
    assert (refused.code, "outcom:blocked" in refused.err) == (ExitCode.USAGE, True)


def test_a_list_that_is_empty_is_still_json(served: Kept) -> None:
    done = served.run("trace", "list", "--agent", "nobody", "-o", "json")
    assert (done.code, done.json) == (0, {"traces": [], "nextPageToken": ""})
    assert served.run("trace", "list", "--agent", "nobody", "-o", "ndjson").out == ""


def test_text_of_an_agent_cannot_steer_the_terminal(served: Kept) -> None:
    plan = json.loads(Path(served.plan("answer-ticket")).read_text(encoding="utf-8"))
    plan["intent"] = "Answer\u202e the ticket"
    plan["sources"][0]["name"] = "request\u200b of Jonas"
    asked = served.run("decide", "-f", "-", "--agent", SUPPORT, "-o", "json", stdin=json.dumps(plan))
    trace = asked.json["decision"]["traceId"]
    shown = served.run("trace", "show", trace).out + served.run("trace", "show", trace, "-o", "json").out
    assert "\\u202e" in shown
    assert [mark for mark in ("\u202e", "\u200b") if mark in shown] == []


def test_events_stream_one_document_a_line(served: Kept) -> None:
    events = served.run("log", "tail", "--all", "--once", "-o", "ndjson").lines
    assert [int(str(event["logIndex"])) for event in events] == list(range(len(events)))
    told = served.run("trace", "tail", "--once", "--all")
    assert told.out.count("✓ allowed") + told.out.count("✕ blocked") >= len(scenarios())


def test_following_ends_by_interrupt_with_its_own_exit_code(served: Kept) -> None:
    environment = served.terminal.environment(AISECOPS_CONFIG=str(served.root / "aisecops-demo.yaml"))
    line = [sys.executable, "-m", "aisecops_server", "log", "tail", "--all", "-o", "ndjson"]
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["logIndex"] == "0"
        process.send_signal(signal.SIGINT)
        # Read on to the end: a reader that hangs up would be an ending of another kind.
        process.communicate(timeout=SECONDS)
        assert process.returncode == ExitCode.INTERRUPTED


def test_what_does_not_exist_is_exit_code_six(served: Kept) -> None:
    for line in (["trace", "show", "0" * 32], ["explain", "dec-none"], ["bundle", "activate", "no-such-branch"]):
        assert served.run(*line).code == ExitCode.NOT_FOUND


def test_a_credential_that_does_not_verify_or_suffice_is_exit_code_seven(served: Kept, tmp_path: Path) -> None:
    bad = tmp_path / "bad.token"
    bad.write_text("not a token", encoding="ascii")
    assert served.run("trace", "list", "--token-file", str(bad)).code == ExitCode.NOT_PERMITTED
    agent = tmp_path / "agent.token"
    agent.write_text(served.run("dev", "token", "--agent", SUPPORT).out, encoding="ascii")
    refused = served.run("bundle", "sync", "--token-file", str(agent))
    assert refused.code == ExitCode.NOT_PERMITTED
    assert "hint:" in refused.err


def test_doctor_finds_nothing_wrong_with_what_serves(served: Kept) -> None:
    done = served.run("doctor", "-o", "json")
    # Nobody has to be told of requests for approval.
    assert (done.code, [check["name"] for check in done.json["checks"] if check["state"] == "skipped"]) == (
        0,
        ["webhooks"],
    ), done.out


def test_a_rule_change_is_activated_rolled_back_and_activated_again(served: Kept) -> None:
    before = str(served.run("bundle", "status", "-o", "json").json["status"]["live"]["commit"])
    table = (served.root / "policy" / TABLE).read_text(encoding="utf-8")
    commit = commit_files(
        served.root / "policy",
        {TABLE: table.replace("amount_over: 50\n", "amount_over: 5000\n").encode()},
        message="Refund anything",
        at_seconds=1_790_000_000,
    )
    synced = served.run("bundle", "sync", "-o", "json")
    assert (synced.code, synced.json["status"]["live"]["commit"]) == (0, commit)
    assert decide(served, "refund-lost-parcel").code == ExitCode.OK
    assert served.run("bundle", "diff").code == ExitCode.DENIED
    assert served.run("bundle", "rollback", "--reason", "too generous").code == 0
    assert decide(served, "refund-lost-parcel").code == ExitCode.ESCALATED
    behind = served.run("bundle", "status", "-o", "json")
    assert (behind.code, behind.json["status"]["live"]["commit"]) == (ExitCode.DENIED, before)
    assert served.run("bundle", "activate", commit, "--reason", "meant it").code == 0
    assert decide(served, "refund-lost-parcel").code == ExitCode.OK
    assert served.run("bundle", "rollback").code == 0
    with git.Repo(served.root / "policy") as repository:
        assert not repository.is_dirty(untracked_files=True)


def test_a_second_control_plane_on_the_same_state_is_refused(served: Kept) -> None:
    done = served.run("serve")
    assert done.code != 0
    assert "hint:" in done.err
