"""Lets one rotation of the key of grants follow another, and no two the same one.

There is no table: the events themselves say which key signs. Only the writer's thread uses it.
"""

from __future__ import annotations

import apsw

from aisecops_server.domain.change import Change
from aisecops_server.domain.errors import AisecopsError, ContendedError, IntegrityError
from aisecops_server.domain.grant_keys import RotateGrantKey

_LAST = """
    SELECT coalesce(max(idx), -1) FROM event INDEXED BY event_of_grant_keys
    WHERE type IN ('grant_key.rotated', 'edge.grant_key_rotated') AND type = 'grant_key.rotated'"""


class GrantKeyTable:
    """Implements ``StateTable`` for rotations."""

    def __init__(self) -> None:
        # Events are written at the end of a transaction, so one that is in it already is not found.
        self._is_taken = False

    def apply(self, connection: apsw.Connection, change: Change) -> AisecopsError | None:
        """Check one change."""
        if not isinstance(change, RotateGrantKey):
            return IntegrityError("this is no change of the key of grants")
        if self._is_taken or connection.execute(_LAST).get != change.seen:
            return ContendedError(
                "the key of grants was rotated by another control plane meanwhile", hint="Look at it again"
            )
        self._is_taken = True
        return None

    def committed(self) -> None:
        """Begin anew."""
        self._is_taken = False

    def forget(self) -> None:
        """Begin anew."""
        self._is_taken = False
