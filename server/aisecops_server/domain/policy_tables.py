"""The tables that people edit, what they may say, and the one function that turns them into the engine's data.

Each YAML file of ``data/`` is one model here. What an entry leaves out becomes the cautious value, names that
point into another table must exist there, and lists become objects, so that rules look keys up and never scan.
Nothing is read or written here: the caller parses the files and puts the answer into the bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, model_validator

from aisecops_server.domain.canonical import JsonValue
from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.vocabulary import Vocabulary

ToolEffect = Literal["read", "write", "delete", "send", "spend", "execute"]
Reach = Literal["internal", "external"]
Trust = Literal["trusted", "internal", "external", "unverified"]
PromptKind = Literal[
    "agent_identity", "user_prompt", "system_prompt", "skill", "memory", "retrieval_chunk", "agent_message"
]
Role = Literal["destination", "object", "content", "amount", "query", "command", "setting"]
Text = Annotated[str, Field(min_length=1)]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]+/[A-Za-z0-9_.\-]+$")]
Count = Annotated[int, Field(ge=0)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class GrantEntry(_Entry):
    """That an agent holds a capability, and who said so."""

    granted_by: Text


class AgentEntry(_Entry):
    """A registered agent. Its key is the id that its credential proves."""

    owner: Text = Field(description="The team that answers for the agent.")
    contact: Text = Field(description="Where that team is reached.")
    framework: Text
    environments: list[Text] = Field(min_length=1, description="Where it may act.")
    capabilities: dict[str, GrantEntry] = Field(description="What it may do, and who granted it.")
    budget: Text = "default"
    max_delegation_depth: Count = Field(default=0, description="How many agents may stand above it.")


class CapabilityEntry(_Entry):
    """A named grant: the tools that it opens."""

    description: Text
    owner: Text
    risk: Literal["low", "medium", "high"]
    tools: list[ToolName] = Field(min_length=1)


class ObligationEntry(_Entry):
    """Something that the enforcement point must do when it calls the tool."""

    kind: Text
    parameters: dict[str, str | int | bool | list[str]] = Field(default_factory=dict)


class ToolEntry(_Entry):
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


class ServerEntry(_Entry):
    """A tool server (MCP or other) that agents may use."""

    description: Text
    owner: Text
    environments: list[Text] = Field(min_length=1)
    tools: Literal["catalogued"] | list[Text] = Field(
        description="Names without the server, or `catalogued`: every tool of it that stands in the tools table."
    )


class BudgetEntry(_Entry):
    """Upper bounds on one session."""

    session_calls: Count
    session_changes: Count = Field(description="Calls that do anything but read.")
    items_per_step: Count = Field(description="How many recipients or objects one call may name.")


class ApprovalEntry(_Entry):
    """When people must agree to a call of a tool."""

    always: bool = False
    amount_argument: str = ""
    amount_over: Count = Field(default=0, description="Agreement is needed above this amount.")

    @model_validator(mode="after")
    def _says_when(self) -> ApprovalEntry:
        if not self.always and not self.amount_argument:
            raise ValueError("say 'always: true' or name the amount_argument")
        return self


class ApprovalsTable(_Entry):
    """How many people, and for which tools."""

    approvers_required: Annotated[int, Field(ge=1)]
    tools: dict[ToolName, ApprovalEntry]


class RiskTable(_Entry):
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


class _Agents(RootModel[dict[Text, AgentEntry]]):
    pass


class _Capabilities(RootModel[dict[Text, CapabilityEntry]]):
    pass


class _Tools(RootModel[dict[ToolName, ToolEntry]]):
    pass


class _Servers(RootModel[dict[Text, ServerEntry]]):
    pass


class _Budgets(RootModel[dict[Text, BudgetEntry]]):
    pass


class PolicyTables(_Entry):
    """All tables of one revision."""

    agents: _Agents
    capabilities: _Capabilities
    tools: _Tools
    servers: _Servers
    trust: TrustTable
    budgets: _Budgets
    approvals: ApprovalsTable
    risk: RiskTable
    vocabulary: Vocabulary


_Model = TypeVar("_Model", bound=BaseModel)
TABLE_NAMES = tuple(PolicyTables.model_fields)


def compile_tables(files: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the content of ``data.tables`` for the parsed YAML ``files`` (table name to content).

    Raises:
        BundleRejectedError: a table is missing, unknown or breaks its model, or a name points nowhere;
            ``metadata()`` has the table and the key.
    """
    for name in files:
        if name not in TABLE_NAMES:
            raise _rejected(name, "", f"there is no such table; the tables are {', '.join(TABLE_NAMES)}")
    tables = PolicyTables(
        agents=_parse(_Agents, "agents", files),
        capabilities=_parse(_Capabilities, "capabilities", files),
        tools=_parse(_Tools, "tools", files),
        servers=_parse(_Servers, "servers", files),
        trust=_parse(TrustTable, "trust", files),
        budgets=_parse(_Budgets, "budgets", files),
        approvals=_parse(ApprovalsTable, "approvals", files),
        risk=_parse(RiskTable, "risk", files),
        vocabulary=_parse(Vocabulary, "vocabulary", files),
    )
    _require_known_names(tables)
    return {
        "agents": {name: _agent(entry, tables) for name, entry in tables.agents.root.items()},
        "capabilities": {name: _capability(entry) for name, entry in tables.capabilities.root.items()},
        "tools": _tools(tables),
        "servers": {name: _server(name, entry, tables) for name, entry in tables.servers.root.items()},
        "trust": tables.trust.model_dump(mode="json"),
        "budgets": tables.budgets.model_dump(mode="json"),
        "approvals": tables.approvals.model_dump(mode="json"),
        "risk": _risk(tables.risk),
        "vocabulary": tables.vocabulary.compiled(),
    }


