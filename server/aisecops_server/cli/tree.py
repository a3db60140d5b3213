"""The command tree. A command's module is imported when it runs or shows its own help, never before.

The short helps stand here, so that ``aisecops --help`` imports nothing; a test holds them against the
commands' own.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import click
from click.shell_completion import CompletionItem

from aisecops_server.cli.invocation import global_options, write_examples, write_global_names


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives and what it is for, in one line."""

    target: str
    short_help: str


class LazyGroup(click.Group):
    """A group that knows its commands by name only."""

    def __init__(self, *args: Any, entries: Mapping[str, Entry], examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entries = entries
        self.examples = examples
        self.params = [*self.params, *global_options()]

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is Click's
        """Return the names in the order of the tree, which is the order in which people need them."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one command."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        loaded: click.Command = getattr(importlib.import_module(module), attribute)
        return loaded

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a name, and on a wrong one suggest what may have been meant."""
        name = args[0]
        if name not in self.entries and not name.startswith("-"):
            raise click.UsageError(
                f"no command '{name}' in '{ctx.command_path}'.{did_you_mean(name, self.entries)}", ctx
            )
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names from the tree, importing no command."""
        found = [
            CompletionItem(name, help=entry.short_help)
            for name, entry in self.entries.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, which is what people look for, and then options: in full for the program itself only."""
        self.format_commands(ctx, formatter)
        if ctx.parent is None:
            click.Command.format_options(self, ctx, formatter)
        else:
            write_global_names(formatter, ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands from the tree."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.short_help) for name, entry in self.entries.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then what Click would."""
        write_examples(formatter, self.examples)
        super().format_epilog(ctx, formatter)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a sentence with the names that look like ``word``, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.55)
    return f" Did you mean {' or '.join(repr(name) for name in close)}?" if close else ""


def group(name: str, *, help: str, entries: Mapping[str, Entry], examples: str = "") -> LazyGroup:
    """Return a group of commands."""
    return LazyGroup(name=name, help=help, entries=entries, examples=examples, no_args_is_help=True)
