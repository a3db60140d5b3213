"""The tables that people edit and what they may say: each YAML file of ``data/`` is one model here.

What an entry leaves out becomes the cautious value. What the tables say together is checked where they are compiled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, get_args

from pydantic import Field, RootModel, model_validator

from aisecops_server.domain.tables.approval_tables import ApprovalsTable, PersonEntry
from aisecops_server.domain.tables.budget_tables import BudgetsTable, CostsTable
from aisecops_server.domain.tables.edge_tables import Edges
from aisecops_server.domain.tables.grant_tables import GrantEntry
from aisecops_server.domain.tables.http_routes import Routes
from aisecops_server.domain.tables.maturity_table import MaturityTable
from aisecops_server.domain.tables.retention_table import RetentionTable
from aisecops_server.domain.tables.screen_table import ScreenTable
from aisecops_server.domain.tables.table_fields import Count, Entry, Role, Text, ToolName
from aisecops_server.domain.tables.vocabulary import Vocabulary

ToolEffect = Literal["read", "write", "delete", "send", "spend", "execute"]
Reach = Literal["internal", "external"]
Trust = Literal["trusted", "internal", "external", "unverified"]
PromptKind = Literal[
    "agent_identity", "user_prompt", "system_prompt", "skill", "memory", "retrieval_chunk", "agent_message"
]
Mode = Literal["enforce", "observe", "dry_run"]
RuleName = Annotated[str, Field(pattern=r"^[a-z_]+(\.[a-z0-9_]+)?$")]


class AgentEntry(Entry):
    """A registered agent. Its key is the id that its credential proves."""

    owner: Text = Field(description="The team that answers for the agent.")
    contact: Text = Field(description="Where that team is reached.")
    framework: Text
    environments: list[Text] = Field(min_length=1, description="Where it may act.")
    capabilities: dict[str, GrantEntry] = Field(description="What it may do, and who granted it.")
    budget: Text = "default"
    tenant: Text = Field(default="default", description="Whose agent it is, where several share a control plane.")
    max_delegation_depth: Count = Field(default=0, description="How many agents may stand above it.")
    approval: list[Text] = Field(
        default_factory=list,
        description="Its capabilities that it uses only with people's agreement, also through another agent.",
    )

    @model_validator(mode="after")
    def _holds_what_needs_approval(self) -> AgentEntry:
        for capability in self.approval:
            if capability not in self.capabilities:
                raise ValueError(f"approval: {capability} is none of its capabilities")
        return self


class CapabilityEntry(Entry):
    """A named grant: the tools that it opens."""

    description: Text
    owner: Text
    risk: Literal["low", "medium", "high"]
    tools: list[ToolName] = Field(min_length=1)


class ObligationEntry(Entry):
    """Something that the enforcement point must do when it calls the tool."""

    kind: Text = Field(
        description="`redact` (fields, of: result or arguments), `limit` (rows), `confirm`, `log_digest_only`; "
        "any other kind needs a handler at the enforcement point."
    )
    parameters: dict[str, str | int | bool | list[str]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_understood(self) -> ObligationEntry:
        # What an enforcement point would have to refuse had better not come so far.
        given = self.parameters
        match self.kind:
            case "redact":
                fields, place = given.get("fields"), given.get("of", "result")
                is_sound = isinstance(fields, list) and bool(fields) and place in ("result", "arguments")
                known = {"fields", "of"}
            case "limit":
                rows = given.get("rows")
                is_sound, known = type(rows) is int and rows >= 0, {"rows"}
            case "confirm":
                is_sound, known = True, {"question"}
            case "log_digest_only":
                is_sound, known = True, set()
            case _:
                return self
        if not is_sound or given.keys() - known:
            raise ValueError(f"the parameters of '{self.kind}' are not understood")
        return self


class ToolEntry(Entry):
    """What a tool does. What is left out is taken for the worst."""

    description: Text
    effect: ToolEffect = "execute"
    reach: Reach = Field(default="external", description="`external`: what it does or sends leaves the company.")
    result_trust: Trust = Field(default="unverified", description="How far what it returns may steer the agent.")
    result_records: bool | None = Field(
        default=None,
        description="Whether it returns records, whose fields are facts. Left out: what is external only tells names.",
    )
    asked_by: list[Text] = Field(
        default_factory=list, description="Actions of the vocabulary that it does; left out: those that its name says."
    )
    arguments: dict[str, Role] = Field(default_factory=dict, description="What each argument is to the call.")
    allowed_hosts: list[Text] = Field(default_factory=list, description="Internal hosts that it is meant to reach.")
    allowed_schemes: list[Text] = Field(default=["http", "https"], description="URL schemes it may be given.")
    obligations: list[ObligationEntry] = Field(default_factory=list)


class ServerEntry(Entry):
    """A tool server (MCP or other) that agents may use."""

    description: Text
    owner: Text
    environments: list[Text] = Field(min_length=1)
    tools: Literal["catalogued"] | list[Text] = Field(
        description="Names without the server, or `catalogued`: every tool of it that stands in the tools table."
    )


class ModesTable(Entry):
    """What becomes of findings: they are enforced, only observed, or the agent is only tried."""

    default: Mode = Field(default="enforce", description="For agents that are not named here.")
    agents: dict[Text, Mode] = Field(default_factory=dict)
    rules: dict[RuleName, Literal["enforce", "observe"]] = Field(
        default_factory=dict, description="By rule or category; this counts before what is said of the agent."
    )


class RiskTable(Entry):
    """How the risk of a chain of calls adds up, in thousandths and percent."""

    approval_at_milli: Count
    deny_at_milli: Count
    base_milli: dict[ToolEffect, Count]
    reach_percent: dict[Reach, Count]
    trust_percent: dict[Trust, Count]

    @model_validator(mode="after")
    def _is_whole(self) -> RiskTable:
        if self.deny_at_milli < self.approval_at_milli:
            raise ValueError("deny_at_milli is below approval_at_milli")
        _require_every(ToolEffect, self.base_milli)
        _require_every(Reach, self.reach_percent)
        _require_every(Trust, self.trust_percent)
        return self


class TrustTable(RootModel[dict[PromptKind, Trust]]):
    """How far each kind of source is trusted; a tool's result is trusted as its tool says."""

    @model_validator(mode="after")
    def _is_whole(self) -> TrustTable:
        _require_every(PromptKind, self.root)
        return self


