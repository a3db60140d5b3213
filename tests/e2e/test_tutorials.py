from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.e2e import console
from tests.e2e.readers import environment

ROOT = Path(__file__).resolve().parents[2]
# What a reader types word for word; the other how-to pages are fragments for somebody's own machine.
HOW_TO = ROOT / "docs/how-to"
PAGES = [
    *sorted((ROOT / "docs/tutorials").glob("*.md")),
    HOW_TO / "announce-what-a-channel-serves.md",
    HOW_TO / "audit-the-log.md",
    HOW_TO / "authenticate-agents-and-people.md",
    HOW_TO / "change-policy-in-a-pull-request.md",
    HOW_TO / "control-cost-with-budgets.md",
    HOW_TO / "export-evidence.md",
    HOW_TO / "export-to-a-siem.md",
    HOW_TO / "erase-retain-and-hold.md",
    HOW_TO / "find-out-why-a-decision-flips.md",
    HOW_TO / "govern-a-coding-agent.md",
    HOW_TO / "govern-an-agent-of-a-framework.md",
    HOW_TO / "govern-a-python-agent.md",
    HOW_TO / "govern-http-tools.md",
    HOW_TO / "measure-adoption.md",
    HOW_TO / "replay-on-a-cluster.md",
    HOW_TO / "serve-several-tenants.md",
    HOW_TO / "show-auditors-the-controls.md",
    HOW_TO / "govern-an-mcp-client.md",
    HOW_TO / "roll-out-a-policy.md",
    HOW_TO / "rotate-keys.md",
    HOW_TO / "run-beside-an-agent.md",
    HOW_TO / "use-json.md",
    HOW_TO / "verify-grants-in-a-tool-server.md",
    HOW_TO / "screen-prompts-and-outputs.md",
    HOW_TO / "see-what-would-have-been-blocked.md",
    HOW_TO / "watch-for-drift.md",
    HOW_TO / "write-a-rule.md",
]


# The ports that pages listen on, which may be taken here.
PORTS = ("8443", "8480", "8786")


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_what_its_reader_will_see(page: Path, home: Path) -> None:
    if page.stem == "govern-an-agent-of-a-framework":
        pytest.importorskip("langchain", reason="langchain is not installed here: run 'make frameworks'")
    with console.shell(home, environment(home)) as shell:
        text = page.read_text(encoding="utf-8")
        for port in PORTS:
            text = text.replace(port, free_port())
        for part in console.parts(text):
            if isinstance(part, console.Saved):
                shell.save(part)
                continue
            code, printed = shell.run(part)
            assert code == 0, f"$ {part.command}\n{printed}"
            assert console.matches(part.output, printed), (
                f"$ {part.command}\n{printed}\n--- the page shows\n{part.output}"
            )


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("", "anything\n", True),
        ("blocked\n", "noise\nblocked\nmore\n", True),
        ("blocked …\n", "blocked  trace 4f\n", True),
        ("one\n…\nthree\n", "one\ntwo\ntwo\nthree\n", True),
        ("one\n…\nthree\n", "one\nthree\n", True),
        ("blocked\n", "unblocked\n", False),
        ("blocked\n", "blocked not\n", False),
        ("one\nthree\n", "one\ntwo\nthree\n", False),
    ],
)
def test_output_is_compared_line_by_line_with_gaps_only_where_the_page_has_them(
    expected: str, actual: str, *, same: bool
) -> None:
    assert console.matches(expected, actual) is same


def test_a_page_is_read_as_files_and_commands() -> None:
    page = "Save this as `a.json`:\n\n```json\n{}\n```\n\nThen:\n\n```console\n$ one \\\n  two\nout\n$ three\n```\n"
    assert list(console.parts(page)) == [
        console.Saved("a.json", "{}\n"),
        console.Shown("one \\\n  two", "out\n"),
        console.Shown("three", ""),
    ]
