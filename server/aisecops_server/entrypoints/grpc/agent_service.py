"""AgentService: which agents there are, what they asked, and how far adoption is.

Registering one is a commit to the policy repository.
"""

from __future__ import annotations

from dataclasses import dataclass

from aisecops.v1 import agent_pb2
from aisecops.v1 import agent_service_pb2 as api

from aisecops_server.domain.agents.agent import Activity, Agent, Registration
from aisecops_server.domain.errors import InvalidRequestError, NotFoundError
from aisecops_server.domain.formats.identifiers import is_agent_id
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.decision_codec import timestamp
from aisecops_server.entrypoints.grpc.maturity_codec import maturity_message
from aisecops_server.entrypoints.grpc.methods import read_message
from aisecops_server.entrypoints.grpc.paging import page_size
from aisecops_server.usecases.compliance.read_agents import AgentFilter, ReadAgents
from aisecops_server.usecases.compliance.read_maturity import ReadMaturity

_MAX_PAGE = 500
_OWNER_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class AgentService:
    """The handlers of ``aisecops.v1.AgentService``."""

    agents: ReadAgents
    maturity: ReadMaturity | None

    async def list_agents(self, request: bytes, _caller: Caller) -> api.ListAgentsResponse:
        """Answer ListAgents."""
        asked = read_message(api.ListAgentsRequest, request)
        page = await self.agents.page(
            _filter(asked),
            after=_agent_id(asked.page_token, "page_token") if asked.page_token else "",
            limit=page_size(asked.page_size, at_most=_MAX_PAGE),
        )
        return api.ListAgentsResponse(
            agents=[_agent(agent) for agent in page.agents],
            next_page_token=page.next_after,
            registered=page.registered,
            unregistered=page.unregistered,
            revision=page.revision,
        )

    async def agent(self, request: bytes, _caller: Caller) -> api.GetAgentResponse:
        """Answer GetAgent."""
        asked = read_message(api.GetAgentRequest, request)
        return api.GetAgentResponse(agent=_agent(await self.agents.agent(_agent_id(asked.agent_id, "agent_id"))))

    async def how_far(self, request: bytes, _caller: Caller) -> api.GetMaturityResponse:
        """Answer GetMaturity."""
        asked = read_message(api.GetMaturityRequest, request)
        if self.maturity is None:
            raise NotFoundError("how far adoption is, the centre tells, and this is an edge", hint="Ask there")
        report = await self.maturity(agent_id=_agent_id(asked.agent_id, "agent_id") if asked.agent_id else "")
        return api.GetMaturityResponse(
            overall=maturity_message(report.overall),
            agents=map(maturity_message, report.agents),
            revision=report.revision,
            since=timestamp(report.since_ns),
            decisions=report.decisions,
        )

    async def tools(self, request: bytes, caller: Caller) -> api.ListToolsResponse:
        """Answer ListTools, about the caller and nobody else."""
        asked = read_message(api.ListToolsRequest, request)
        found, revision = self.agents.tools(caller.principal.id, asked.environment)
        return api.ListToolsResponse(
            tools=[
                api.UsableTool(tool=tool.name, effect=tool.effect, result_trust=tool.result_trust)
                for tool in found.tools
                if asked.server in ("", tool.name.partition("/")[0])
            ],
            unlisted=found.unlisted,
            revision=revision,
        )


def _filter(asked: api.ListAgentsRequest) -> AgentFilter:
    if len(asked.owner) > _OWNER_CHARACTERS:
        raise InvalidRequestError(f"owner: more than {_OWNER_CHARACTERS} characters", field="owner")
    if not asked.registration:
        return AgentFilter(owner=asked.owner)
    try:
        return AgentFilter(Registration(asked.registration), asked.owner)
    except ValueError as error:
        raise InvalidRequestError(
            "registration: not 'registered' or 'unregistered'", hint="Leave it empty for both", field="registration"
        ) from error


def _agent_id(text: str, field: str) -> str:
    if not is_agent_id(text):
        raise InvalidRequestError(f"{field}: not an agent id", field=field)
    return text


def _agent(agent: Agent) -> agent_pb2.Agent:
    activity = _activity(agent.activity) if agent.activity else None
    entry = agent.entry
    if entry is None:
        return agent_pb2.Agent(agent_id=agent.id, activity=activity)
    return agent_pb2.Agent(
        agent_id=agent.id,
        registered=True,
        owner=entry.owner,
        contact=entry.contact,
        framework=entry.framework,
        tenant=entry.tenant,
        mode=entry.mode,
        environments=entry.environments,
        capabilities=[
            agent_pb2.HeldCapability(capability=held.capability, granted_by=held.granted_by)
            for held in entry.capabilities
        ],
        budget=entry.budget,
        limits=[
            agent_pb2.AgentLimit(subject=one.subject, metric=one.metric, window=one.window, limit=one.limit)
            for one in entry.limits
        ],
        max_delegation_depth=entry.max_delegation_depth,
        activity=activity,
    )


def _activity(activity: Activity) -> agent_pb2.AgentActivity:
    return agent_pb2.AgentActivity(
        first_seen_at=timestamp(activity.first_seen_ns),
        last_seen_at=timestamp(activity.last_seen_ns),
        allowed=activity.allowed,
        denied=activity.denied,
        held=activity.held,
        tried=activity.tried,
    )
