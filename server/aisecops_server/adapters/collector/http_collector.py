"""Hands spans to a collector over HTTP, as OTLP/HTTP with JSON describes it.

What leaves names agents, tools and rules, so it leaves for this machine or over https only. Nothing of the answer is
used but its status; it is not followed anywhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.canonical import JsonValue

SECONDS = 10.0
_TAKEN = range(200, 300)
# What no later attempt can mend is passed over, as OTLP has it; these are the answers that ask for another one.
_AGAIN = frozenset({408, 429, 502, 503, 504})
_PATH = "/v1/traces"


@dataclass(frozen=True, slots=True)
class HttpCollector:
    """Implements ``Collector``."""

    url: str
    seconds: float = SECONDS

    async def take(self, request: Mapping[str, JsonValue]) -> str:
        """Hand over one request; return what is wrong, or nothing once it is taken or can never be."""
        import aiohttp  # noqa: PLC0415 - costly, and only needed here

        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.seconds), trust_env=False) as session,
                session.post(
                    self.url,
                    data=orjson.dumps(request),
                    headers={"content-type": "application/json", "user-agent": "aisecops"},
                    allow_redirects=False,
                ) as answer,
            ):
                refused = answer.status not in _TAKEN and answer.status in _AGAIN
                return f"answered with status {answer.status}" if refused else ""
        except TimeoutError:
            return f"gave no answer within {self.seconds:g} seconds"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"cannot be reached ({type(error).__name__})"


def read_collector(url: str) -> HttpCollector:
    """Return the collector at ``url``, with the usual path where it has none.

    Raises:
        InvalidRequestError: it is neither https nor http to this machine.
    """
    parts = urlsplit(url)
    near = parts.scheme == "http" and _is_loopback(parts.hostname or "")
    if not parts.hostname or parts.username is not None or not (parts.scheme == "https" or near):
        raise InvalidRequestError(
            f"the collector {url[:80]!r} is neither https nor http to this machine",
            hint="Such as http://127.0.0.1:4318, where a collector runs that passes on what it gets",
            field="otlp_endpoint",
        )
    return HttpCollector(url if parts.path.strip("/") else f"{url.rstrip('/')}{_PATH}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
