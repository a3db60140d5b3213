"""The commands of ``aisecops policy`` about rules: what one is for, and the catalogue of all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show
from aisecops_server.cli.spelling import camel_case

if TYPE_CHECKING:
    from rich.console import Console

    from aisecops_server.domain.policy.rule_catalogue import Firings, RuleEntry

_DIRECTORY = click.Path(path_type=Path, file_okay=False, exists=True)


def _common(function: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--revision", default="", help="A revision of the checkout. Default: the files as they lie."),
        click.option(
            "--local", is_flag=True, help="Count in the log of the state directory how often rules were found."
        ),
        click.option(
            "--corpus",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="Count in a file that 'policy corpus export' wrote.",
        ),
        click.option("--since", default="30d", show_default=True, help="How old decisions may be: 12h, 30d, 8w."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@command("why", examples="aisecops policy why provenance.destination_dictated --local")
@click.argument("rule", help="A rule's name, as decisions print it.")
@click.option("--directory", type=_DIRECTORY, default=Path(), help="The policy repository. Default: here.")
@_common
def why(*, rule: str, directory: Path, **asked: Any) -> ExitCode:
    """Say what a rule is for, who owns it, what its tests say, and how often it was found."""
    from aisecops_server.domain.errors import NotFoundError  # noqa: PLC0415
    from aisecops_server.domain.tables.table_rejection import meant  # noqa: PLC0415

    _, entries, _ = _read(directory, asked)
    entry = next((each for each in entries if each.rule == rule), None)
    if entry is None:
        close = meant(rule, [each.rule for each in entries])
        raise NotFoundError(f"there is no rule {rule[:80]}{close}", hint="'aisecops policy catalogue' lists them")

    def draw(console: Console) -> None:
        from aisecops_server.terminal.rules import rule_block  # noqa: PLC0415

        console.print(rule_block(entry))

    show({"rule": camel_case(entry.as_json())}, draw)
    return ExitCode.OK


@command("catalogue", examples="aisecops policy catalogue --out rules --local")
@click.argument("directory", type=_DIRECTORY, default=Path())
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write pages here: an index, one a rule.")
@_common
def catalogue(*, directory: Path, out: Path | None, **asked: Any) -> ExitCode:
    """Write pages of all rules of a revision, with owner, mappings, tests, and how often each was found."""
    from aisecops_server.domain.policy.rule_catalogue import pages  # noqa: PLC0415

    revision, entries, firings = _read(directory, asked)
    if out is not None:
        made = pages(entries, revision=revision, decisions=firings.decisions if firings else None)
        out.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            (out / name).write_text(text, encoding="utf-8")
        say(f"wrote {len(made)} pages into {out}")

    def draw(console: Console) -> None:
        from aisecops_server.terminal.rules import rule_table  # noqa: PLC0415

        console.print(rule_table(entries))

    document = {"revision": revision, "rules": [entry.as_json() for entry in entries]}
    show(camel_case(document), draw)
    return ExitCode.OK


def _read(directory: Path, asked: Mapping[str, Any]) -> tuple[str, list[RuleEntry], Firings | None]:
    """Return the name of a revision, its rules, and how often they were found where somebody was asked."""
    from aisecops_server.adapters.git.checkout import Checkout  # noqa: PLC0415
    from aisecops_server.bootstrap.policy import checked_policy  # noqa: PLC0415
    from aisecops_server.cli.policy.policy_checks import run_checking  # noqa: PLC0415

    firings = _firings(asked) if asked["local"] or asked["corpus"] else None

    async def read(checking: Any) -> tuple[str, list[RuleEntry]]:
        policy, _ = checked_policy(directory, today=checking.today)
        name, pages = "the files as they lie", _pages(directory)
        if asked["revision"]:
            checkout = Checkout(directory)
            tree = checkout.tree(checkout.commit_id(asked["revision"]))
            # Pages are no part of policy, so a commit is read without them.
            policy, name, pages = replace(policy, tree=tree, own=frozenset()), tree.commit, {}
        return name, await checking.rules(policy, pages=pages, firings=firings)

    name, entries = run_checking(read)
    return name, entries, firings


def _pages(directory: Path) -> dict[str, str]:
    found = sorted((directory / "rego" / "aisecops" / "rules").glob("*/*/README.md"))
    return {
        path.relative_to(directory).as_posix(): path.read_text(encoding="utf-8", errors="replace") for path in found
    }


def _firings(asked: Mapping[str, Any]) -> Firings:
    from aisecops_server.adapters.corpus.corpus_file import read_corpus  # noqa: PLC0415
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415
    from aisecops_server.bootstrap.store import history_of  # noqa: PLC0415
    from aisecops_server.cli.configuration import tenant_settings  # noqa: PLC0415
    from aisecops_server.cli.policy.policy_impact import since_of  # noqa: PLC0415
    from aisecops_server.domain.replays.replay import Selection  # noqa: PLC0415
    from aisecops_server.usecases.policy.count_firings import CountFirings  # noqa: PLC0415

    begins = since_of(asked["since"], SystemClock().now_ns())

    async def count() -> Firings:
        history = read_corpus(asked["corpus"]) if asked["corpus"] else history_of(tenant_settings())
        try:
            return await CountFirings(history)(Selection(from_micros=int(begins.timestamp()) * 1_000_000))
        finally:
            await history.close()

    return asyncio.run(count())
