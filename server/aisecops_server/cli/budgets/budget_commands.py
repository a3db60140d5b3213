"""The commands of ``aisecops budget``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show, show_list, when
from aisecops_server.domain.budgets.budget import Metric, Subject, Window

if TYPE_CHECKING:
    from aisecops_client.budgets import Budgets
    from google.protobuf.message import Message
    from rich.console import Console

_NAME = "SUBJECT:ID/METRIC/WINDOW, as 'budget list' shows it."
_SUBJECTS = [subject.value for subject in Subject]
_METRICS = [metric.value for metric in Metric]
_WINDOWS = [window.value for window in Window]


def _ask(question: Callable[[Budgets], Message]) -> dict[str, Any]:
    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        from aisecops_client.budgets import Budgets  # noqa: PLC0415

        return to_json(question(Budgets(client)))


def _now() -> int:
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415

    return SystemClock().now_ns() // 1_000_000_000


@command(
    "list",
    examples="""
    aisecops budget list
    aisecops budget list --subject team --metric micro_usd
    aisecops budget list --id spiffe://corp.example/agent/support-assistant
    aisecops budget list --frozen -o json | jq -r .budgets[].name
    """,
)
@click.option("--subject", type=click.Choice(_SUBJECTS), help="Whose use is counted.")
@click.option("--id", "subject_id", default="", help="The id of an agent, session, team, tenant or tool.")
@click.option("--metric", type=click.Choice(_METRICS), help="What is counted.")
@click.option("--window", type=click.Choice(_WINDOWS), help="How long a period lasts.")
@click.option("--frozen", is_flag=True, help="Only those that refuse everything.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Budgets on a page.")
@click.option("--page", default="", help="The nextPageToken of the page before.")
def list_budgets(*, limit: int, page: str, **narrow: Any) -> ExitCode:
    """List budgets that were used, by name, as they stand in their present period."""
    given = {name: value for name, value in narrow.items() if value}
    found = _ask(lambda budgets: budgets.page(page_size=limit, page_token=page, **given))

    def draw(console: Console) -> None:
        from aisecops_server.terminal.budgets import budget_table  # noqa: PLC0415

        console.print(budget_table(console, found["budgets"], _now()))

    empty = "no budget matches; drop a filter" if given else "no budget was used yet"
    show_list(found, items="budgets", draw=draw, empty=empty)
    if found["nextPageToken"]:
        say(f"more: --page {found['nextPageToken']}")
    return ExitCode.OK


@command("show", examples="aisecops budget show team:customer-support/micro_usd/month")
@click.argument("name", help=_NAME)
def show_budget(*, name: str) -> ExitCode:
    """Show one budget. NAME is SUBJECT:ID/METRIC/WINDOW, as 'budget list' shows it.

    Exit code 3 when it refuses: it is used up or frozen.
    """
    return _shown(_ask(lambda budgets: budgets.budget(name)))


@command("history", examples="aisecops budget history agent:spiffe://corp.example/agent/support-assistant/calls/day")
@click.argument("name", help=_NAME)
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Periods on a page.")
@click.option("--page", default="", help="The nextPageToken of the page before.")
def history(*, name: str, limit: int, page: str) -> ExitCode:
    """Show the periods of a budget, newest first, and what people did to it. NAME is as 'budget list' shows it."""
    found = _ask(lambda budgets: budgets.history(name, page_size=limit, page_token=page))

    def draw(console: Console) -> None:
        from aisecops_server.terminal.budgets import history_block  # noqa: PLC0415

        console.print(history_block(console, found, when))

    show_list(found, items="periods", draw=draw, empty="there are no earlier periods")
    if found["nextPageToken"]:
        say(f"more: --page {found['nextPageToken']}")
    return ExitCode.OK


@command(
    "adjust",
    examples="""
    aisecops budget adjust team:billing/micro_usd/month --by=-500000 --reason "a refund of the provider"
    aisecops budget adjust agent:spiffe://corp.example/agent/a/tokens/day --unfreeze --reason "estimate mended"
    """,
)
@click.argument("name", help=_NAME)
@click.option("--by", type=int, default=0, help="Add this to what was used; negative takes off.")
@click.option("--freeze/--unfreeze", "frozen", default=None, help="Make it refuse everything, or let it go on.")
@click.option("--reason", required=True, help="Kept in the audit log.")
@click.option("--key", default="", help="An idempotency key: the same one again adjusts nothing.")
def adjust(*, name: str, by: int, frozen: bool | None, reason: str, key: str) -> ExitCode:
    """Raise or lower what was used of a budget, freeze it, or let it go on. NAME is as 'budget list' shows it.

    Limits are policy: change them in the policy repository.
    """
    _shown(_ask(lambda budgets: budgets.adjust(name, by=by, frozen=frozen, reason=reason, idempotency_key=key)))
    return ExitCode.OK


@command("release", examples='aisecops budget release dec-0123 --step s2 --reason "the agent was stopped before it"')
@click.argument("decision", help="The decision that reserved.")
@click.option("--step", "steps", multiple=True, help="A call that did not run; without any, all that are open.")
@click.option("--reason", required=True, help="Kept in the audit log.")
def release(*, decision: str, steps: tuple[str, ...], reason: str) -> ExitCode:
    """Give back what was reserved for calls that did not run and will not. DECISION is the decision that reserved."""
    found = _ask(lambda budgets: budgets.release(decision, step_ids=steps, reason=reason))

    def draw(console: Console) -> None:
        left = found["openStepIds"]
        open_ones = f", still open: {', '.join(left)}" if left else ""
        console.print(f"{decision}: {found['state'].lower()}{open_ones}", soft_wrap=True)

    show(found, draw)
    return ExitCode.OK


def _shown(found: Mapping[str, Any]) -> ExitCode:
    def draw(console: Console) -> None:
        from aisecops_server.terminal.budgets import budget_block  # noqa: PLC0415

        console.print(budget_block(console, found, _now(), when))

    show({"budget": found}, draw)
    return ExitCode.DENIED if found["frozen"] or int(found["remaining"]) == 0 else ExitCode.OK
