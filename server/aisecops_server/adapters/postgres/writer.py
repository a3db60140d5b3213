"""One replica's writer on the log that all replicas share.

Ordering rule: whoever appends holds the row of the log's head until its commit, so indices are given one after the
other, whoever gives them, and what is derived from the log is changed by one at a time. What another replica changed
is found by the size of the log: when it is not as this one left it, nothing in memory is believed any more. A log that
does not continue what was known, because somebody set the database back, seals the replica.

A log on a server is not sealed when the server is away: a commit is there or not, and which of both is asked when the
connection is back. Until then everything is refused.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence

import apsw

from aisecops_server.adapters.postgres.connection import SHORT, PostgresConnection
from aisecops_server.adapters.postgres.place import Place
from aisecops_server.adapters.postgres.readers import SERVER, as_embedded
from aisecops_server.adapters.sqlite.append import Appender, Entry, Result, load_frontier
from aisecops_server.adapters.sqlite.changes import StateTables
from aisecops_server.adapters.sqlite.statements import Question
from aisecops_server.adapters.sqlite.writer import Answer, Request, Writer
from aisecops_server.domain.errors import IntegrityError, LogUnavailableError
from aisecops_server.domain.log.merkle import HASH_BYTES, Frontier
from aisecops_server.domain.log.record import Receipt

_logger = logging.getLogger(__name__)

_HOLD = "SELECT size FROM log_head FOR UPDATE"
# The head, the leaf that was the newest here, which is still there unless the log was set back, and the one that is.
_HEAD = """
    SELECT h.size, h.peaks, (SELECT leaf_hash FROM event WHERE idx = ?),
        (SELECT leaf_hash FROM event WHERE idx = h.size - 1)
    FROM log_head AS h"""
_LEAF = "SELECT leaf_hash FROM event WHERE idx = ?"
_PLACED = "SELECT 1 FROM event WHERE idx = ? AND event_id = ?"
# Sessions in a transaction whose clients have not finished what they began to say. To the server they work, so that
# none of its own bounds ends them, however long nothing comes.
_VANISHED = """
    WITH vanished AS MATERIALIZED (
        SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND usename = current_user AND application_name = 'aisecops'
            AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND state = 'active' AND wait_event = 'ClientRead'
            AND state_change < clock_timestamp() - make_interval(secs => ?)
    )
    SELECT pid, pg_terminate_backend(pid) FROM vanished"""
# What is raised for a server that does not answer, also where it was found again since.
_AWAY = (apsw.IOError, apsw.CantOpenError)
# How many times as long a log is when plans for its tables are made anew.
_GROWN = 2
# How soon a replica sees what another one appended.
_LOOK_SECONDS = 0.2


class PostgresAppender(Appender):
    """Appends to a log to which others append as well."""

    def __init__(self, connection: PostgresConnection, state: StateTables) -> None:
        super().__init__(as_embedded(connection), state)
        self._server = connection
        self._planned_at = self._frontier.size
        # The leaf of the newest event that is known: a log that was set back and grew again has another one there.
        self._newest: bytes = connection.execute(_LEAF, (self._frontier.size - 1,)).get or b""

    def _chance(self, count: int) -> bytes:
        """Return bytes that nobody can guess, without asking the server for them."""
        return os.urandom(count)

    def _begin(self, entries: Sequence[Entry]) -> Frontier:
        known = self._frontier
        self._plan_anew(known.size)
        head = Question(_HEAD, (known.size - 1,))
        try:
            self._server.begin(_HOLD, [head, *self._questions(entries)])
        except apsw.IOError:
            self._end_vanished()
            raise
        size, peaks, before, newest = self._server.execute(head.query, head.bindings).get
        found = Frontier(size, [peaks[at : at + HASH_BYTES] for at in range(0, len(peaks), HASH_BYTES)])
        if found.size != known.size:
            if found.size < known.size or (known.size and before != self._newest):
                raise _set_back(known.size)
            self._newest = newest
            self._frontier = found
            self._traces.reread()
            self._state.reread()
        elif found.peaks != known.peaks:
            raise _set_back(known.size)
        return self._frontier.copy()

    def _plan_anew(self, size: int) -> None:
        if size > _GROWN * (self._planned_at + 1):
            self._planned_at = size
            self._server.forget_plans()

    def _end_vanished(self) -> None:
        """End who may hold the head and is gone, so that whoever asks next gets it."""
        with contextlib.suppress(apsw.Error):
            self._server.connect()
            for pid, _ in self._server.execute(_VANISHED, (SHORT.idle_seconds,)):
                _logger.warning("the session %s of a replica that went silent with a lock in its hands was ended", pid)

    def _end(self, results: Sequence[Result]) -> None:
        receipts = [result for result in results if isinstance(result, Receipt)]
        placed = [receipt for receipt in receipts if receipt.log_index >= self._frontier.size]
        last = max(placed, key=lambda receipt: receipt.log_index, default=None)
        try:
            super()._end(results)
        except apsw.IOError:
            # No answer came: it was made or not.
            if last and not self._is_placed(last):
                raise
        if last:
            self._newest = last.leaf_hash

    def _is_placed(self, receipt: Receipt) -> bool:
        """Return whether a commit without an answer was made, which is certain only when it cannot be any more.

        What was written and the word to make it durable went in one message, so the server may still work on it. It has
        held the head since before that, and whoever holds the head now knows that it is done, one way or the other.
        """
        try:
            return self._looked(receipt)
        except apsw.IOError:
            self._end_vanished()
            return self._looked(receipt)

    def _looked(self, receipt: Receipt) -> bool:
        placed = Question(_PLACED, (receipt.log_index, receipt.event_id))
        self._server.connect()
        self._server.begin(_HOLD, [placed])
        found = self._server.execute(placed.query, placed.bindings).get
        self._server.execute("ROLLBACK")
        return found is not None


def _set_back(size: int) -> apsw.CorruptError:
    return apsw.CorruptError(f"the log in the database is not the one that had {size} events: it was set back")


class PostgresWriter(Writer):
    """Runs a replica's writing thread, and one that looks what others appended."""

    def __init__(self, connection: PostgresConnection, state: StateTables, *, watch: Watch, sealed: str = "") -> None:
        self._server = connection
        self._state = state
        super().__init__(as_embedded(connection), state, sealed=sealed)
        watch.start(self.wake_followers)
        self._watch = watch

    def stop(self) -> None:
        """Finish what was accepted, then take nothing more."""
        super().stop()
        self._watch.stop()

    def _appender(self) -> Appender:
        return PostgresAppender(self._server, self._state)

    def _failed(self, group: list[Request], error: Exception) -> list[Answer]:
        if isinstance(error, apsw.CorruptError):
            self.seal(f"{IntegrityError.reason}: {error}")
        if not isinstance(error, _AWAY):
            return self._seal(group, error)
        refused = LogUnavailableError(f"the database is away ({error})", hint=f"Nothing was allowed. {SERVER}")
        refused.__cause__ = error
        return [(request, refused) for request in group]


class Watch:
    """Looks at the size of the log, and calls back when it grew, whoever made it grow."""

    def __init__(self, where: Place | str, *also: Callable[[], None]) -> None:
        self._where = where
        self._also = also
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, grown: Callable[[], None]) -> None:
        """Begin to look."""
        self._thread = threading.Thread(
            target=self._run, args=((grown, *self._also),), daemon=True, name="audit-log-watch"
        )
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        if self._thread:
            self._thread.join()

    def _run(self, grown: Sequence[Callable[[], None]]) -> None:
        connection: PostgresConnection | None = None
        size = -1
        while not self._over.wait(_LOOK_SECONDS):
            try:
                connection = connection or PostgresConnection(
                    self._where, is_reader=True, patience=SHORT, keeps_plans=True
                )
                if connection.is_lost:
                    connection.connect()
                # One statement is one snapshot by itself.
                found = load_frontier(as_embedded(connection)).size
            except (apsw.Error, ValueError) as error:
                _logger.debug("what others appended cannot be seen: %s", error)
                continue
            if found != size:
                size = found
                for wake in grown:
                    wake()
        if connection:
            connection.close()