def _parse(model: type[_Model], table: str, files: Mapping[str, JsonValue]) -> _Model:
    if table not in files:
        raise _rejected(table, "", f"the table is missing; add data/{table}.yaml")
    try:
        return model.model_validate(files[table])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _rejected(table, ".".join(str(part) for part in first["loc"]), first["msg"]) from error


def _require_known_names(tables: PolicyTables) -> None:
    for name, agent in tables.agents.root.items():
        _require_known("agents", f"{name}.capabilities", agent.capabilities, tables.capabilities.root)
        _require_known("agents", f"{name}.budget", [agent.budget], tables.budgets.root)
    for name, capability in tables.capabilities.root.items():
        _require_known("capabilities", f"{name}.tools", capability.tools, tables.tools.root)
    for tool in tables.tools.root:
        _require_known("tools", tool, [tool.partition("/")[0]], tables.servers.root)
    for name, server in tables.servers.root.items():
        listed = [] if server.tools == "catalogued" else [f"{name}/{tool}" for tool in server.tools]
        _require_known("servers", f"{name}.tools", listed, tables.tools.root)
    for tool, entry in tables.tools.root.items():
        _require_known("tools", f"{tool}.asked_by", entry.asked_by, tables.vocabulary.actions)
    for tool, approval in tables.approvals.tools.items():
        _require_known("approvals", "tools", [tool], tables.tools.root)
        amounts = [argument for argument, role in tables.tools.root[tool].arguments.items() if role == "amount"]
        named = [approval.amount_argument] if approval.amount_argument else []
        _require_known("approvals", f"tools.{tool}.amount_argument", named, amounts)


def _require_known(table: str, key: str, names: Iterable[str], known: Iterable[str]) -> None:
    unknown = sorted(set(names).difference(known))
    if unknown:
        raise _rejected(table, key, f"'{unknown[0]}' is not defined")


def _require_every(literal: object, given: Iterable[object]) -> None:
    missing = sorted(set(get_args(literal)).difference(given))
    if missing:
        raise ValueError(f"no value for {', '.join(missing)}")


