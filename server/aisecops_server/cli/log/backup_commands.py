"""The commands of ``aisecops backup``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.configuration import tenant_settings
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show, talk_console, when
from aisecops_server.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from aisecops_server.domain.log.backup import Backup

_FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
_AGAINST = click.option(
    "--against",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A head of the log that you kept elsewhere, from 'log head -o json'.",
)


@command("make", examples="aisecops backup make /backup/monday -o json | jq -r .log.root")
@_FOLDER
def make(*, folder: Path) -> ExitCode:
    """Copy the state of a control plane, which may run, into a new FOLDER.

    The log, what stands beside it, bundles and keys, as of one moment. It holds private keys and everything that agents
    wrote: keep it as you keep the state directory. Keep the root that is printed somewhere else.
    """
    from aisecops_server.bootstrap.backups import make_backup  # noqa: PLC0415

    if tenant_settings().database_url:
        raise InvalidRequestError(
            "the log is in a database, of which this makes no copy",
            hint="Back the database up with its own tools, and copy 'keys' of the state directory",
            field="database_url",
        )
    with _progress("copying") as told:
        made = asyncio.run(make_backup(tenant_settings().state_dir, folder, told=told))
    _show(folder, made, "backed up to")
    return ExitCode.OK


@command("verify", examples="aisecops backup verify /backup/monday --against head.json")
@_FOLDER
@_AGAINST
def verify(*, folder: Path, against: Path | None) -> ExitCode:
    """Verify every file of a backup, and every leaf of its log.

    With --against also that the log of the backup is the one that had that head, or says how many entries it misses.
    Exit code 9 when anything does not verify.
    """
    from aisecops_server.bootstrap.backups import verify_backup  # noqa: PLC0415
    from aisecops_server.cli.log.local_log import kept_head  # noqa: PLC0415

    kept = kept_head(against) if against else None
    with _progress("verifying") as told:
        found = asyncio.run(verify_backup(folder, told=told, kept=kept))
    missing = max(0, kept.size - found.head.size) if kept else 0
    _show(folder, found, "sound:", missing=missing)
    return ExitCode.UNVERIFIED if missing else ExitCode.OK


@command(
    "restore",
    examples='aisecops backup restore /backup/monday --state-dir ./new --reason "disk failed" --against head.json',
)
@_FOLDER
@click.option("--reason", required=True, help="Why; it stands in the log for good.")
@_AGAINST
@click.option("--accept-loss", is_flag=True, help="Restore although entries are known to be missing.")
def restore(*, folder: Path, reason: str, against: Path | None, accept_loss: bool) -> ExitCode:
    """Put a backup where a control plane finds it: into the state directory, which has to be empty.

    It is verified first. What was open in it is taken back, since it may have been used since: people are asked anew.
    The log says that it was restored, by whom and why. Give --against, the newest head that was kept elsewhere: it
    shows what the backup misses, and such a backup is refused unless you accept the loss.
    """
    import getpass  # noqa: PLC0415

    from aisecops_server.bootstrap.backups import RestoreOrder, restore_backup  # noqa: PLC0415
    from aisecops_server.cli.log.local_log import kept_head  # noqa: PLC0415
    from aisecops_server.domain.callers.identity import Principal, PrincipalId  # noqa: PLC0415

    by = Principal(PrincipalId(f"local:{getpass.getuser()}"), "operating system", frozenset())
    order = RestoreOrder(by, reason, kept_head(against) if against else None, accept_loss)
    state = tenant_settings().state_dir
    with _progress("verifying") as told:
        found, done = asyncio.run(restore_backup(folder, state, order, told=told))
    _show(
        folder,
        found,
        f"restored to {state} from",
        approvals=done.approvals,
        grants=done.grants,
        logIndex=done.log_index,
    )
    if done.approvals or done.grants:
        say(f"{done.approvals} approvals and {done.grants} grants were taken back; people are asked anew")
    if against is None:
        say("nothing shows whether entries are missing: --against, with a head that was kept elsewhere, would have")
    return ExitCode.OK


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn  # noqa: PLC0415

    talk = talk_console()
    columns = (TextColumn(what), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _show(folder: Path, found: Backup, what: str, **more: int) -> None:
    document: dict[str, Any] = {
        "folder": str(folder),
        "madeAtSeconds": found.made_at_seconds,
        "log": {"id": found.log_id, "size": found.head.size, "root": found.head.root.hex()},
        "files": len(found.files),
        **more,
    }
    lines = [f"{what} {folder}: {found.head.size:,} entries, {len(found.files)} files", f"root {found.head.root.hex()}"]
    if more.get("missing"):
        lines.append(f"{more['missing']:,} entries of the head that was kept are missing")
    made = datetime.fromtimestamp(found.made_at_seconds, tz=UTC).isoformat().replace("+00:00", "Z")
    lines.append(f"made {when(made)}")
    show(document, lambda console: console.print("\n".join(lines), soft_wrap=True))
