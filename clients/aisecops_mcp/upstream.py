"""What the proxy needs of a server, however it is reached."""

from __future__ import annotations

from typing import Protocol

from aisecops_mcp.jsonrpc import Message, MessageId


class ServerGoneError(Exception):
    """A server gives no answer: it ended, said something that is none, or took too long."""


class Upstream(Protocol):
    """One server, by the name that policy has for it."""

    @property
    def name(self) -> str:
        """Return what policy calls it."""

    @property
    def has_ended(self) -> bool:
        """Return whether it does not run (any more), so that it would have to be started again."""

    async def start(self) -> None:
        """Reach it.

        Raises:
            ServerGoneError: it cannot be.
        """

    async def ask(self, id: MessageId, raw: bytes) -> Message:
        """Send a request and return the answer to it.

        Raises:
            ServerGoneError: there is none.
        """

    async def tell(self, raw: bytes) -> None:
        """Send a message that is not answered, or an answer.

        Raises:
            ServerGoneError: it does not take it.
        """

    async def stop(self) -> None:
        """End what there is with it."""
