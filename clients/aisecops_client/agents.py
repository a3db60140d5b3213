"""Asking about agents: which are registered, which asked, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from aisecops.v1 import agent_pb2
from aisecops.v1 import agent_service_pb2 as api
from aisecops.v1.agent_service_pb2_grpc import AgentServiceStub

from aisecops_client.client import Client
from aisecops_client.errors import from_rpc_error


@dataclass(frozen=True, slots=True)
class Agents:
    """Asks the control plane of ``client`` about agents."""

    client: Client

    def page(
        self, *, registration: str = "", owner: str = "", page_size: int = 0, page_token: str = ""
    ) -> api.ListAgentsResponse:
        """Return a page of agents by id; ``registration`` is `registered`, `unregistered` or empty for both.

        Raises:
            AisecopsClientError: they cannot be read.
        """
        request = api.ListAgentsRequest(
            registration=registration, owner=owner, page_size=page_size, page_token=page_token
        )
        try:
            return self._stub.ListAgents(request, metadata=self.client.metadata, timeout=self.client.work_seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    def agent(self, agent_id: str) -> agent_pb2.Agent:
        """Return one agent.

        Raises:
            AisecopsClientError: it is not registered and never asked, or it may not be read.
        """
        request = api.GetAgentRequest(agent_id=agent_id)
        try:
            answer = self._stub.GetAgent(request, metadata=self.client.metadata, timeout=self.client.work_seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        return answer.agent

    def maturity(self, agent_id: str = "") -> api.GetMaturityResponse:
        """Return how far adoption is: overall, and of one agent or of all.

        Raises:
            AisecopsClientError: nobody knows the agent, or it may not be read.
        """
        request = api.GetMaturityRequest(agent_id=agent_id)
        try:
            return self._stub.GetMaturity(request, metadata=self.client.metadata, timeout=self.client.work_seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    @property
    def _stub(self) -> AgentServiceStub:
        return AgentServiceStub(self.client.channel)
