"""Asks the running control plane what it serves, for ``doctor``."""

from __future__ import annotations

import grpc
from aisecops_client.errors import AisecopsClientError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from aisecops_server.cli.connection import connect
from aisecops_server.domain.errors import EngineUnavailableError, NoLiveRevisionError

_REFUSES = "Mend what it names. A sealed log: run 'aisecops log verify', and restart when that is in order"


def live_revision() -> str:
    """Return what is live, in words.

    Raises:
        EngineUnavailableError: nobody answers.
        NoLiveRevisionError: it answers and serves no policy, or not the one that is wanted.
    """
    try:
        with connect() as client:
            status = client.bundle_status()
            health = HealthStub(client.channel).Check(HealthCheckRequest(), timeout=client.timeout_seconds)
    except (AisecopsClientError, grpc.RpcError) as error:
        raise EngineUnavailableError("it does not answer", hint="Look at its output, or start it again") from error
    if not status.live.commit:
        raise NoLiveRevisionError(f"no policy is live: {status.problem}", hint=_REFUSES)
    if status.problem:
        raise NoLiveRevisionError(f"{status.live.commit} is live, but {status.problem}", hint="Mend the policy commit")
    if health.status != HealthCheckResponse.SERVING:
        raise EngineUnavailableError(
            "it answers and refuses every plan", hint="Its output says why; a sealed log is checked by 'log verify'"
        )
    return f"serves policy {status.live.commit}"
