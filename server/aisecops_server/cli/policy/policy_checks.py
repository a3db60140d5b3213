"""The commands of ``aisecops policy`` that check."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import Command, command
from aisecops_server.cli.output import say, show
from aisecops_server.cli.progress import progress
from aisecops_server.cli.spelling import camel_case
from aisecops_server.domain.policy.policy_check import CheckName

if TYPE_CHECKING:
    from rich.console import Console

    from aisecops_server.bootstrap.policy import Checking
    from aisecops_server.domain.policy.policy_check import CheckReport

FORMATS = ("markdown", "sarif", "junit", "github", "json")
_DIRECTORY = click.Path(path_type=Path, file_okay=False, exists=True)
_CODES = "Exit code 3 when a check fails."


def _common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what all commands that check take."""
    options = (
        click.argument("directory", type=_DIRECTORY, default=Path()),
        click.option("--base", default="", help="Compare with the commit at which this branch parted from a revision."),
        click.option(
            "--report",
            "reports",
            multiple=True,
            metavar="FORMAT[=FILE]",
            help=f"Write a report too: {', '.join(FORMATS)}. Without a file it goes to standard output.",
        ),
        click.option("--remember", type=click.Path(path_type=Path, file_okay=False), help="Where results are kept."),
        click.option("--anew", is_flag=True, help="Check everything anew, whatever is remembered."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@command(
    "check",
    examples="""
    aisecops policy check                             the policy in this directory
    aisecops policy check --base origin/main          as a pull request is checked
    aisecops policy check --only test --only rules
    aisecops policy check --report github --report sarif=policy.sarif
    """,
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([name.value for name in CheckName]),
    help="Run one check. May be repeated.",
)
@_common
def check(*, only: tuple[str, ...], **asked: Any) -> ExitCode:
    """Check the policy in DIRECTORY as a pull request is checked.

    Formats, types, our own lint, conditions over tables, tests with their coverage, whether tests notice a broken rule,
    golden cases, the signed bundle, and what changed since the base. What was checked before is not checked again.
    Exit code 3 when a check fails.
    """
    return _checked([CheckName(name) for name in only], asked)


@command("fmt", examples="aisecops policy fmt --write")
@click.option("--write", is_flag=True, help="Format the files in place.")
@_common
def fmt(*, write: bool, **asked: Any) -> ExitCode:
    """Check that Rego is formatted as the engine formats it. Exit code 3 when it is not."""
    if not write:
        return _checked([CheckName.FORMAT], asked)
    written = run_checking(lambda checking: _formatted(checking, asked["directory"]))
    show({"written": written}, lambda console: console.print("\n".join(written) or "nothing to format"))
    return ExitCode.OK


def _verb(name: str, check_name: CheckName, text: str, group: str = "policy") -> Command:
    """Return the command that runs one check alone."""

    def run(**asked: Any) -> ExitCode:
        return _checked([check_name], asked)

    run.__doc__ = f"{text} {_CODES}"
    return command(name, examples=f"aisecops {group} {name}")(_common(run))


compile_ = _verb("compile", CheckName.COMPILE, "Check that tables fit their models and Rego compiles.")
lint = _verb("lint", CheckName.LINT, "Check what rules say of themselves, what they do, and who reviews what.")
conftest = _verb("conftest", CheckName.CONFTEST, "Check the conditions over tables, manifest and gates.")
test = _verb("test", CheckName.TEST, "Run the tests of the policy's own rules, and see which lines none runs.")
rules = _verb("rules", CheckName.RULES, "Check that tests notice when a rule never fires, or always does.")
golden = _verb("run", CheckName.GOLDEN, "Decide the golden cases.", group="policy golden")
changes = _verb("changes", CheckName.CHANGES, "Say what changed in meaning since --base, and what was taken away.")


@command("build", examples="aisecops policy build --file bundle.tar.gz")
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="Keep the bundle in a file.")
@_common
def build(*, file: Path | None, **asked: Any) -> ExitCode:
    """Build and sign the bundle, and read it again.

    The key is made for this and kept nowhere: a control plane signs what it serves itself. Exit code 3 when it fails.
    """
    code = _checked([CheckName.COMPILE, CheckName.BUILD], asked)
    if file is not None and code is ExitCode.OK:
        archive = run_checking(lambda checking: _built(checking, asked["directory"]))
        file.write_bytes(archive)
        say(f"wrote {file}")
    return code


def _checked(only: Sequence[CheckName], asked: dict[str, Any]) -> ExitCode:
    reports = [_report(text) for text in asked["reports"]]
    report = run_checking(
        lambda checking: _reported(checking, only, asked), remember=asked["remember"], anew=asked["anew"]
    )
    _show(report, quiet=any(file is None for _, file in reports))
    for name, file in reports:
        _write(report, name, file)
    return ExitCode.OK if report.passed else ExitCode.DENIED


def _show(report: CheckReport, *, quiet: bool) -> None:
    def draw(console: Console) -> None:
        from aisecops_server.terminal.policy_checks import check_block  # noqa: PLC0415

        console.print(check_block(console, report))

    if not quiet:
        show(camel_case(report.as_json()), draw)


def _report(text: str) -> tuple[str, Path | None]:
    name, _, file = text.partition("=")
    if name not in FORMATS:
        raise click.UsageError(f"'{name}' is no report; there are {', '.join(FORMATS)}")
    return name, Path(file) if file else None


def _write(report: CheckReport, name: str, file: Path | None) -> None:
    from aisecops_server.domain.policy import check_reports  # noqa: PLC0415

    text = check_reports.written(report, name)
    if file is None:
        click.echo(text, nl=False)
    else:
        file.write_text(text, encoding="utf-8")
        say(f"wrote {file}")


def run_checking(work: Callable[[Checking], Any], *, remember: Path | None = None, anew: bool = False) -> Any:
    """Do some work with the checks composed, and return what it gives."""
    import tempfile  # noqa: PLC0415

    from aisecops_server.bootstrap.policy import checking  # noqa: PLC0415
    from aisecops_server.cli.configuration import settings  # noqa: PLC0415

    async def run(place: Path | None) -> Any:
        async with checking(settings(), remember=place) as made:
            return await work(made)

    if anew:
        with tempfile.TemporaryDirectory(prefix="aisecops-") as directory:
            return asyncio.run(run(Path(directory)))
    return asyncio.run(run(remember))


async def _reported(checking: Checking, only: Sequence[CheckName], asked: dict[str, Any]) -> CheckReport:
    from aisecops_server.bootstrap.policy import checked_policy  # noqa: PLC0415

    policy, waivers = checked_policy(asked["directory"], today=checking.today, base=asked["base"])
    with progress("checking", "checks") as told:
        return await checking.check(policy, waivers=waivers, only=only, told=told)


async def _formatted(checking: Checking, directory: Path) -> list[str]:
    from aisecops_server.bootstrap.policy import checked_policy  # noqa: PLC0415

    policy, _ = checked_policy(directory, today=checking.today)
    made = await checking.formatter.formatted(policy)
    for path, text in made.items():
        (directory / path).write_bytes(text)
    return sorted(made)


async def _built(checking: Checking, directory: Path) -> bytes:
    from aisecops_server.bootstrap.policy import checked_policy  # noqa: PLC0415

    policy, _ = checked_policy(directory, today=checking.today)
    _, archive = await checking.build.built(policy.tree)
    return archive
