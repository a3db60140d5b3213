"""What tables say together: a name that points into another table must stand there."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from aisecops_server.domain.tables.policy_tables import PolicyTables
from aisecops_server.domain.tables.table_rejection import meant, rejected


def require_known_names(tables: PolicyTables) -> None:
    """Check every name that points into another table.

    Raises:
        BundleRejectedError: one points nowhere, or two differ so little that people would take them for one.
    """
    _require_catalogue(tables)
    _require_agents(tables)
    _require_limits(tables)
    _require_approvals(tables)
    for name, edge in tables.edges.root.items():
        _require_known("edges", f"{name}.agents", edge.agents, tables.agents.root)


def _require_catalogue(tables: PolicyTables) -> None:
    for name, capability in tables.capabilities.root.items():
        _require_known("capabilities", f"{name}.tools", capability.tools, tables.tools.root)
    for name, server in tables.servers.root.items():
        listed = [] if server.tools == "catalogued" else [f"{name}/{tool}" for tool in server.tools]
        _require_known("servers", f"{name}.tools", listed, tables.tools.root)
    for tool, entry in tables.tools.root.items():
        _require_known("tools", tool, [tool.partition("/")[0]], tables.servers.root)
        _require_known("tools", f"{tool}.asked_by", entry.asked_by, tables.vocabulary.actions)


def _require_agents(tables: PolicyTables) -> None:
    for name, agent in tables.agents.root.items():
        _require_known("agents", f"{name}.capabilities", agent.capabilities, tables.capabilities.root)
        _require_known("agents", f"{name}.budget", [agent.budget], tables.budgets.profiles)
        for capability, grant in agent.capabilities.items():
            place = f"{name}.capabilities.{capability}.environments"
            _require_known("agents", place, grant.environments or (), agent.environments)
    _require_known("modes", "agents", tables.modes.agents, tables.agents.root)
    _require_known("screen", "agents", tables.screen.agents, tables.agents.root)
    _require_known("retention", "agents", tables.retention.agents, tables.agents.root)
    _require_known("retention", "tools", tables.retention.tools, tables.tools.root)
    for name, route in tables.routes.root.items():
        _require_known("routes", f"{name}.tool", [route.tool], tables.tools.root)


def _require_limits(tables: PolicyTables) -> None:
    agents = tables.agents.root.values()
    _require_known("budgets", "teams", tables.budgets.teams, {agent.owner for agent in agents})
    _require_known("budgets", "tenants", tables.budgets.tenants, {agent.tenant for agent in agents})
    _require_known("budgets", "tools", tables.budgets.tools, tables.tools.root)
    _require_known("costs", "tools", tables.costs.tools, tables.tools.root)


def _require_approvals(tables: PolicyTables) -> None:
    approvals = tables.approvals
    groups = {group for person in tables.people.root.values() for group in person.groups}
    _require_known("approvals", "groups", approvals.groups, groups)
    for tool, entry in approvals.tools.items():
        _require_known("approvals", "tools", [tool], tables.tools.root)
        _require_known("approvals", f"tools.{tool}.groups", entry.groups or (), groups)
        amounts = [argument for argument, role in tables.tools.root[tool].arguments.items() if role == "amount"]
        named = [entry.amount_argument] if entry.amount_argument else []
        _require_known("approvals", f"tools.{tool}.amount_argument", named, amounts)
    _require_one_person_a_name(tables)
    _require_one_spelling(tables)


def _require_one_person_a_name(tables: PolicyTables) -> None:
    seen: dict[str, str] = {}
    for name, person in tables.people.root.items():
        for known in {name.casefold(), *(alias.casefold() for alias in person.aliases)}:
            if known in seen:
                raise rejected("people", name, f"'{known}' is a name of {seen[known]} too")
            seen[known] = name


def _require_one_spelling(tables: PolicyTables) -> None:
    # An owner who is written in another case than the team of its people would be somebody else's.
    spelled: dict[str, str] = {}
    owners = [agent.owner for agent in tables.agents.root.values()]
    teams = [team for person in tables.people.root.values() for team in person.teams]
    for team in (*owners, *teams):
        if spelled.setdefault(team.casefold(), team) != team:
            raise rejected("people", "", f"the team '{team}' is written '{spelled[team.casefold()]}' elsewhere")


def _require_known(table: str, key: str, names: Iterable[str], known: Collection[str]) -> None:
    unknown = sorted(set(names).difference(known))
    if unknown:
        raise rejected(table, key, f"'{unknown[0]}' is not defined{meant(unknown[0], known)}")
