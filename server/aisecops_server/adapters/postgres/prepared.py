"""The statements that a connection has prepared, and which of them the server keeps under a name."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

# Each takes some kilobytes, on the server more where it is kept there.
_MOST = 128


class Prepared:
    """What one connection has prepared; the driver lets the server forget what is forgotten here.

    A statement without a name is read and planned by the server each time it is run. One with a name is there for one
    session, so nothing has a name where the next statement may be another session's.
    """

    def __init__(self) -> None:
        self._statements: OrderedDict[str, Any] = OrderedDict()
        self._named = 0

    async def statement(self, connection: Any, text: str, *, is_kept: bool) -> Any:
        """Return a statement of the driver's, prepared now where it is not yet."""
        found = self._statements.get(text)
        if found is None:
            name = self._name(text) if is_kept else None
            found = self._statements[text] = await connection.prepare(text, name=name)
            if len(self._statements) > _MOST:
                self._statements.popitem(last=False)
        self._statements.move_to_end(text)
        return found

    def forget(self) -> None:
        """Have every statement prepared anew: a plan for small tables is none for large ones."""
        self._statements.clear()

    def _name(self, text: str) -> str:
        # It follows from the text, so that under no circumstances it stands for another one.
        self._named += 1
        return f"aisecops_{self._named}_{hashlib.sha256(text.encode()).hexdigest()[:32]}"
