"""Traces as one story: their execution graph, and where their records disagree."""

from __future__ import annotations

import grpc
from aisecops.v1 import investigation_service_pb2 as api
from aisecops.v1.investigation_service_pb2_grpc import InvestigationServiceStub

from aisecops_client.client import Client
from aisecops_client.errors import from_rpc_error


def execution_graph(client: Client, trace_id: str, *, alone: bool = False) -> api.GetExecutionGraphResponse:
    """Return the execution graph of a trace, with those of the traces that delegated to it unless ``alone``.

    Raises:
        AisecopsClientError: there is none.
    """
    request = api.GetExecutionGraphRequest(trace_id=trace_id, alone=alone)
    try:
        return InvestigationServiceStub(client.channel).GetExecutionGraph(
            request, metadata=client.metadata, timeout=client.work_seconds
        )
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


def governance_diff(client: Client, trace_id: str) -> api.GetGovernanceDiffResponse:
    """Return what was planned, decided, granted and executed, and where these disagree.

    Raises:
        AisecopsClientError: there is no such trace.
    """
    request = api.GetGovernanceDiffRequest(trace_id=trace_id)
    try:
        return InvestigationServiceStub(client.channel).GetGovernanceDiff(
            request, metadata=client.metadata, timeout=client.work_seconds
        )
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error
