from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from aisecops_server.cli.exit_codes import ExitCode

from tests.e2e.program import Done, Terminal
from tests.scenes.replays.hotel_traces import BENIGN, CONCIERGE, HIJACKED, line, lines

pytestmark = pytest.mark.slow


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    (tmp_path / "benign.jsonl").write_text(lines(*BENIGN), encoding="utf-8")
    (tmp_path / "hijacked.jsonl").write_text(line(99, HIJACKED), encoding="utf-8")
    found = Terminal(tmp_path)
    assert found.run("dev", "policy", str(tmp_path / "policy")).code == 0
    return found


def onboard(terminal: Terminal, *more: str, file: str = "benign.jsonl") -> Done:
    path, policy = terminal.home / file, terminal.home / "policy"
    return terminal.run("dev", "onboard", str(path), "--policy", str(policy), "--tool-server", "hotel", *more)


def evaluate(terminal: Terminal, *more: str) -> Done:
    policy, state = terminal.home / "policy", terminal.home / "state"
    files = [str(terminal.home / name) for name in ("benign.jsonl", "hijacked.jsonl")]
    told = terminal.run("trace", "import", *files, "--tool-server", "hotel", "--state-dir", str(state))
    assert told.code == 0, told.err
    return terminal.run("trace", "evaluate", "--repository", str(policy), "--state-dir", str(state), *more)


def git(terminal: Terminal, *line: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@b.example"]
    return subprocess.run(
        ["git", "-C", str(terminal.home / "policy"), *who, *line], check=True, capture_output=True, text=True
    ).stdout


def test_an_unknown_agent_is_judged_on_its_merits_after_one_command_and_a_commit(terminal: Terminal) -> None:
    before = evaluate(terminal)
    assert before.code == ExitCode.DENIED
    assert (
        "10 of 10 calls blocked for want of an entry: 1 unknown agent and 5 unknown tools" in before.out.splitlines()[0]
    )
    assert "aisecops dev onboard" in before.out
    done = onboard(terminal, "--owner", "guest-services")
    assert done.code == 0, done.err
    assert "11 entries added" in done.out
    assert "guessed from 'cancel'" in done.out
    assert "5 effects are guessed" in done.out
    for command in ("git -C", "trace import", "--tool-server hotel", "trace evaluate"):
        assert command in done.err
    changed = git(terminal, "diff", "--numstat").splitlines()
    assert [line.split()[1] for line in changed] == ["0"] * 4, "only added lines"
    git(terminal, "commit", "-qam", "Know the concierge")
    after = evaluate(terminal, "-o", "json")
    assert after.json["unknown"] == {"calls": 0, "agents": [], "tools": []}
    outcomes = {(item["tool"], item["outcome"]): item["calls"] for item in after.json["tallies"]}
    assert outcomes == {
        ("hotel/get_weather", "ALLOW"): 2,
        ("hotel/search_rooms", "ALLOW"): 2,
        ("hotel/reserve_room", "ALLOW"): 2,
        ("hotel/cancel_reservation", "ALLOW"): 1,
        ("hotel/send_confirmation", "ALLOW"): 1,
        # What the weather report asked for, and no human.
        ("hotel/send_confirmation", "DENY"): 1,
        ("hotel/cancel_reservation", "DENY"): 1,
    }
    again = onboard(terminal, "-o", "json")
    assert again.json == {"written": False, "added": [], "byHand": [], "leftOut": []}
    assert git(terminal, "status", "--porcelain") == ""


def test_a_dry_run_writes_nothing(terminal: Terminal) -> None:
    done = onboard(terminal, "--dry-run", "-o", "json")
    assert (done.code, done.json["written"], len(done.json["added"])) == (0, False, 11)
    assert git(terminal, "status", "--porcelain") == ""


def test_a_persons_own_table_of_tools_takes_the_place_of_guesses(terminal: Terminal) -> None:
    table = terminal.home / "tools.yaml"
    table.write_text("reserve_room: {effect: write, arguments: {room_id: object}}\n", encoding="utf-8")
    assert onboard(terminal, "--tools", str(table)).code == 0
    tools = (terminal.home / "policy/data/tools.yaml").read_text(encoding="utf-8")
    entry = tools.partition("\nhotel/reserve_room:\n")[2].partition("\nhotel/")[0]
    assert entry.endswith("  effect: write\n  arguments: {room_id: object}")
    assert "guessed" not in entry


def test_what_traces_do_not_say_must_be_said(terminal: Terminal) -> None:
    (terminal.home / "silent.jsonl").write_text(lines(*BENIGN, agent="", where=""), encoding="utf-8")
    refused = onboard(terminal, file="silent.jsonl")
    assert refused.code == ExitCode.USAGE
    assert "--agent" in refused.err
    told = onboard(terminal, "--agent", CONCIERGE, "--environment", "staging", file="silent.jsonl")
    assert told.code == 0, told.err
    said = f"--agent {CONCIERGE} --environment staging"
    assert said in told.err
    git(terminal, "commit", "-qam", "Know the concierge")
    state = ("--state-dir", str(terminal.home / "state"))
    where = str(terminal.home / "silent.jsonl"), "--tool-server", "hotel"
    # First without what is missing: saying it later mends the traces that are there.
    assert terminal.run("trace", "import", *where, *state).code == 0
    assert terminal.run("trace", "import", *where, *said.split(), *state).code == 0
    policy = str(terminal.home / "policy")
    evaluated = terminal.run("trace", "evaluate", "--repository", policy, *state, "-o", "json")
    assert {item["outcome"] for item in evaluated.json["tallies"]} == {"ALLOW"}


def test_a_bare_tool_name_without_a_server_is_refused_with_the_option_that_helps(terminal: Terminal) -> None:
    done = terminal.run(
        "dev", "onboard", str(terminal.home / "benign.jsonl"), "--policy", str(terminal.home / "policy")
    )
    assert done.code == ExitCode.USAGE
    assert "--tool-server" in done.err


def test_a_folder_that_is_no_policy_repository_is_refused(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    path = str(terminal.home / "benign.jsonl")
    done = terminal.run("dev", "onboard", path, "--policy", str(tmp_path / "empty"), "--tool-server", "hotel")
    assert done.code == ExitCode.USAGE
    assert "has no tables in data/" in done.err


def test_hostile_names_reach_neither_the_tables_nor_the_terminal(terminal: Terminal) -> None:
    hostile = ("x\n  effect: read", 'q"\x1b[2J', "{a: b}", "n" * 500)
    story = ("Do it.", [(name, {}, "") for name in (*hostile, "get_bill")])
    (terminal.home / "hostile.jsonl").write_text(line(7, story), encoding="utf-8")
    done = onboard(terminal, file="hostile.jsonl")
    assert done.code == 0, done.err
    assert "\x1b" not in done.out + done.err
    assert done.out.count("  tool '") == len(hostile)
    added = git(terminal, "diff", "--unified=0", "data/tools.yaml")
    assert [line for line in added.splitlines() if line.startswith("+hotel/")] == ["+hotel/get_bill:"]
