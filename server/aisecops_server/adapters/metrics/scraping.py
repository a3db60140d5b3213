"""Reads ``/metrics`` of a control plane on this machine."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from aisecops_server.domain.errors import InvalidRequestError

_UNIX = "unix:"
_MOST_BYTES = 16 * 1024 * 1024
_SECONDS = 5.0


def scraped(address: str) -> Mapping[str, float]:
    """Return the metrics at ``host:port`` or ``unix:PATH`` by name, those of several labels added up.

    Raises:
        InvalidRequestError: nothing there answers with metrics.
    """
    try:
        text = _read(address)
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
    except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
        raise InvalidRequestError(
            f"no metrics can be read at {address}",
            hint="Give the metrics_address that the control plane runs with",
            field="metrics",
        ) from error
    return found


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(self._path)


def _read(address: str) -> str:
    host, _, port = address.rpartition(":")
    if address.startswith(_UNIX):
        connection: http.client.HTTPConnection = _UnixConnection(address.removeprefix(_UNIX))
    else:
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=_SECONDS)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES)
        if answer.status != http.client.OK:
            raise http.client.HTTPException(str(answer.status))
        return body.decode("utf-8")
    finally:
        connection.close()
