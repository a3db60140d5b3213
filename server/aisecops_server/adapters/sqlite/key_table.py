"""Lets one rotation of a key follow another, and no two the same one.

There is no table: the events themselves say which key signs. Only the writer's thread uses it.
"""

from __future__ import annotations

import apsw

from aisecops_server.domain.errors import AisecopsError, ContendedError, IntegrityError
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.log.key_rotation import KeyUse, RotateKey

GRANT_KEYS = "INDEXED BY event_of_grant_keys", "type IN ('grant_key.rotated', 'edge.grant_key_rotated')"
SIGNING_KEYS = "INDEXED BY event_of_signing_keys", "type IN ('evidence_key.rotated', 'bundle_key.rotated')"


class KeyTable:
    """Implements ``StateTable`` for rotations."""

    def __init__(self) -> None:
        # Events are written at the end of a transaction, so one that is in it already is not found.
        self._taken: set[KeyUse] = set()

    def apply(self, connection: apsw.Connection, change: Change) -> AisecopsError | None:
        """Check one change."""
        if not isinstance(change, RotateKey):
            return IntegrityError("this is no change of a key")
        index, among = GRANT_KEYS if change.use is KeyUse.GRANT else SIGNING_KEYS
        last = f"SELECT coalesce(max(idx), -1) FROM event {index} WHERE {among} AND type = ?"  # noqa: S608 - constant parts
        if change.use in self._taken or connection.execute(last, (change.use.rotated,)).get != change.seen:
            return ContendedError(
                f"the key that signs {change.use.signs} was rotated by another control plane meanwhile",
                hint="Look at it again",
            )
        self._taken.add(change.use)
        return None

    def committed(self) -> None:
        """Begin anew."""
        self._taken.clear()

    def forget(self) -> None:
        """Begin anew."""
        self._taken.clear()
