"""The record in the formats of other systems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import grpc
from aisecops.v1 import export_service_pb2 as api
from aisecops.v1.export_service_pb2_grpc import ExportServiceStub

from aisecops_client.client import Client
from aisecops_client.errors import from_rpc_error


@dataclass(frozen=True, slots=True)
class Exports:
    """Asks the control plane of ``client``."""

    client: Client

    def events(self, request: api.ExportEventsRequest) -> Iterator[api.ExportEventsResponse]:
        """Yield what each event makes, in log order.

        Raises:
            AisecopsClientError: they cannot be read any further.
        """
        call = ExportServiceStub(self.client.channel).ExportEvents(request, metadata=self.client.metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            # Who stops reading early must not leave the stream open.
            call.cancel()

    def traces(self, trace_ids: Sequence[str], *, format: str, with_payload: bool = False) -> Iterator[bytes]:
        """Yield the parts of an export of whole traces.

        Raises:
            AisecopsClientError: a trace is not there, or may not be read.
        """
        request = api.ExportTracesRequest(format=format, trace_ids=trace_ids, with_payload=with_payload)
        try:
            parts = ExportServiceStub(self.client.channel).ExportTraces(request, metadata=self.client.metadata)
            yield from (part.content for part in parts)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
