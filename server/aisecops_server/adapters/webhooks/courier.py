"""Takes messages to one endpoint over HTTP, signed as Standard Webhooks describes it.

The signature is an HMAC-SHA256 of ``id.timestamp.body`` with the endpoint's secret: the receiver can tell who sent it,
that nothing was changed, and, by the time, that it is not an old one sent again. Nothing of the answer is used but
its status; it is not followed anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aisecops_server.adapters.webhooks.endpoint import Endpoint
from aisecops_server.domain.approvals.notice import Attempt, Notice

if TYPE_CHECKING:
    import aiohttp

SECONDS = 10.0
_TAKEN = range(200, 300)
_GONE = 410


@dataclass(frozen=True, slots=True)
class WebhookCourier:
    """Implements ``Courier`` for one endpoint."""

    endpoint: Endpoint
    seconds: float = SECONDS

    async def deliver(self, notice: Notice, *, at_seconds: int) -> Attempt:
        """Try once to deliver one message."""
        import aiohttp  # noqa: PLC0415 - costly, and only needed here

        try:
            async with (
                aiohttp.ClientSession(
                    connector=_connector(self.endpoint),
                    timeout=aiohttp.ClientTimeout(total=self.seconds),
                    trust_env=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                ) as session,
                session.post(
                    self.endpoint.url,
                    data=notice.body,
                    headers=headers(self.endpoint, notice, at_seconds=at_seconds),
                    allow_redirects=False,
                ) as answer,
            ):
                return _attempt(answer.status)
        except TimeoutError:
            return Attempt(f"no answer within {self.seconds:g} seconds")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Attempt(f"it cannot be reached ({type(error).__name__})")


def headers(endpoint: Endpoint, notice: Notice, *, at_seconds: int) -> dict[str, str]:
    """Return the headers of a message, with one signature for each secret."""
    signed = b".".join((notice.id.encode(), str(at_seconds).encode(), notice.body))
    signatures = [
        f"v1,{base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()}"
        for secret in endpoint.secrets
    ]
    return {
        "content-type": "application/json",
        "user-agent": "aisecops",
        "webhook-id": notice.id,
        "webhook-timestamp": str(at_seconds),
        "webhook-signature": " ".join(signatures),
    }


def _attempt(status: int) -> Attempt:
    if status in _TAKEN:
        return Attempt("")
    return Attempt(f"it answered with status {status}", is_final=status == _GONE)


def _connector(endpoint: Endpoint) -> aiohttp.BaseConnector:
    import aiohttp  # noqa: PLC0415 - costly, and only needed here
    from aiohttp.abc import AbstractResolver, ResolveResult  # noqa: PLC0415
    from aiohttp.resolver import ThreadedResolver  # noqa: PLC0415

    class GuardedResolver(AbstractResolver):
        """Resolves names to addresses that the endpoint may have, or to nothing at all."""

        def __init__(self) -> None:
            self._names = ThreadedResolver()

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> list[ResolveResult]:
            """Return the addresses of ``host``; one that is not allowed makes all of them suspect."""
            found = await self._names.resolve(host, port, family)
            if not all(endpoint.may_reach(result["host"]) for result in found):
                raise OSError(f"{host} resolves to an address that no receiver may have")
            return found

        async def close(self) -> None:
            """Close the resolver behind this one."""
            await self._names.close()

    options: dict[str, Any] = {"use_dns_cache": False, "force_close": True, "family": socket.AF_UNSPEC}
    return aiohttp.TCPConnector(resolver=GuardedResolver(), **options)
