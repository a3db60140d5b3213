from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from aisecops_server.cli.exit_codes import MEANINGS, ExitCode
from aisecops_server.cli.main import cli, run
from aisecops_server.cli.tree import LazyGroup, did_you_mean

# What must not be imported to print help: each costs more than all of Click.
HEAVY = {"rich", "grpc", "pydantic", "yaml", "google", "apsw", "git", "aisecops", "cryptography"}
HELP_COLUMNS = 80


def commands(group: LazyGroup, path: str = "aisecops") -> Iterator[tuple[str, str, click.Command]]:
    for name, entry in group.entries.items():
        command = group.get_command(click.Context(group), name)
        assert command is not None
        yield f"{path} {name}", entry.short_help, command
        if isinstance(command, LazyGroup):
            yield from commands(command, f"{path} {name}")


def test_help_imports_nothing_that_draws_calls_or_validates() -> None:
    code = (
        "import sys; from aisecops_server.cli.main import run; code = run(['--help']); "
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {word.strip("[]',\n") for word in done.stderr.split()}
    assert "click" in loaded
    assert loaded & HEAVY == set()


def test_help_lists_every_command_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in cli.entries if f"  {name} " not in shown] == []
    assert [code for code in ExitCode if f"  {int(code)} " not in shown] == []
    assert max(map(len, shown.splitlines())) <= HELP_COLUMNS


def test_every_exit_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ExitCode)


def test_every_command_loads_and_teaches_by_examples() -> None:
    found = list(commands(cli))
    assert [path for path, _, command in found if not command.help] == []
    assert [path for path, _, command in found if not getattr(command, "examples", "").strip()] == []
    assert [path for path, short, _ in found if not short.endswith(".")] == []


def test_every_example_is_a_line_that_can_be_parsed() -> None:
    starts = {path for path, _, _ in commands(cli)}
    lines = [
        line.strip()
        for _, _, command in commands(cli)
        for line in getattr(command, "examples", "").splitlines()
        if line.strip().startswith("aisecops ")
    ]
    assert lines
    assert [line for line in lines if not any(f"{line} ".startswith(f"{start} ") for start in starts)] == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [(["trce"], "'trace'"), (["bundle", "activte"], "'activate'"), (["engine", "instal"], "'install'")],
)
def test_a_misspelt_command_is_answered_with_what_was_meant(
    typed: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(typed) == ExitCode.USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"Did you mean {meant}" in shown.err


def test_a_word_like_no_command_gets_no_suggestion() -> None:
    assert did_you_mean("zzzzzz", cli.entries) == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_bound_to_the_name_that_people_type(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_AISECOPS_COMPLETE" in script
    assert "aisecops" in script


def test_completion_answers_the_shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("_AISECOPS_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "aisecops bundle ro")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert run([]) == 0
    assert capsys.readouterr().out.splitlines() == ["plain,rollback"]


def test_what_an_example_is_for_stands_beside_it_or_indented_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["decide", "--help"]) == 0
    examples = capsys.readouterr().out.partition("Examples:\n")[2].splitlines()
    assert "  aisecops decide -f plan.json --agent ID --dry-run" in examples
    assert "      what would be decided; grants nothing" in examples
    assert "      ask as the agent that the token proves" in examples
    assert [line for line in examples if not line.startswith(("  aisecops decide ", "      "))] == []
