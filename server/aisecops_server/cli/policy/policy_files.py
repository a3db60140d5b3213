"""The commands of ``aisecops policy`` that write files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show
from aisecops_server.domain.decisions.decision import Effect, Severity

_DIRECTORY = click.Path(path_type=Path, file_okay=False, exists=True)


@command("init", examples="aisecops policy init ./policy && aisecops policy check ./policy")
@click.argument("directory", type=click.Path(path_type=Path), help="A folder that is not there yet.")
def init(*, directory: Path) -> ExitCode:
    """Make a policy repository that passes its own checks.

    DIRECTORY becomes a Git repository with one commit: tables, the rule library, two rules of its own to start from,
    golden cases, conditions, CODEOWNERS by role, workflows for GitHub and GitLab, and schemas for editors.
    """
    from aisecops_server.adapters.bundles.schemas import schema_files, with_modeline  # noqa: PLC0415
    from aisecops_server.adapters.git.create import create_policy_repository  # noqa: PLC0415
    from aisecops_server.adapters.git.shipped import shipped_policy, starter_files  # noqa: PLC0415
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415

    held = {**shipped_policy(), **starter_files()}
    files = {**{path: with_modeline(path, content) for path, content in held.items()}, **schema_files()}
    at_seconds = SystemClock().now_ns() // 1_000_000_000
    commit = create_policy_repository(directory.absolute(), at_seconds=at_seconds, files=files)
    show(
        {"path": str(directory.absolute()), "commit": commit, "branch": "main", "files": len(files)},
        lambda console: console.print(f"{directory.absolute()} at {commit}", soft_wrap=True),
    )
    say(f"next: aisecops policy check {directory}")
    return ExitCode.OK


@command(
    "new-rule",
    examples="""
    aisecops policy new-rule business/refund_at_night --effect require_approval --tool crm/issue_refund
    """,
)
@click.argument("name", help="CATEGORY/RULE, in small letters.")
@click.option("--directory", type=_DIRECTORY, default=Path(), help="The policy repository. Default: here.")
@click.option("--effect", type=click.Choice([effect.value for effect in Effect]), default=Effect.DENY.value)
@click.option("--severity", type=click.Choice([severity.value for severity in Severity]), default=Severity.MEDIUM.value)
@click.option("--owner", default="platform-security", show_default=True, help="The team that answers for it.")
@click.option("--title", default="", help="What is wrong, in a few words. Default: the name.")
@click.option("--tool", default="example/tool", show_default=True, help="The tool that it begins with.")
def new_rule(*, name: str, directory: Path, effect: str, severity: str, owner: str, title: str, tool: str) -> ExitCode:
    """Write a rule, its tests and its page from one template, which pass every check as they are."""
    from aisecops_server.domain.policy.rule_template import NewRule, rule_files  # noqa: PLC0415

    words = title or name.rpartition("/")[2].replace("_", " ").capitalize()
    files = rule_files(NewRule(name, Effect(effect), Severity(severity), owner, words, tool))
    _write(directory, files)
    show({"written": sorted(files)}, lambda console: console.print("\n".join(sorted(files))))
    say("next: say what it is about, then 'aisecops policy check --only test --only rules'")
    return ExitCode.OK


@command("schemas", examples="aisecops policy schemas")
@click.argument("directory", type=_DIRECTORY, default=Path())
def schemas(*, directory: Path) -> ExitCode:
    """Write the JSON Schemas of all tables into .schemas/, and into each YAML file the line that names its schema."""
    from aisecops_server.adapters.bundles.schemas import schema_files, with_modeline  # noqa: PLC0415
    from aisecops_server.adapters.bundles.working_copy import read_working_copy  # noqa: PLC0415

    held = read_working_copy(directory)
    lined = {path: with_modeline(path, content) for path, content in held.items()}
    made = {**schema_files(), **lined}
    changed = {path: content for path, content in made.items() if content != held.get(path, _content(directory, path))}
    for path, content in changed.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
    show({"written": sorted(changed)}, lambda console: console.print("\n".join(sorted(changed)) or "all are current"))
    return ExitCode.OK


def _content(directory: Path, path: str) -> bytes:
    file = directory / path
    return file.read_bytes() if file.is_file() else b""


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write new files; none is there afterwards when one of them was there before."""
    from aisecops_server.domain.errors import InvalidRequestError  # noqa: PLC0415

    there = [path for path in files if (directory / path).exists()]
    if there:
        raise InvalidRequestError(f"{there[0]} is there already", hint="Give the rule another name", field="name")
    for path, content in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
