"""The options that every command understands, before or after the command's name."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

OUTPUTS = ("table", "json", "ndjson")
COLORS = ("auto", "always", "never")
TIMES = ("utc", "local")
_EXAMPLE_COLUMNS = 76
_INSTEAD = ("--local", "--corpus")


@dataclass(frozen=True, slots=True)
class Invocation:
    """How this run was asked to behave. Empty fields were not given."""

    server: str = ""
    token_file: str = ""
    ca: str = ""
    cert: str = ""
    cert_key: str = ""
    state_dir: str = ""
    tenant: str = ""
    output: str = "table"
    color: str = "auto"
    time: str = "utc"
    quiet: bool = False
    # By which options of its own the running command does without a control plane.
    instead: tuple[str, ...] = ()

    @property
    def machine(self) -> bool:
        """Return whether a program reads the output."""
        return self.output != "table"


def current() -> Invocation:
    """Return the options of the running command."""
    context = click.get_current_context(silent=True)
    found = context.find_root().obj if context else None
    return found if isinstance(found, Invocation) else Invocation()


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is None or parameter.name is None:
        return
    root = context.find_root()
    root.obj = replace(root.obj or Invocation(), **{parameter.name: value})


def _option(*names: str, help: str, **kwargs: Any) -> click.Option:
    # Not given is None, so that an option after the command's name does not undo the same one before it.
    return click.Option(names, help=help, default=None, expose_value=False, callback=_remember, is_eager=True, **kwargs)


def global_options() -> list[click.Parameter]:
    """Return fresh options; each command carries its own so that they may stand anywhere on the line."""
    return [
        _option("-o", "--output", help="How to print data.", type=click.Choice(OUTPUTS)),
        _option(
            "--server",
            help="Control plane: unix:PATH or HOST:PORT. Default: AISECOPS_SERVER, or the state directory's socket.",
            metavar="ADDRESS",
        ),
        _option(
            "--token-file", help="File with the token to send; or AISECOPS_TOKEN_FILE.", type=click.Path(dir_okay=False)
        ),
        _option(
            "--ca",
            help="Authority of the control plane's certificate: a PEM file, or 'system'; or AISECOPS_CA_FILE.",
            metavar="FILE",
        ),
        _option(
            "--cert",
            help="Client certificate that says who asks; or AISECOPS_CERT_FILE.",
            type=click.Path(dir_okay=False),
        ),
        _option("--cert-key", help="Its key. Default: beside it, ending in .key.", type=click.Path(dir_okay=False)),
        _option("--state-dir", help="State directory.", type=click.Path(file_okay=False)),
        _option(
            "--tenant", help="Which tenant this is about, where there are several; or AISECOPS_TENANT.", metavar="NAME"
        ),
        _option("--color", help="When to use colour; NO_COLOR is honoured.", type=click.Choice(COLORS)),
        _option("--time", help="How to print times.", type=click.Choice(TIMES)),
        _option("-q", "--quiet", help="Say nothing on standard error but errors.", is_flag=True, flag_value=True),
    ]


class Command(click.Command):
    """A command with the global options and, in its help, examples set apart."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.own = list(self.params)
        said = {name for item in self.own for name in item.opts}
        self.params = [*self.params, *(item for item in global_options() if said.isdisjoint(item.opts))]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and remember by what it could do without a control plane, for when none answers."""
        root, own = ctx.find_root(), {name for item in self.own for name in item.opts}
        root.obj = replace(root.obj or Invocation(), instead=tuple(name for name in _INSTEAD if name in own))
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options; the global ones by name."""
        own = [
            record
            for item in self.own
            if not isinstance(item, click.Argument) and (record := item.get_help_record(ctx))
        ]
        if own:
            with formatter.section("Options"):
                formatter.write_dl(own)
        write_global_names(formatter, ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(formatter, self.examples)
        super().format_epilog(ctx, formatter)


def write_global_names(formatter: click.HelpFormatter, ctx: click.Context) -> None:
    """Write what every command understands by name only: the explanations stand once, in the help of the program."""
    names = ", ".join("/".join(item.opts) for item in global_options())
    with formatter.section("Options of every command"):
        formatter.write_text(f"{names}; '{ctx.find_root().command_path} --help' says what they do")


def write_examples(formatter: click.HelpFormatter, examples: str) -> None:
    """Write one example a line, as typed; what it is for goes below it where the line would be too long."""
    lines = [line.rstrip() for line in textwrap.dedent(examples.strip("\n")).splitlines() if line.strip()]
    if lines:
        with formatter.section("Examples"):
            margin = " " * formatter.current_indent
            formatter.write("".join(f"{margin}{part}\n" for line in lines for part in _parts(line)))


def _parts(line: str) -> list[str]:
    if line.startswith(" "):
        return [f"    {line.strip()}"]
    typed, _, meaning = line.partition("  ")
    return [line] if len(line) <= _EXAMPLE_COLUMNS or not meaning else [typed, f"    {meaning.strip()}"]


def command(name: str, *, examples: str = "") -> Callable[[Callable[..., Any]], Command]:
    """Return a decorator that makes a function a command."""

    def wrap(function: Callable[..., Any]) -> Command:
        made: Command = click.command(name, cls=Command, examples=examples)(function)
        return made

    return wrap


def state_path(invocation: Invocation) -> Path | None:
    """Return the state directory that was asked for on the command line, if any."""
    return Path(invocation.state_dir).expanduser().absolute() if invocation.state_dir else None
