"""Which requirements of which frameworks a policy maps, and which of them hold."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from aisecops.v1 import compliance_service_pb2 as api
from aisecops.v1.compliance_service_pb2_grpc import ComplianceServiceStub

from aisecops_client.client import Client
from aisecops_client.errors import from_rpc_error


@dataclass(frozen=True, slots=True)
class Compliance:
    """Asks the control plane of ``client``. An empty revision means what is live."""

    client: Client

    def frameworks(self, *, revision: str = "") -> api.ListFrameworksResponse:
        """Return the frameworks that a revision maps.

        Raises:
            AisecopsClientError: it maps none, or cannot be read.
        """
        request = api.ListFrameworksRequest(revision=revision)
        try:
            return self._stub.ListFrameworks(request, metadata=self.client.metadata, timeout=self.client.work_seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    def framework(self, framework: str, *, revision: str = "") -> api.Framework:
        """Return one framework with its requirements, unchecked.

        Raises:
            AisecopsClientError: it is not mapped, or cannot be read.
        """
        request = api.GetFrameworkRequest(framework=framework, revision=revision)
        try:
            answer = self._stub.GetFramework(request, metadata=self.client.metadata, timeout=self.client.work_seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        return answer.framework

    def check(self, *, framework: str = "", revision: str = "") -> api.CheckComplianceResponse:
        """Decide the scenarios, run the checks, and return what holds.

        Raises:
            AisecopsClientError: the revision cannot be asked.
        """
        request = api.CheckComplianceRequest(framework=framework, revision=revision)
        try:
            return self._stub.CheckCompliance(request, metadata=self.client.metadata, timeout=self.client.work_seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    @property
    def _stub(self) -> ComplianceServiceStub:
        return ComplianceServiceStub(self.client.channel)
