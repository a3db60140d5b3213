"""From the tables that people edit to the data that rules read.

Names that point into another table must exist there, and lists become objects, so that rules look keys up and never
scan. Nothing is read or written here: the caller parses the files and puts the answer into the bundle.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from aisecops_server.domain.canonical import JsonValue
from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.policy_tables import (
    TABLE_NAMES,
    AgentEntry,
    Agents,
    ApprovalEntry,
    ApprovalsTable,
    Budgets,
    Capabilities,
    CapabilityEntry,
    Entry,
    ModesTable,
    PolicyTables,
    RiskTable,
    ServerEntry,
    Servers,
    ToolEntry,
    Tools,
    Trust,
    TrustTable,
)
from aisecops_server.domain.vocabulary import Vocabulary

_Model = TypeVar("_Model", bound=BaseModel)
_LIKENESS = 0.75


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
        agents=_parse(Agents, "agents", files),
        capabilities=_parse(Capabilities, "capabilities", files),
        tools=_parse(Tools, "tools", files),
        servers=_parse(Servers, "servers", files),
        trust=_parse(TrustTable, "trust", files),
        budgets=_parse(Budgets, "budgets", files),
        approvals=_parse(ApprovalsTable, "approvals", files),
        modes=_parse(ModesTable, "modes", files),
        risk=_parse(RiskTable, "risk", files),
        vocabulary=_parse(Vocabulary, "vocabulary", files),
    )
    _require_known_names(tables)
    return {
        "agents": {name: _agent(name, entry, tables) for name, entry in tables.agents.root.items()},
        "capabilities": {name: _capability(entry) for name, entry in tables.capabilities.root.items()},
        "tools": _tools(tables),
        "servers": {name: _server(name, entry, tables) for name, entry in tables.servers.root.items()},
        "trust": tables.trust.model_dump(mode="json"),
        "budgets": tables.budgets.model_dump(mode="json"),
        "approvals": {**tables.approvals.model_dump(mode="json"), "groups": _as_keys(tables.approvals.groups)},
        "modes": {"rules": dict(tables.modes.rules)},
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
        raise _rejected(table, ".".join(str(part) for part in first["loc"]), _told(first)) from error


def _told(error: ErrorDetails) -> str:
    """Return what is wrong with a value in words of somebody who edits tables."""
    if error["type"] != "extra_forbidden":
        return error["msg"]
    fields = {name for model in Entry.__subclasses__() for name in model.model_fields}
    return f"there is no such field{_meant(str(error['loc'][-1]), fields)}"


def _meant(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=_LIKENESS)
    return f"; the nearest is '{close[0]}'" if close else ""


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
    _require_known("modes", "agents", tables.modes.agents, tables.agents.root)
    for tool, approval in tables.approvals.tools.items():
        _require_known("approvals", "tools", [tool], tables.tools.root)
        amounts = [argument for argument, role in tables.tools.root[tool].arguments.items() if role == "amount"]
        named = [approval.amount_argument] if approval.amount_argument else []
        _require_known("approvals", f"tools.{tool}.amount_argument", named, amounts)


def _require_known(table: str, key: str, names: Iterable[str], known: Collection[str]) -> None:
    unknown = sorted(set(names).difference(known))
    if unknown:
        raise _rejected(table, key, f"'{unknown[0]}' is not defined{_meant(unknown[0], known)}")


def _agent(name: str, entry: AgentEntry, tables: PolicyTables) -> dict[str, JsonValue]:
    return {
        **entry.model_dump(mode="json"),
        "environments": _as_keys(entry.environments),
        "capabilities": {
            capability: {**grant.model_dump(mode="json"), "id": f"{name}#{capability}"}
            for capability, grant in entry.capabilities.items()
        },
        "mode": tables.modes.agents.get(name, tables.modes.default),
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
