"""Where the log is: in the state directory, or in a database that several control planes share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aisecops_server.adapters.postgres.place import Place
from aisecops_server.adapters.sqlite import event_log as embedded
from aisecops_server.adapters.sqlite.activation_state import ActivationState
from aisecops_server.adapters.sqlite.event_log import SqliteEventLog
from aisecops_server.adapters.sqlite.history import SqliteHistory, open_history
from aisecops_server.adapters.sqlite.rollout_state import SqliteRolloutStore
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.ports import Ids
from aisecops_server.settings import Settings

if TYPE_CHECKING:
    from aisecops_server.adapters.postgres.activation_state import SharedActivation
    from aisecops_server.adapters.postgres.rollouts import PostgresRollouts

# What speaks to a database is loaded where there is one: every command would wait for it.


def place_of(settings: Settings) -> Place:
    """Return where the log is in the database that the settings name.

    Raises:
        InvalidRequestError: they are of several tenants, each of which has a log of its own.
    """
    if settings.tenants_file is not None:
        raise InvalidRequestError(
            "each tenant has a log of its own in the database", hint="Name one with --tenant", field="tenant"
        )
    if settings.tenant:
        return Place.of_tenant(settings.database_url, settings.tenant)
    return Place(settings.database_url)


async def open_log(settings: Settings) -> SqliteEventLog:
    """Open the log to append to it.

    Raises:
        LogUnavailableError, IntegrityError: it cannot be opened.
    """
    if settings.database_url:
        from aisecops_server.adapters.postgres import event_log as shared  # noqa: PLC0415

        return await asyncio.to_thread(shared.open_log, place_of(settings))
    return embedded.open_log(settings.log_path)


async def open_log_read_only(settings: Settings) -> SqliteEventLog:
    """Open the log for reading, whether or not a control plane appends to it.

    Raises:
        LogUnavailableError: there is none.
    """
    if settings.database_url:
        from aisecops_server.adapters.postgres import event_log as shared  # noqa: PLC0415

        return await asyncio.to_thread(shared.open_log_read_only, place_of(settings))
    return embedded.open_log_read_only(settings.log_path)


def history_of(settings: Settings) -> SqliteHistory:
    """Return the decisions of the log, for replay.

    Raises:
        LogUnavailableError: there is no log.
    """
    if settings.database_url:
        from aisecops_server.adapters.postgres.readers import PostgresReaders  # noqa: PLC0415

        return SqliteHistory(PostgresReaders(place_of(settings)))
    return open_history(settings.log_path)


def activation_of(settings: Settings) -> ActivationState | SharedActivation:
    """Return where it is kept what is live.

    Raises:
        LogUnavailableError, IntegrityError: it cannot be opened.
    """
    if settings.database_url:
        from aisecops_server.adapters.postgres.activation_state import SharedActivation  # noqa: PLC0415

        return SharedActivation(place_of(settings))
    return ActivationState(settings.state_dir / "activation.db")


def rollouts_of(settings: Settings, ids: Ids) -> SqliteRolloutStore | PostgresRollouts:
    """Return where it is kept what is rolled out, and who asked for changes that wait for more people.

    Raises:
        LogUnavailableError, IntegrityError: it cannot be opened.
    """
    if settings.database_url:
        from aisecops_server.adapters.postgres.rollouts import PostgresRollouts  # noqa: PLC0415

        return PostgresRollouts(place_of(settings), ids.nonce())
    return SqliteRolloutStore(settings.state_dir / "rollout.db")
