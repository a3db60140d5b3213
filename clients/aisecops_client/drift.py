"""Whether recent decisions still come out, and what other policy makes of them."""

from __future__ import annotations

import grpc
from aisecops.v1 import drift_service_pb2 as api
from aisecops.v1.drift_service_pb2_grpc import DriftServiceStub

from aisecops_client.client import Client
from aisecops_client.errors import from_rpc_error


def last_drift(client: Client) -> api.GetDriftResponse:
    """Return what was found last.

    Raises:
        AisecopsClientError: it may not be read.
    """
    try:
        return DriftServiceStub(client.channel).GetDrift(
            api.GetDriftRequest(), metadata=client.metadata, timeout=client.work_seconds
        )
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


def check_drift(client: Client) -> api.DriftReport:
    """Look now and return what was found.

    Raises:
        AisecopsClientError: it may not be asked, or history cannot be read.
    """
    try:
        answer = DriftServiceStub(client.channel).CheckDrift(
            api.CheckDriftRequest(), metadata=client.metadata, timeout=client.work_seconds
        )
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error
    return answer.report
