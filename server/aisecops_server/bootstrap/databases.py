"""What an operator does to the database of a shared log: make it, look at it, move a log into it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from aisecops_server.adapters.postgres import event_log as shared
from aisecops_server.adapters.postgres import importing, server
from aisecops_server.adapters.postgres.activation_state import SharedActivation
from aisecops_server.adapters.postgres.connection import PostgresConnection
from aisecops_server.adapters.postgres.place import Place, role_in
from aisecops_server.adapters.postgres.readers import SERVER
from aisecops_server.adapters.sqlite.activation_state import ActivationState
from aisecops_server.adapters.sqlite.database import translated
from aisecops_server.bootstrap.store import place_of
from aisecops_server.bootstrap.tenants import read_tenants
from aisecops_server.domain.errors import IntegrityError, InvalidRequestError, LogUnavailableError
from aisecops_server.domain.log.record import LogHead
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


@dataclass(frozen=True, slots=True)
class LetIn:
    """Which roles may use a log from now on."""

    writers: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was done to the schema of one log, and who may use it from now on."""

    schema: str
    migrations: tuple[int, ...]
    let_in: LetIn


def prepare_databases(settings: Settings, url: str, let_in: LetIn | None) -> dict[str, Prepared]:
    """Bring schemas up to date and let roles use them: each tenant's own, made where it is missing, if none is named.

    ``url`` counts before the settings and names the owner. Without ``let_in`` nobody is let in. What was done is
    returned by the tenants' names, by an empty one where there are no tenants; one after the other, so that what
    failed for one may have been done for those before it.

    Raises:
        InvalidRequestError: the tenants cannot be read, no database is named, or one role for several tenants is.
        LogUnavailableError: the database cannot be used, a role is missing, or a newer program made the schema.
    """
    chosen = _chosen(settings)
    if let_in and (let_in.writers or let_in.readers) and len(chosen) > 1:
        raise InvalidRequestError(
            "roles are named for several tenants, and a role that reaches two of them is refused",
            hint="Name the tenant that they are of with --tenant",
            field="tenant",
        )
    return {name: _prepared(own, url or _url(own), let_in) for name, own in chosen.items()}


def _prepared(own: Settings, url: str, let_in: LetIn | None) -> Prepared:
    place = Place(url, own.tenant)
    with _connected(place) as connection:
        taken = server.migrate(connection)
        if let_in is None:
            return Prepared(place.schema, tuple(taken), LetIn())
        if place.tenant and not let_in.writers:
            let_in = replace(let_in, writers=_own_writers(own, connection))
        for group, roles in ((place.writer, let_in.writers), (place.reader, let_in.readers)):
            for role in roles:
                server.allow(connection, role, group=group)
    return Prepared(place.schema, tuple(taken), let_in)


def _own_writers(own: Settings, connection: PostgresConnection) -> tuple[str, ...]:
    """Return who writes the log of a tenant for whom nobody was named: who stands in its settings, or one of its own.

    Where somebody was let in before, nobody is added.
    """
    if role := role_in(own.database_url):
        return (role,)
    return () if server.is_written_by_others(connection) else (server.make_login(connection),)


def database_statuses(settings: Settings, url: str) -> dict[str, DatabaseStatus]:
    """Return what is there by the tenants' names, each as its own role sees it unless ``url`` names one.

    What keeps one tenant's from being looked at is a problem of that one.

    Raises:
        InvalidRequestError: the tenants cannot be read, or no database is named.
        LogUnavailableError: there are no tenants, and the server does not answer.
    """
    found = {}
    for name, own in _chosen(settings).items():
        place = place_of(own.model_copy(update={"database_url": url or _url(own)}))
        try:
            found[name] = database_status(place)
        except LogUnavailableError as error:
            if not place.tenant:
                raise
            problem = f"{error.message}; its owner runs '{server.making(place)}' if it was not made"
            found[name] = DatabaseStatus(
                "", place.role or role_in(place.url), 0, server.migrations()[-1].version, None, (problem,)
            )
    return found


def _chosen(settings: Settings) -> dict[str, Settings]:
    """Return the settings of the tenant that was named, or of all, by name; by an empty one where there are none."""
    tenants = read_tenants(settings)
    if settings.tenants_file is None:
        return {"": settings}
    return {settings.tenant: tenants.of(settings.tenant)} if settings.tenant else dict(tenants.settings)


def _url(settings: Settings) -> str:
    if not settings.database_url:
        of = f" for {settings.tenant}" if settings.tenant else ""
        raise InvalidRequestError(
            f"no database is named{of}", hint="Set database_url, or name one with --url", field="database_url"
        )
    return settings.database_url


def database_status(place: Place) -> DatabaseStatus:
    """Return what is there.

    Raises:
        LogUnavailableError: the server does not answer.
    """
    with _connected(place) as connection:
        name, role = connection.execute("SELECT current_setting('server_version'), current_user::text").get
        version, wanted = server.schema_version(connection), server.migrations()[-1].version
        found = server.problems(connection)
    head = None
    if version == wanted:
        head = asyncio.run(_head(place))
    elif version:
        found.insert(0, f"the schema is version {version}, this program knows {wanted}")
    else:
        found.insert(0, f"it holds no log: its owner runs '{server.making(place)}'")
    return DatabaseStatus(name, role, version, wanted, head, tuple(found))


def import_state(settings: Settings, told: Told, verified: Told) -> LogHead:
    """Move the log of a state directory, and what was live, into the database; return its head, verified there.

    Raises:
        InvalidRequestError: the log in the database is not empty.
        LogUnavailableError: the log or the database cannot be used.
        IntegrityError: what is in the database afterwards does not verify.
    """
    importing.import_log(settings.log_path, place_of(settings), told)
    return asyncio.run(_finish(settings, verified))


async def _finish(settings: Settings, verified: Told) -> LogHead:
    activation = settings.state_dir / "activation.db"
    if activation.is_file():
        await _move_activation(activation, place_of(settings))
    log = await asyncio.to_thread(shared.open_log_read_only, place_of(settings))
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


async def _move_activation(path: Path, place: Place) -> None:
    with contextlib.closing(ActivationState(path)) as kept:
        saved, announced = await kept.load(), await kept.every_announced()
    shared = SharedActivation(place)
    if saved is not None:
        await shared.save(*saved)
    for each in announced:
        await shared.advance(each)


async def _head(place: Place) -> LogHead:
    log = await asyncio.to_thread(shared.open_log_read_only, place)
    try:
        return await log.head()
    finally:
        await log.close()


@contextlib.contextmanager
def _connected(place: Place) -> Iterator[PostgresConnection]:
    with translated("connecting to the database", SERVER):
        connection = PostgresConnection(place)
    with contextlib.closing(connection), translated("using the database", SERVER):
        yield connection
