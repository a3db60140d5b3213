"""The standard health service: SERVING only while a plan could really get a decision.

It needs no credential, because what asks is a load balancer, and it tells nothing but the state.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

SERVICE = "grpc.health.v1.Health"
_POLL_SECONDS = 0.5

Readiness = Callable[[], str]


@dataclass(frozen=True, slots=True)
class HealthService:
    """Answers from ``problem``, which says why nothing can be decided, or nothing when it can."""

    problem: Readiness
    services: frozenset[str]

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the service's methods."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(
                    self._check, health_pb2.HealthCheckRequest.FromString, _serialized
                ),
                "Watch": grpc.unary_stream_rpc_method_handler(
                    self._watch, health_pb2.HealthCheckRequest.FromString, _serialized
                ),
            },
        )

    async def _check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        if not self._knows(request.service):
            context.set_code(grpc.StatusCode.NOT_FOUND)
            return health_pb2.HealthCheckResponse()
        return health_pb2.HealthCheckResponse(status=self._state())

    async def _watch(
        self, request: health_pb2.HealthCheckRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        last = None
        while True:
            state = self._state() if self._knows(request.service) else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if state != last:
                last = state
                yield health_pb2.HealthCheckResponse(status=state)
            await asyncio.sleep(_POLL_SECONDS)

    def _knows(self, service: str) -> bool:
        return service == "" or service in self.services

    def _state(self) -> int:
        response = health_pb2.HealthCheckResponse
        return int(response.NOT_SERVING if self.problem() else response.SERVING)


def _serialized(response: health_pb2.HealthCheckResponse) -> bytes:
    return bytes(response.SerializeToString())
