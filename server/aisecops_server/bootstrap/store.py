"""Where the log is: in the state directory, or in a database that several control planes share."""

from __future__ import annotations

import asyncio

from aisecops_server.adapters.postgres import event_log as shared
from aisecops_server.adapters.postgres.activation_state import SharedActivation
from aisecops_server.adapters.postgres.readers import PostgresReaders
from aisecops_server.adapters.sqlite import event_log as embedded
from aisecops_server.adapters.sqlite.activation_state import ActivationState
from aisecops_server.adapters.sqlite.event_log import SqliteEventLog
from aisecops_server.adapters.sqlite.history import SqliteHistory, open_history
from aisecops_server.settings import Settings


async def open_log(settings: Settings) -> SqliteEventLog:
    """Open the log to append to it.

    Raises:
        LogUnavailableError, IntegrityError: it cannot be opened.
    """
    if settings.database_url:
        return await asyncio.to_thread(shared.open_log, settings.database_url)
    return embedded.open_log(settings.log_path)


async def open_log_read_only(settings: Settings) -> SqliteEventLog:
    """Open the log for reading, whether or not a control plane appends to it.

    Raises:
        LogUnavailableError: there is none.
    """
    if settings.database_url:
        return await asyncio.to_thread(shared.open_log_read_only, settings.database_url)
    return embedded.open_log_read_only(settings.log_path)


def history_of(settings: Settings) -> SqliteHistory:
    """Return the decisions of the log, for replay.

    Raises:
        LogUnavailableError: there is no log.
    """
    return (
        SqliteHistory(PostgresReaders(settings.database_url))
        if settings.database_url
        else open_history(settings.log_path)
    )


def activation_of(settings: Settings) -> ActivationState | SharedActivation:
    """Return where it is kept what is live.

    Raises:
        LogUnavailableError, IntegrityError: it cannot be opened.
    """
    if settings.database_url:
        return SharedActivation(settings.database_url)
    return ActivationState(settings.state_dir / "activation.db")
