"""The command that a page offers shows what the page shows, and none is offered that could mean something else."""

from __future__ import annotations

import html
import json
import re
import shlex
from pathlib import Path
from urllib.parse import quote

import pytest
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.main import run
from aisecops_server.entrypoints.web.rendering import command_line

from tests.scenes.planes.ui_scene import Scene

pytestmark = pytest.mark.timeout(300)
SHOWN = {ExitCode.OK, ExitCode.DENIED, ExitCode.ESCALATED, ExitCode.REPLAY_CHANGED}


def offered(scene: Scene, path: str) -> str:
    """Return the command of a page, or nothing."""
    status, _, page = scene.get(path)
    assert status == 200, path
    found = re.search(r'data-copy="([^"]*)" data-command', page.decode())
    return html.unescape(found[1]) if found else ""


@pytest.fixture
def pages(scene: Scene) -> list[str]:
    trace = f"/traces/{scene.traces['ticket-asks-for-customers']}"
    events = [one["eventId"] for one in json.loads(scene.get(f"{trace}.json")[2])["trace"]["events"]]
    request = json.loads(scene.get("/approvals.json?state=all")[2])["page"]["approvals"][0]["approvalId"]
    replay = scene.replayed("approvals.tools.crm/issue_refund.amount_over=50")
    revision = scene.plane.live.current().bundle.revision
    query = quote("outcome:blocked -tool:email/send -agent:'it is \"$(me)\"'")
    agent = f"/agents/{quote('spiffe://corp.example/agent/support-assistant', safe='')}"
    lists = (agent, "/", "/metrics", "/traces", f"/traces?q={query}", "/replays", "/agents", "/budgets", "/revisions")
    approvals = ("/approvals", "/approvals?state=all", "/approvals?state=expired", f"/approvals/{request}")
    of_trace = (trace, f"{trace}/graph", f"{trace}/events/{events[0]}", f"{trace}/events/{events[-1]}")
    return [*lists, *approvals, *of_trace, f"/replays/{replay}", f"/revisions/{revision}"]


def test_every_command_that_a_page_offers_runs(
    scene: Scene, pages: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.write_text(scene.token(), encoding="utf-8")
    commands = {path: offered(scene, path) for path in pages}
    assert len({shlex.split(command)[1] for command in commands.values()}) >= 8
    codes = {}
    for path, command in commands.items():
        program, *words = shlex.split(command)
        assert program == "aisecops", path
        codes[path] = run([*words, "--server", scene.socket, "--token-file", str(token)])
    told = capsys.readouterr().err
    assert {path: code for path, code in codes.items() if code not in SHOWN} == {}, told


def test_the_command_of_a_narrowed_list_lists_the_same(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.write_text(scene.token(), encoding="utf-8")
    path = f"/traces?q={quote('outcome:blocked -tool:email/send')}"
    words = shlex.split(offered(scene, path))[1:]
    assert run([*words, "--server", scene.socket, "--token-file", str(token), "-o", "json"]) == ExitCode.OK
    listed = [one["traceId"] for one in json.loads(capsys.readouterr().out)["traces"]]
    page = json.loads(scene.get(path.replace("/traces", "/traces.json"))[2])["page"]["traces"]
    assert listed == [one["traceId"] for one in page]
    assert 0 < len(listed) < len(scene.traces)


def test_the_figures_of_a_command_are_those_of_the_page(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.write_text(scene.token(), encoding="utf-8")
    assert run(["metrics", "--server", scene.socket, "--token-file", str(token), "-o", "json"]) == ExitCode.OK
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(scene.get("/metrics.json")[2])
    assert len(told["figures"]) == 9


@pytest.mark.parametrize("word", ["a\u202eb", "a\nb", "a\u200bb", "\x1b[2J"])
def test_no_command_is_offered_that_hides_something(word: str) -> None:
    assert command_line(("trace", "list", "--where", f"tool:{word}")) == ""


def test_a_command_is_one_whatever_is_in_it() -> None:
    hostile = 'x\'; rm -rf ~; echo "$(id)" `id` #'
    assert shlex.split(command_line(("trace", "list", "--where", hostile))) == [
        "aisecops",
        "trace",
        "list",
        "--where",
        hostile,
    ]
    assert command_line(()) == ""
