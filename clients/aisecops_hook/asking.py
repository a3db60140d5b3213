"""Asking the control plane or edge on this machine, as JSON over its Unix socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

from aisecops_hook.failures import HookError

_MOST_BYTES = 16 * 1024 * 1024
_CHUNK = 256 * 1024


class Asking(NamedTuple):
    """Where to ask, and as whom. No call takes longer than ``seconds`` between two signs of life."""

    socket: str
    token: str
    seconds: float

    def call(self, name: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the answer to one call of the API, `Service/Method`.

        Raises:
            HookError: there is none.
        """
        body = json.dumps(request, ensure_ascii=True, allow_nan=False).encode()
        head = (
            f"POST /aisecops.v1.{name} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        try:
            status, text = _answer(self._exchanged(head.encode("latin-1") + body))
            told = json.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            raise HookError(
                f"there is no decision, and without one nothing is allowed: no answer on {self.socket!a} "
                f"({type(error).__name__}). Is the control plane served, or the edge?"
            ) from error
        if not isinstance(told, dict):
            raise HookError("there is no decision, and without one nothing is allowed: the answer is no object")
        if status != "200":
            raise HookError(f"there is no decision, and without one nothing is allowed: {plain(told.get('message'))}")
        return told

    def _exchanged(self, data: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as talk:
            talk.settimeout(self.seconds)
            talk.connect(self.socket)
            talk.sendall(data)
            parts, size = [], 0
            while part := talk.recv(_CHUNK):
                parts.append(part)
                size += len(part)
                if size > _MOST_BYTES:
                    raise ValueError("too much")
        return b"".join(parts)


def _answer(data: bytes) -> tuple[str, bytes]:
    head, gap, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if not gap or not first.startswith("HTTP/1.1 ") or int(fields.get("content-length", "-1")) != len(body):
        raise ValueError("not a whole answer")
    return first.split(" ")[1], body


def plain(text: Any) -> str:
    """Return text without characters that steer a screen."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in str(text or ""))[:4000]
