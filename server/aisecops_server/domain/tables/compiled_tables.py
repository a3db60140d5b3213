"""From the tables that people edit to the data that rules read.

Names that point into another table must exist there, and lists become objects, so that rules look keys up and never
scan. Nothing is read or written here: the caller parses the files and puts the answer into the bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.tables.approval_tables import ApprovalsTable
from aisecops_server.domain.tables.budget_tables import BudgetsTable, CostsTable
from aisecops_server.domain.tables.compiled_approvals import approvals, people, person_names, tool_demand
from aisecops_server.domain.tables.compiled_budgets import agent_bounds, costs, limits, tool_bounds
from aisecops_server.domain.tables.compiled_grants import narrowed_grant
from aisecops_server.domain.tables.edge_tables import Edges, edges, lease
from aisecops_server.domain.tables.http_routes import Routes
from aisecops_server.domain.tables.maturity_table import MaturityTable
from aisecops_server.domain.tables.policy_tables import (
    OPTIONAL_TABLES,
    TABLE_NAMES,
    AgentEntry,
    Agents,
    Capabilities,
    CapabilityEntry,
    ModesTable,
    People,
    PolicyTables,
    RiskTable,
    ServerEntry,
    Servers,
    ToolEntry,
    Tools,
    Trust,
    TrustTable,
)
from aisecops_server.domain.tables.retention_table import RetentionTable
from aisecops_server.domain.tables.screen_table import ScreenTable
from aisecops_server.domain.tables.table_names import require_known_names
from aisecops_server.domain.tables.table_rejection import first_of, rejected, told
from aisecops_server.domain.tables.vocabulary import Vocabulary

_Model = TypeVar("_Model", bound=BaseModel)


def compile_tables(files: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the content of ``data.tables`` for the parsed YAML ``files`` (table name to content).

    Raises:
        BundleRejectedError: a table is missing, unknown or breaks its model, or a name points nowhere;
            ``metadata()`` has the table and the key.
    """
    for name in files:
        if name not in TABLE_NAMES:
            raise rejected(name, "", f"there is no such table; the tables are {', '.join(TABLE_NAMES)}")
    tables = PolicyTables(
        agents=_parse(Agents, "agents", files),
        capabilities=_parse(Capabilities, "capabilities", files),
        tools=_parse(Tools, "tools", files),
        servers=_parse(Servers, "servers", files),
        trust=_parse(TrustTable, "trust", files),
        budgets=_parse(BudgetsTable, "budgets", files),
        costs=_parse(CostsTable, "costs", files),
        approvals=_parse(ApprovalsTable, "approvals", files),
        people=_parse(People, "people", files),
        modes=_parse(ModesTable, "modes", files),
        risk=_parse(RiskTable, "risk", files),
        vocabulary=_parse(Vocabulary, "vocabulary", files),
        screen=_parse(ScreenTable, "screen", files),
        edges=_parse(Edges, "edges", files),
        maturity=_parse(MaturityTable, "maturity", files) if "maturity" in files else None,
        retention=_parse(RetentionTable, "retention", files),
        routes=_parse(Routes, "routes", files),
    )
    require_known_names(tables)
    return {
        "agents": {name: _agent(name, entry, tables) for name, entry in tables.agents.root.items()},
        "capabilities": {name: _capability(entry) for name, entry in tables.capabilities.root.items()},
        "tools": _tools(tables),
        "servers": {name: _server(name, entry, tables) for name, entry in tables.servers.root.items()},
        "trust": tables.trust.model_dump(mode="json"),
        # What few decisions need stands apart: the engine converts an entry whole when a rule looks into it.
        "grants": _narrowed(tables),
        "limits": limits(tables),
        "costs": costs(tables.costs),
        "approvals": approvals(tables.approvals),
        "people": people(tables.people),
        "person_names": person_names(tables.people),
        "modes": _modes(tables.modes),
        "risk": _risk(tables.risk),
        "vocabulary": tables.vocabulary.compiled(),
        "screen": tables.screen.compiled(),
        "edges": edges(tables.edges),
        "lease": _lease(tables.edges),
        "maturity": tables.maturity.compiled() if tables.maturity else {},
        "retention": tables.retention.model_dump(mode="json"),
        "routes": tables.routes.compiled(),
    }


def _parse(model: type[_Model], table: str, files: Mapping[str, JsonValue]) -> _Model:
    if table not in files and table in OPTIONAL_TABLES:
        return model()
    if table not in files:
        raise rejected(table, "", f"the table is missing; add data/{table}.yaml")
    try:
        return model.model_validate(files[table])
    except ValidationError as error:
        first = first_of(error.errors(include_url=False))
        raise rejected(table, ".".join(str(part) for part in first["loc"]), told(first)) from error


def _lease(table: Edges) -> JsonValue:
    try:
        return lease(table)
    except ValueError as error:
        raise rejected("edges", "", str(error)) from error


def _modes(table: ModesTable) -> dict[str, JsonValue]:
    # Where nothing is observed, rules' findings count as they are, and the engine need not look at each.
    observed = "observe" in {table.default, *table.agents.values(), *table.rules.values()}
    return {"observed": observed, "rules": dict(table.rules)}


def _agent(name: str, entry: AgentEntry, tables: PolicyTables) -> dict[str, JsonValue]:
    return {
        **entry.model_dump(mode="json", exclude={"capabilities", "approval"}),
        # Left out where it is empty, so that the engine looks at no more than that.
        **({"approval": dict.fromkeys(entry.approval, True)} if entry.approval else {}),
        "environments": _as_keys(entry.environments),
        "capabilities": {
            capability: {"granted_by": grant.granted_by, **({"narrowed": True} if grant.is_narrowed else {})}
            for capability, grant in entry.capabilities.items()
        },
        "mode": tables.modes.agents.get(name, tables.modes.default),
        "profile": entry.budget,
        "budget": tables.budgets.profiles[entry.budget].model_dump(mode="json", exclude={"limits", "depth"}),
        **agent_bounds(name, entry, tables.budgets),
    }


def _narrowed(tables: PolicyTables) -> dict[str, JsonValue]:
    found = {
        agent: {
            capability: _grant(agent, capability, tables)
            for capability, grant in entry.capabilities.items()
            if grant.is_narrowed
        }
        for agent, entry in tables.agents.root.items()
    }
    return {agent: grants for agent, grants in found.items() if grants}


def _grant(agent: str, capability: str, tables: PolicyTables) -> JsonValue:
    described = {tool: tables.tools.root[tool].arguments for tool in tables.capabilities.root[capability].tools}
    try:
        return narrowed_grant(f"{agent}#{capability}", tables.agents.root[agent].capabilities[capability], described)
    except ValueError as error:
        raise rejected("agents", f"{agent}.capabilities.{capability}", str(error)) from error


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
            "approval": tool_demand(tool, tables.approvals),
            **tool_bounds(tool, tables.budgets),
        }
        for tool, entry in tables.tools.root.items()
    }


def _environments_of(tool: str, tables: PolicyTables) -> list[str]:
    server, _, name = tool.partition("/")
    entry = tables.servers.root[server]
    return list(entry.environments) if entry.tools == "catalogued" or name in entry.tools else []


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
