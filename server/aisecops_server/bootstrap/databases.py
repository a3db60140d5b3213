"""What an operator does to the database of a shared log: make it, look at it, move a log into it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.adapters.postgres import event_log as shared
from aisecops_server.adapters.postgres import importing, server
from aisecops_server.adapters.postgres.activation_state import SharedActivation
from aisecops_server.adapters.postgres.connection import PostgresConnection
from aisecops_server.adapters.postgres.readers import SERVER
from aisecops_server.adapters.sqlite.activation_state import ActivationState
from aisecops_server.adapters.sqlite.database import translated
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.record import LogHead
from aisecops_server.settings import Settings

Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """What a database is, and what speaks against entrusting the log to it."""

    server: str
    role: str
    schema_version: int
    wanted_version: int
    head: LogHead | None
    problems: tuple[str, ...]


def prepare_database(url: str, *, writers: Sequence[str], readers: Sequence[str]) -> list[int]:
    """Bring the schema up to date, let roles use it, and return the steps that were taken.

    Raises:
        LogUnavailableError: the database cannot be used, a role is missing, or a newer program made the schema.
    """
    with _connected(url) as connection:
        taken = server.migrate(connection)
        for group, roles in ((server.WRITER, writers), (server.READER, readers)):
            for role in roles:
                server.allow(connection, role, group=group)
    return taken


def database_status(url: str) -> DatabaseStatus:
    """Return what is there.

    Raises:
        LogUnavailableError: the server does not answer.
    """
    with _connected(url) as connection:
        name, role = connection.execute("SELECT current_setting('server_version'), current_user::text").get
        version, wanted = server.schema_version(connection), server.migrations()[-1].version
        found = server.problems(connection)
    head = None
    if version == wanted:
        head = asyncio.run(_head(url))
    elif version:
        found.insert(0, f"the schema is version {version}, this program knows {wanted}")
    else:
        found.insert(0, "it holds no log: its owner runs 'aisecops db init'")
    return DatabaseStatus(name, role, version, wanted, head, tuple(found))


def import_state(settings: Settings, told: Told, verified: Told) -> LogHead:
    """Move the log of a state directory, and what was live, into the database; return its head, verified there.

    Raises:
        InvalidRequestError: the log in the database is not empty.
        LogUnavailableError: the log or the database cannot be used.
        IntegrityError: what is in the database afterwards does not verify.
    """
    importing.import_log(settings.log_path, settings.database_url, told)
    return asyncio.run(_finish(settings, verified))


async def _finish(settings: Settings, verified: Told) -> LogHead:
    activation = settings.state_dir / "activation.db"
    if activation.is_file():
        await _move_activation(activation, settings.database_url)
    log = await asyncio.to_thread(shared.open_log_read_only, settings.database_url)
    try:
        report = await log.verify(verified)
    finally:
        await log.close()
    if not report.ok:
        raise IntegrityError(
            f"what was imported does not verify: {report.problem}",
            hint="Go on with the file, which was not changed, and run 'aisecops log verify' on it",
        )
    return report.recomputed


async def _move_activation(path: Path, url: str) -> None:
    with contextlib.closing(ActivationState(path)) as kept:
        saved, announced = await kept.load(), await kept.every_announced()
    shared = SharedActivation(url)
    if saved is not None:
        await shared.save(*saved)
    for each in announced:
        await shared.advance(each)


async def _head(url: str) -> LogHead:
    log = await asyncio.to_thread(shared.open_log_read_only, url)
    try:
        return await log.head()
    finally:
        await log.close()


@contextlib.contextmanager
def _connected(url: str) -> Iterator[PostgresConnection]:
    with translated("connecting to the database", SERVER):
        connection = PostgresConnection(url)
    with contextlib.closing(connection), translated("using the database", SERVER):
        yield connection
