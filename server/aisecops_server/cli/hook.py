"""``aisecops hook`` among the commands. What runs at each use of a tool is ``aisecops_hook``, without all of this."""

from __future__ import annotations

import click
from aisecops_hook.main import main


@click.command(
    "hook",
    context_settings={"ignore_unknown_options": True},
    add_help_option=False,
    epilog="'aisecops hook --help' has the options.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def hook(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Answer a coding agent that is about to use a tool: 0 lets it go on, 2 refuses, and every error is a 2.

    The event comes on stdin, in the form of Claude Code, Codex, Gemini CLI or Copilot. `aisecops hook install` writes
    it into the agent's settings.
    """
    context.exit(main(list(arguments)))
