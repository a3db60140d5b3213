"""`envoy.service.auth.v3.Authorization`: meshes and API gateways as enforcement points.

Two parties are authenticated. The gateway, by the credential of its connection, needs the role `gateway`. The agent is
who the request's own token or the certificate that it showed to the gateway proves, by the same authenticator; what a
header says in plain text is nobody. Everything that goes wrong after the gateway is known is answered as a denial, so
that a gateway which lets pass when its check fails does not let that pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from aisecops.v1 import ext_authz_pb2 as api

from aisecops_server.domain.errors import AisecopsError
from aisecops_server.entrypoints.grpc import ext_authz_codec as codec
from aisecops_server.entrypoints.grpc import status
from aisecops_server.entrypoints.grpc.access import CHECK
from aisecops_server.entrypoints.grpc.admission import WorkQueue
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.methods import Gate, Patience, read_message
from aisecops_server.usecases.tools.check_http import CheckHttp

_DECIDE = "/aisecops.v1.DecisionService/Decide"
_BYTES_PER_WEIGHT = 64 * 1024
SERVICE, _, METHOD = CHECK.removeprefix("/").partition("/")


@dataclass(frozen=True, slots=True)
class ExtAuthzService:
    """The handler of `Check`."""

    check_http: CheckHttp
    work: WorkQueue
    gate: Gate

    async def check(self, request: bytes, caller: Caller) -> api.ExtAuthzResponse:
        """Answer Check."""
        try:
            return await self._checked(request, caller)
        except AisecopsError as error:
            return codec.failed(error)
        except Exception as error:  # noqa: BLE001 - a status would be the gateway's to judge, an answer is not
            return codec.failed(status.as_known(error))

    async def _checked(self, data: bytes, caller: Caller) -> api.ExtAuthzResponse:
        asked = read_message(api.ExtAuthzRequest, data)
        request = codec.request_of(asked)
        presented = codec.presented_in(request, asked)
        agent = self.gate.enter(_DECIDE, presented, caller.peer, Patience.DECISION).principal
        weight = 1 + len(data) // _BYTES_PER_WEIGHT
        async with self.work.turn(agent, weight=weight, seconds=caller.seconds):
            checked = await self.check_http(request, agent=agent, gateway=caller.principal)
        return codec.denied(checked) if checked.grant is None else codec.allowed(checked, request)
