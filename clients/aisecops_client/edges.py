"""Asking a centre about its edges."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from aisecops.v1 import edge_service_pb2 as api
from aisecops.v1.edge_service_pb2_grpc import EdgeServiceStub

from aisecops_client.client import Client
from aisecops_client.errors import from_rpc_error


@dataclass(frozen=True, slots=True)
class Edges:
    """Asks the control plane of ``client`` about edges."""

    client: Client

    def all(self) -> api.ListEdgesResponse:
        """Return the edges that policy registers or that have enrolled, by id.

        Raises:
            AisecopsClientError: they cannot be read.
        """
        stub = EdgeServiceStub(self.client.channel)
        try:
            return stub.ListEdges(
                api.ListEdgesRequest(), metadata=self.client.metadata, timeout=self.client.work_seconds
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
