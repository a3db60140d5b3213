"""``aisecops completion``: the script that a shell reads."""

from __future__ import annotations

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command

SHELLS = ("bash", "zsh", "fish")


@command(
    "completion",
    examples="""
    source <(aisecops completion bash)                             for this shell
    aisecops completion fish > ~/.config/fish/completions/aisecops.fish
    """,
)
@click.argument("shell", type=click.Choice(SHELLS), help="The shell that reads it.")
def completion(*, shell: str) -> ExitCode:
    """Print shell completion for bash, zsh or fish."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    from aisecops_server.cli.main import cli  # noqa: PLC0415

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    made = kind(cli, {}, "aisecops", "_AISECOPS_COMPLETE")
    # The template alone: asking for the shell's version here would need that shell to be installed.
    click.echo(made.source_template % made.source_vars())
    return ExitCode.OK
