"""``aisecops hook`` among the commands. What runs at each use of a tool is ``aisecops_hook``, without all of this."""

from __future__ import annotations

import sys

import click
from aisecops_hook.events import EVENTS
from aisecops_hook.main import CLIENTS, main

from aisecops_server.cli.invocation import command


@command(
    "hook",
    examples="""
    aisecops hook install --client claude-code      from now on each use of a tool is decided first
    aisecops hook install --client claude-code --undo
    aisecops hook --client gemini-cli --event BeforeTool --token-file agent.token < event.json
    """,
)
@click.argument("install", type=click.Choice(["install"]), required=False)
@click.option("--client", type=click.Choice(CLIENTS), help="Which agent it is; claude-code unless said.")
@click.option("--event", type=click.Choice(EVENTS), help="The event, where the agent does not send its name.")
@click.option(
    "--socket", help="That of the control plane or edge; run/aisecops.http in the state directory unless said."
)
@click.option("--token-file", help="Who the agent is; AISECOPS_TOKEN_FILE unless said.")
@click.option("--environment", help="Where it acts; development unless said.")
@click.option(
    "--tool", multiple=True, metavar="NAME=TOOL", help="What policy calls a tool of the agent, `server/tool`."
)
@click.option("--memory", help="The folder where sessions are kept; hook beside the socket unless said.")
@click.option("--seconds", type=float, help="How long an answer may take.")
@click.option("--settings", help="For install: the file of settings; .claude/settings.json unless said.")
@click.option("--undo", is_flag=True, help="For install: take the hook out again.")
@click.pass_context
def hook(context: click.Context, /, **_given: object) -> None:
    """Answer a coding agent that is about to use a tool: 0 lets it go on, 2 refuses, and every error is a 2.

    The event comes on stdin, in the form of Claude Code, Codex, Gemini CLI or Copilot. `aisecops hook install` writes
    the hook into the settings of Claude Code.
    """
    # Here are the names; the words themselves are read by what reads them when an agent calls.
    words = sys.argv[1:]
    context.exit(main(words[words.index("hook") + 1 :]))