def _agent(entry: AgentEntry, tables: PolicyTables) -> dict[str, JsonValue]:
    return {
        **entry.model_dump(mode="json"),
        "environments": _as_keys(entry.environments),
        "budget": tables.budgets.root[entry.budget].model_dump(mode="json"),
    }


def _capability(entry: CapabilityEntry) -> dict[str, JsonValue]:
    return {**entry.model_dump(mode="json", exclude={"description"}), "tools": _as_keys(entry.tools)}


def _believed(entry: ToolEntry) -> JsonValue:
    """Return whose fields are believed: `all`, only `names` and numbers, or `none`."""
    if entry.result_records is None:
        return "all" if entry.reach == "internal" else "names"
    return "all" if entry.result_records else "none"


def _tools(tables: PolicyTables) -> dict[str, JsonValue]:
    opened_by: dict[str, list[str]] = {tool: [] for tool in tables.tools.root}
    for name, capability in tables.capabilities.root.items():
        for tool in capability.tools:
            opened_by[tool].append(name)
    return {
        tool: {
            **entry.model_dump(mode="json", exclude={"description"}),
            "result_records": _believed(entry),
            "asked_by": _as_keys(entry.asked_by or tables.vocabulary.actions_of(tool, entry.effect)),
            "concerns": _as_keys(tables.vocabulary.concerns_of(tool)),
            "allowed_hosts": _as_keys(entry.allowed_hosts),
            "allowed_schemes": _as_keys(entry.allowed_schemes),
            "capabilities": _as_keys(opened_by[tool]),
            "allowed_in": _as_keys(_environments_of(tool, tables)),
            "approval": _approval(tool, tables),
        }
        for tool, entry in tables.tools.root.items()
    }


def _environments_of(tool: str, tables: PolicyTables) -> list[str]:
    server, _, name = tool.partition("/")
    entry = tables.servers.root[server]
    return list(entry.environments) if entry.tools == "catalogued" or name in entry.tools else []


def _approval(tool: str, tables: PolicyTables) -> JsonValue:
    entry = tables.approvals.tools.get(tool) or ApprovalEntry.model_construct()
    return entry.model_dump(mode="json")


def _risk(table: RiskTable) -> dict[str, JsonValue]:
    """Multiply out, so that the engine only adds: a call's score by effect, reach and rank of trust."""
    reached = {
        effect: {reach: base * percent for reach, percent in table.reach_percent.items()}
        for effect, base in table.base_milli.items()
    }
    factors = [table.trust_percent[trust] for trust in get_args(Trust)]
    return {
        "approval_at_milli": table.approval_at_milli,
        "deny_at_milli": table.deny_at_milli,
        "past_milli": {
            effect: {reach: score // 100 for reach, score in scores.items()} for effect, scores in reached.items()
        },
        "call_milli": {
            effect: {reach: [score * factor // 10_000 for factor in factors] for reach, score in scores.items()}
            for effect, scores in reached.items()
        },
    }


def _server(name: str, entry: ServerEntry, tables: PolicyTables) -> dict[str, JsonValue]:
    catalogued = [tool.partition("/")[2] for tool in tables.tools.root if tool.startswith(f"{name}/")]
    tools = catalogued if entry.tools == "catalogued" else entry.tools
    return {
        **entry.model_dump(mode="json", exclude={"description"}),
        "environments": _as_keys(entry.environments),
        "tools": _as_keys(tools),
    }


def _as_keys(names: Iterable[str]) -> dict[str, JsonValue]:
    return dict.fromkeys(names, True)


def _rejected(table: str, key: str, problem: str) -> BundleRejectedError:
    where = f"table {table}, key {key}" if key else f"table {table}"
    return BundleRejectedError(
        f"{where}: {problem}",
        hint=f"Mend data/{table}.yaml in the policy repository; the live revision stays",
        table=table,
        key=key,
    )
