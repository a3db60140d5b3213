"""Rollouts in a database that replicas share: what they read of it again and again, and what each adds beside it.

What moves a rollout goes through the log (``rollout_table``). Whatever is written here can be written again: a share is
a replica's own row and replaced whole, and a tally that was counted less far changes nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson

from aisecops_server.adapters.postgres.connection import SHORT, PostgresConnection
from aisecops_server.adapters.postgres.place import Place
from aisecops_server.adapters.postgres.readers import SERVER, as_embedded
from aisecops_server.adapters.sqlite.append import load_frontier
from aisecops_server.adapters.sqlite.database import translated
from aisecops_server.adapters.sqlite.stored import rollout_events
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.rollouts.rollout import Proposal, Rollout, Voice, read_rollout
from aisecops_server.domain.rollouts.rollout_tally import Tally, read_tally
from aisecops_server.ports.rollout import KnownRollout, SeenSteps

R = TypeVar("R")

_AT_ONCE = 500
# A replica that said longer ago that it takes no part has gone, or takes part by now.
_CURRENT_SECONDS = 20
_RECENT = "SELECT rollout_id, body, tally FROM rollout ORDER BY number DESC LIMIT ?"
_SHARES = "SELECT replica, tally FROM rollout_share WHERE rollout_id = ?"
_PROBLEMS = """
    SELECT problem FROM rollout_share
    WHERE rollout_id = ? AND replica <> ? AND problem <> ''
        AND told_at > clock_timestamp() - make_interval(secs => ?)"""
_SAVE = "UPDATE rollout SET tally = ?, counted_to = ? WHERE rollout_id = ? AND counted_to < ?"
_SHARE = """
    INSERT INTO rollout_share (rollout_id, replica, tally, problem, told_at) VALUES (?, ?, ?, ?, clock_timestamp())
    ON CONFLICT (rollout_id, replica) DO UPDATE
    SET tally = excluded.tally, problem = excluded.problem, told_at = excluded.told_at"""
_PROPOSED = "SELECT base, voices FROM proposal WHERE subject = ?"
_WITHDRAW = "DELETE FROM proposal WHERE subject = ?"
# Of two who ask in the same moment the later one stands, and the earlier one asks again.
_PROPOSE = """
    INSERT INTO proposal (subject, base, voices) VALUES (?, ?, ?)
    ON CONFLICT (subject) DO UPDATE SET base = excluded.base, voices = excluded.voices"""


class PostgresRollouts:
    """Implements ``SharedRollouts`` and ``ProposalStore``; connects when it is used first.

    ``replica`` is another one at every start: who starts counts from nothing, and has a row of its own.
    """

    def __init__(self, where: Place | str, replica: str) -> None:
        self._where = where
        self._replica = replica
        # Each is asked in a thread of its own, and a connection is for one at a time.
        self._turn = threading.Lock()
        self._connection: PostgresConnection | None = None

    async def known(self) -> KnownRollout | None:
        """Return the rollout that was begun last."""
        return await self._run("reading rollouts", self._known)

    async def newest(self) -> tuple[Rollout, Tally] | None:
        """Return the rollout that was begun last, with what all replicas counted."""
        found = await self.recent(1)
        return found[0] if found else None

    async def recent(self, limit: int) -> Sequence[tuple[Rollout, Tally]]:
        """Return the latest rollouts, newest first, with what all replicas counted."""
        return await self._run("reading rollouts", lambda connection: self._recent(connection, limit))

    async def seen(self, from_index: int) -> SeenSteps:
        """Return some of the events by which rollouts are counted and ended, from an index on."""
        return await self._run("reading what rollouts counted", lambda connection: _seen(connection, from_index))

    async def save(self, rollout: Rollout, tally: Tally) -> None:
        """Store what was counted in the log, if it was counted further than what is stored."""
        row = (orjson.dumps(tally.as_json()), tally.counted_to, rollout.id, tally.counted_to)
        await self._run("storing what a rollout counted", lambda connection: connection.execute(_SAVE, row))

    async def share(self, rollout_id: str, own: Tally, problem: str) -> None:
        """Store what this replica counted by itself, and why it takes no part."""
        row = (rollout_id, self._replica, orjson.dumps(own.as_json()), problem)
        await self._run("storing what a replica counted", lambda connection: connection.execute(_SHARE, row))

    async def proposal(self, subject: str) -> Proposal | None:
        """Return who asked for ``subject``, if anybody did."""
        row = await self._run("reading who asked", lambda connection: connection.execute(_PROPOSED, (subject,)).get)
        if row is None:
            return None
        return Proposal(subject, str(row[0]), tuple(Voice(*voice) for voice in orjson.loads(str(row[1]))))

    async def propose(self, proposal: Proposal) -> None:
        """Store who asked, durably; without voices nobody did."""
        await self._run("storing who asked", lambda connection: _propose(connection, proposal))

    def close(self) -> None:
        """Close the connection."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()

    async def _run(self, doing: str, work: Callable[[PostgresConnection], R]) -> R:
        return await asyncio.to_thread(self._locked, doing, work)

    def _locked(self, doing: str, work: Callable[[PostgresConnection], R]) -> R:
        with self._turn, translated(doing, SERVER):
            if self._connection is None:
                self._connection = PostgresConnection(self._where, patience=SHORT)
            with self._connection as connection:
                return work(connection)

    def _known(self, connection: PostgresConnection) -> KnownRollout | None:
        row = connection.execute(_RECENT, (1,)).fetchone()
        if row is None:
            return None
        rollout, tally = _read(row)
        problems = connection.execute(_PROBLEMS, (rollout.id, self._replica, _CURRENT_SECONDS)).fetchall()
        others = _shares(connection, rollout.id, but=self._replica)
        return KnownRollout(rollout, tally, others, tuple(str(problem) for (problem,) in problems))

    def _recent(self, connection: PostgresConnection, limit: int) -> list[tuple[Rollout, Tally]]:
        read = [_read(row) for row in connection.execute(_RECENT, (limit,)).fetchall()]
        return [(rollout, tally.plus(_shares(connection, rollout.id, but=""))) for rollout, tally in read]


def _seen(connection: PostgresConnection, from_index: int) -> SeenSteps:
    embedded = as_embedded(connection)
    # First: what is appended after this is looked for the next time.
    size = load_frontier(embedded).size
    events = rollout_events(embedded, from_index=from_index, limit=_AT_ONCE)
    if events:
        return SeenSteps(events, events[-1].index + 1)
    return SeenSteps(events, size)


def _shares(connection: PostgresConnection, rollout_id: str, *, but: str) -> Tally:
    found = Tally()
    for replica, tally in connection.execute(_SHARES, (rollout_id,)).fetchall():
        if replica != but:
            found = found.plus(_tally(tally))
    return found


def _propose(connection: PostgresConnection, proposal: Proposal) -> None:
    if not proposal.voices:
        connection.execute(_WITHDRAW, (proposal.subject,))
    else:
        voices = orjson.dumps([[voice.principal, voice.reason, voice.at_ns] for voice in proposal.voices]).decode()
        connection.execute(_PROPOSE, (proposal.subject, proposal.base, voices))


def _read(row: Sequence[Any]) -> tuple[Rollout, Tally]:
    try:
        return read_rollout(orjson.loads(row[1])), _tally(row[2])
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable() from error


def _tally(stored: bytes) -> Tally:
    try:
        return read_tally(orjson.loads(stored))
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable() from error


def _unreadable() -> IntegrityError:
    return IntegrityError(
        "a stored rollout cannot be read",
        hint="Keep the table rollout as evidence; the live revision decides alone",
    )
