"""Addresses that a client was asked to open, by whose they are: only who asked can say that it is done there.

The identifiers are the servers' own, and a client knows one list of them. So none can begin as ours do, and one that
two servers use is the first one's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aisecops_mcp.consent import QUESTION
from aisecops_mcp.upstream import ServerGoneError

_MOST = 256


@dataclass(slots=True)
class Addresses:
    """Those of one connection; the oldest are forgotten, and nobody is told then that they are done."""

    _of: dict[str, str] = field(default_factory=dict, init=False)

    def shown(self, server: str, question: Mapping[str, Any]) -> None:
        """Know that a client is asked this by a server.

        Raises:
            ServerGoneError: the server calls it as the proxy calls its own, or as another server did.
        """
        name = question.get("elicitationId")
        if not isinstance(name, str):
            return
        if name.startswith(QUESTION) or self._of.get(name, server) != server:
            raise ServerGoneError(f"the server {server} asks in a way that is not let through")
        self._of[name] = server
        while len(self._of) > _MOST:
            del self._of[next(iter(self._of))]

    def done(self, server: str, told: Mapping[str, Any]) -> bool:
        """Return whether a server may say that what it asked for is done; it says so once."""
        name = told.get("elicitationId")
        if not isinstance(name, str) or self._of.get(name) != server:
            return False
        del self._of[name]
        return True