class Agents(RootModel[dict[Text, AgentEntry]]):
    """Agents by id."""


class Capabilities(RootModel[dict[Text, CapabilityEntry]]):
    """Capabilities by name."""


class Tools(RootModel[dict[ToolName, ToolEntry]]):
    """Tools by their qualified name."""


class Servers(RootModel[dict[Text, ServerEntry]]):
    """Tool servers by name."""


class People(RootModel[dict[Text, PersonEntry]]):
    """People by the name by which they are counted."""


class PolicyTables(Entry):
    """All tables of one revision."""

    agents: Agents
    capabilities: Capabilities
    tools: Tools
    servers: Servers
    trust: TrustTable
    budgets: BudgetsTable
    costs: CostsTable
    approvals: ApprovalsTable
    people: People
    modes: ModesTable
    risk: RiskTable
    vocabulary: Vocabulary
    screen: ScreenTable = ScreenTable()
    edges: Edges = Edges()
    maturity: MaturityTable | None = None
    retention: RetentionTable = RetentionTable()
    routes: Routes = Routes()


TABLE_NAMES = tuple(PolicyTables.model_fields)
# A repository may be without these; what they would say is then the most cautious that they can say.
OPTIONAL_TABLES = ("screen", "edges", "maturity", "retention", "routes")


def _require_every(literal: object, given: Iterable[object]) -> None:
    missing = sorted(set(get_args(literal)).difference(given))
    if missing:
        raise ValueError(f"no value for {', '.join(missing)}")
