"""The command page, from the command tree itself."""

from __future__ import annotations

from collections.abc import Iterator

import click
from aisecops_server.cli.exit_codes import MEANINGS
from aisecops_server.cli.invocation import global_options
from aisecops_server.cli.main import cli

from docs.generate.markdown import code, one_line, table

INTRODUCTION = """# Commands

Data goes to standard output, everything else to standard error. `-o json` holds for results, empty results and
errors alike; its shapes are the API's messages. `aisecops COMMAND --help` says the same as this page.

"""


def page() -> str:
    """Return the page."""
    context = click.Context(cli, info_name="aisecops")
    options = table(["option", "meaning"], _records(global_options(), context))
    codes = table(["code", "meaning"], [[str(int(number)), meaning] for number, meaning in MEANINGS.items()])
    commands = "\n".join(_commands(cli, context))
    return f"{INTRODUCTION}## Options of every command\n\n{options}\n## Exit codes\n\n{codes}\n{commands}"


def _commands(command: click.Command, context: click.Context) -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield _section(command, context)
        return
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        if found is not None and not found.hidden:
            yield from _commands(found, click.Context(found, info_name=name, parent=context))


def _section(command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    own = getattr(command, "own", command.params)
    rows = _records([item for item in own if isinstance(item, click.Option)], context)
    options = "\n" + table(["option", "meaning"], rows) if rows else ""
    examples = "".join(_examples(getattr(command, "examples", "").strip().splitlines()))
    shown = f"\n```console\n{examples}```\n" if examples else ""
    text = "\n\n".join(one_line(part) for part in (command.help or "").replace("\b", "").split("\n\n"))
    return f"## {context.command_path}\n\n{text}\n\n```text\n{usage}\n```\n{options}{shown}"


def _examples(lines: list[str]) -> Iterator[str]:
    """Yield each example as a comment and the command; a line that is no command is about the one before it."""
    pairs: list[tuple[str, str]] = []
    for line in map(str.strip, lines):
        if line.startswith("aisecops"):
            typed, _, meaning = line.partition("  ")
            pairs.append((typed, meaning.strip()))
        elif pairs:
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]} {line}".strip())
    for typed, meaning in pairs:
        yield (f"# {meaning}\n" if meaning else "") + f"$ {typed}\n"


def _records(options: list[click.Option] | list[click.Parameter], context: click.Context) -> list[list[str]]:
    records = [option.get_help_record(context) for option in options]
    return [[code(record[0]), record[1]] for record in records if record]
