"""The commands of ``aisecops db``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.configuration import settings, tenant_settings
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import show, talk_console
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.settings import database_problem

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from aisecops_server.bootstrap.databases import DatabaseStatus, LetIn, Prepared

_URL = click.option("--url", help="The database, as a role that owns the log; left out: the setting database_url.")


@command(
    "init",
    examples="""
    aisecops db init --url 'postgresql://owner@db.example/aisecops?sslmode=verify-full' --writer replica
        'replica' is the role that control planes log in as; make it first, without any privilege
    aisecops db init --url "$OWNER_URL" --writer replica --reader auditor
    aisecops db init --url "$OWNER_URL" --tenant shop --reader auditor-of-the-shop
    """,
)
@_URL
@click.option("--writer", "writers", multiple=True, help="A role that control planes log in as; may be repeated.")
@click.option("--reader", "readers", multiple=True, help="A role that may only read; may be repeated.")
def init(*, url: str | None, writers: tuple[str, ...], readers: tuple[str, ...]) -> ExitCode:
    """Make the log in an empty database, and let roles use it.

    Run it as the owner of the database. Control planes log in as another role, which may add to the log and never
    change or delete an event of it. It may be run again: what is there stays, and more roles may be named.

    With a tenants_file each tenant, or the one that --tenant names, gets a schema of its own and a role that reaches
    no other: aisecops_tenant_NAME, or the one of its database_url, unless --writer names or named another. It is made
    without a password or anything else to log in with, which you give it.
    """
    from aisecops_server.bootstrap.databases import LetIn  # noqa: PLC0415

    return _prepared(url, LetIn(writers, readers))


@command("migrate", examples="aisecops db migrate --url 'postgresql://owner@db.example/aisecops?sslmode=verify-full'")
@_URL
def migrate(*, url: str | None) -> ExitCode:
    """Bring the schema of the log up to date, all of it or nothing.

    Control planes of the version before go on working; those that are newer than the schema do not start. With a
    tenants_file it does so for each tenant, one after the other, or for the one that --tenant names.
    """
    return _prepared(url, None)


@command("status", examples="aisecops db status -o json | jq .problems")
@_URL
def status(*, url: str | None) -> ExitCode:
    """Say what the database holds, and what speaks against using it.

    Run it as control planes do, without --url: what is judged is also the role, and with a tenants_file that of each
    tenant, or of the one that --tenant names. Exit code 1 when anything speaks against it.
    """
    from aisecops_server.bootstrap.databases import database_statuses  # noqa: PLC0415

    found = database_statuses(settings(), _checked(url))

    def draw(console: Console) -> None:
        for name, each in found.items():
            _draw(console, name, each)

    show(_document(found), draw)
    return ExitCode.FAILURE if any(each.problems for each in found.values()) else ExitCode.OK


def _draw(console: Console, tenant: str, found: DatabaseStatus) -> None:
    if tenant:
        console.print(tenant, style="bold")
    if found.server:
        console.print(f"PostgreSQL {found.server}, as role {found.role}, schema version {found.schema_version}")
    if found.head:
        console.print(f"{found.head.size:,} events, root {found.head.root.hex()}")
    for problem in found.problems:
        console.print(f"• {problem}", style="red")
    if not found.problems:
        console.print("Nothing speaks against entrusting the log to it.", style="green")


@command("import", examples="aisecops db import --state-dir ./state")
@click.option("--url", help="The database, as control planes log in to it; left out: the setting database_url.")
def bring(*, url: str | None) -> ExitCode:
    """Move the log of a state directory into a database.

    The control plane on it has to be stopped, and the log in the database be empty. The file stays as it is. What is in
    the database is verified, every leaf; start control planes on it only then, with the keys of this state directory.
    """
    from aisecops_server.bootstrap.databases import import_state  # noqa: PLC0415

    moved = tenant_settings().model_copy(update={"database_url": _url(url)})
    with _progress() as (copied, verified):
        head = import_state(moved, copied, verified)

    def draw(console: Console) -> None:
        console.print(f"{head.size:,} events are in the database and verify, root {head.root.hex()}")
        console.print("Start the control plane with database_url set; keep the file until you trust that.", style="dim")

    show({"size": head.size, "root": head.root.hex()}, draw)
    return ExitCode.OK


def _prepared(url: str | None, let_in: LetIn | None) -> ExitCode:
    from aisecops_server.bootstrap.databases import prepare_databases  # noqa: PLC0415

    done = prepare_databases(settings(), _checked(url), let_in)

    def draw(console: Console) -> None:
        for name, each in done.items():
            said = f"schema brought to version {each.migrations[-1]}" if each.migrations else "the schema is up to date"
            let_in = f", used as {', '.join(each.let_in.writers)}" if name and each.let_in.writers else ""
            console.print(f"{name}: {said}{let_in}" if name else said)

    show(
        {**_done(done.get("")), "tenants": [{"tenant": name, **_done(each)} for name, each in done.items() if name]},
        draw,
    )
    return ExitCode.OK


def _done(prepared: Prepared | None) -> dict[str, Any]:
    """Return what was done to one log; for tenants it is said of each."""
    return {
        "schema": prepared.schema if prepared else None,
        "migrations": list(prepared.migrations) if prepared else [],
        "writers": list(prepared.let_in.writers) if prepared else [],
        "readers": list(prepared.let_in.readers) if prepared else [],
    }


def _checked(given: str | None) -> str:
    if given and (problem := database_problem(given)):
        raise InvalidRequestError(f"--url: {problem}", hint="See 'aisecops db init --help'", field="url")
    return given or ""


def _url(given: str | None) -> str:
    url = _checked(given) or tenant_settings().database_url
    if not url:
        raise InvalidRequestError(
            "no database is named", hint="Set database_url, or name one with --url", field="database_url"
        )
    return url


@contextlib.contextmanager
def _progress() -> Iterator[tuple[Callable[[int, int], None], Callable[[int, int], None]]]:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn  # noqa: PLC0415

    talk = talk_console()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal) as progress:
        tasks = [progress.add_task(what, total=None) for what in ("copying", "verifying")]
        copied, verified = (partial(_advance, progress, task) for task in tasks)
        yield copied, verified


def _advance(progress: Progress, task: TaskID, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)


def _document(found: Mapping[str, DatabaseStatus]) -> dict[str, Any]:
    """Return how the one log is; for tenants it is said of each."""
    one = found.get("")
    of_each = [{"tenant": name, **_state(each)} for name, each in found.items() if name]
    return {**_state(one), "problems": _problems(found), "tenants": of_each}


def _problems(found: Mapping[str, DatabaseStatus]) -> list[str]:
    return [f"{name}: {problem}" if name else problem for name, each in found.items() for problem in each.problems]


def _state(found: DatabaseStatus | None) -> dict[str, Any]:
    head = found.head if found else None
    return {
        "server": found.server if found else None,
        "role": found.role if found else None,
        "schema": {"version": found.schema_version, "wanted": found.wanted_version} if found else None,
        "log": {"size": head.size, "root": head.root.hex()} if head else None,
        "problems": list(found.problems) if found else [],
    }
