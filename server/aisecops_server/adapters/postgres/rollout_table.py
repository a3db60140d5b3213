"""Moves the rollout that replicas share, inside the transaction that appends the event of the step.

Also holds what its candidate decided against it. Ordering rule: whoever appends holds the head of the log, so of two
who move a rollout from the same step one comes first, and nothing that the candidate decided is stored behind the step
that took it back. Only the writer's thread uses it.
"""

from __future__ import annotations

import apsw
import orjson

from aisecops_server.domain.errors import AisecopsError, ContendedError, IntegrityError
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.rollouts.rollout import RolloutStage
from aisecops_server.domain.rollouts.rollout_changes import KIND, MadeLive, MoveRollout, RequireRollout

_UNDER_WAY = "SELECT rollout_id FROM rollout WHERE stage IN ('SHADOW', 'CANARY')"
_BEGIN = """
    INSERT INTO rollout (number, rollout_id, step, stage, body, counted_to, tally)
    SELECT coalesce(max(number), 0) + 1, ?, ?, ?, ?, ?, ? FROM rollout"""
_MOVE = "UPDATE rollout SET step = ?, stage = ?, body = ? WHERE rollout_id = ? AND step = ? RETURNING rollout_id"
_MAKE_LIVE = """
    UPDATE activation SET live_revision = ?, live_digest = ?, previous_revision = ?, previous_digest = ?
    WHERE live_digest = ? RETURNING id"""
_STANDS = "SELECT step, stage FROM rollout WHERE rollout_id = ?"


class RolloutTable:
    """Implements ``StagedTable``: of what is required nothing is written, and it is looked up once while it holds."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, str] | None] = {}

    def holds(self, change: Change) -> bool:
        """Return whether a change needs nothing to be taken back."""
        return isinstance(change, RequireRollout)

    def apply(self, connection: apsw.Connection, change: Change) -> AisecopsError | None:
        """Check and apply one change."""
        if isinstance(change, RequireRollout):
            return self._require(connection, change)
        if isinstance(change, MoveRollout):
            self._known.clear()
            return _begun(connection, change) if change.rollout.step == 0 else _moved(connection, change)
        return IntegrityError("this is no change of a rollout")

    def settle(self, connection: apsw.Connection) -> None:
        """Do nothing: nothing is held."""

    def begin(self) -> None:
        """Do nothing: nothing is held."""

    def undo(self) -> None:
        """Look again at what the next entry requires."""
        self._known.clear()

    def store(self, connection: apsw.Connection) -> None:
        """Do nothing: what is moved is written at once."""

    def reread(self) -> None:
        """Look again: another process appended, and may have moved the rollout with it."""
        self._known.clear()

    def committed(self) -> None:
        """Go on with what is known: it changes only with the log."""

    def forget(self) -> None:
        """Look again: what was moved was not stored."""
        self._known.clear()

    def _require(self, connection: apsw.Connection, change: RequireRollout) -> AisecopsError | None:
        if change.rollout_id not in self._known:
            self._known[change.rollout_id] = connection.execute(_STANDS, (change.rollout_id,)).get
        found = self._known[change.rollout_id]
        if found is not None:
            step, stage = found
            if (step, stage) == (change.step, RolloutStage.CANARY) or stage == RolloutStage.PROMOTED:
                return None
        return _contended("the rollout was moved by another control plane meanwhile")


def _begun(connection: apsw.Connection, change: MoveRollout) -> AisecopsError | None:
    if connection.execute(_UNDER_WAY).get is not None:
        return _contended("another control plane began a rollout meanwhile")
    rollout, tally = change.rollout, change.tally
    row = (rollout.id, rollout.step, rollout.stage.value, orjson.dumps(rollout.as_json()))
    connection.execute(_BEGIN, (*row, int(str(tally["counted_to"])), orjson.dumps(tally)))
    return None


def _moved(connection: apsw.Connection, change: MoveRollout) -> AisecopsError | None:
    rollout = change.rollout
    row = (rollout.step, rollout.stage.value, orjson.dumps(rollout.as_json()), rollout.id, rollout.step - 1)
    if connection.execute(_MOVE, row).get is None:
        return _contended("another control plane moved the rollout meanwhile")
    return _made_live(connection, change.made_live) if change.made_live else None


def _made_live(connection: apsw.Connection, made: MadeLive) -> AisecopsError | None:
    row = (made.live.revision, made.live.digest, made.previous.revision, made.previous.digest, made.over)
    if connection.execute(_MAKE_LIVE, row).get is None:
        return _contended("another control plane made another revision live meanwhile")
    return None


def _contended(message: str) -> ContendedError:
    return ContendedError(message, hint="Look at it again", what=KIND)
