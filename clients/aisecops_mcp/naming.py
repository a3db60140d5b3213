"""Names: of a server, as policy has it; of its tools and prompts, as a client sees them.

Behind one server a client sees the server's own names. Behind several it sees `server__name`, so that no server can
give a tool the name of another's. Policy always has `server/name`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

_SERVER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]|_(?!_)){0,63}")
JOINT = "__"


@dataclass(frozen=True, slots=True)
class Naming:
    """The names of some servers' tools. ``servers`` are those behind one proxy.

    Raises:
        ValueError: a server cannot be called that.
    """

    servers: Collection[str]

    def __post_init__(self) -> None:
        """Refuse what could be read in two ways."""
        for name in self.servers:
            if not _SERVER.fullmatch(name) or name.endswith("_"):
                raise ValueError(
                    f"{name!r} is no name for a server: at most 64 of [A-Za-z0-9_.-], without '__', not ending in '_'"
                )

    @property
    def is_joint(self) -> bool:
        """Return whether names say which server they are of."""
        return len(self.servers) > 1

    def shown(self, server: str, name: str) -> str:
        """Return the name that a client sees."""
        return f"{server}{JOINT}{name}" if self.is_joint else name

    def split(self, shown: str) -> tuple[str, str]:
        """Return the server and its own name for what a client calls ``shown``.

        Raises:
            LookupError: no server is meant.
        """
        if not self.is_joint:
            return next(iter(self.servers)), shown
        server, joint, name = shown.partition(JOINT)
        if not joint or server not in self.servers:
            raise LookupError(f"there is no {shown!r}; names begin with that of a server and {JOINT!r}")
        return server, name
