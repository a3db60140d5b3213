"""From the approvals that people write to what rules look up: when, by whom, for how long; and who is who."""

from __future__ import annotations

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.tables.approval_tables import ApprovalEntry, ApprovalsTable
from aisecops_server.domain.tables.policy_tables import People


def tool_demand(tool: str, table: ApprovalsTable) -> dict[str, JsonValue]:
    """Return when people must agree to a call of a tool."""
    entry = table.tools.get(tool) or ApprovalEntry.model_construct()
    return {"always": entry.always, "amount_argument": entry.amount_argument, "amount_over": entry.amount_over}


def approvals(table: ApprovalsTable) -> dict[str, JsonValue]:
    """Return what an approval takes: of the tools that say something of their own, and of everything else."""
    special = {
        tool: entry
        for tool, entry in table.tools.items()
        if entry.approvers_required is not None or entry.groups is not None or entry.expires_seconds is not None
    }
    return {
        "other": _takes(ApprovalEntry.model_construct(), table),
        "tools": {tool: _takes(entry, table) for tool, entry in special.items()},
    }


def _takes(entry: ApprovalEntry, table: ApprovalsTable) -> JsonValue:
    groups = table.groups if entry.groups is None else entry.groups
    return {
        "approvers_required": entry.approvers_required or table.approvers_required,
        "groups": dict.fromkeys(groups, True),
        "expires_seconds": entry.expires_seconds or table.expires_seconds,
    }


def people(table: People) -> dict[str, JsonValue]:
    """Return each person with their teams and groups as keys."""
    return {
        name: {
            **person.model_dump(mode="json"),
            "teams": dict.fromkeys(person.teams, True),
            "groups": dict.fromkeys(person.groups, True),
        }
        for name, person in table.root.items()
    }


def person_names(table: People) -> dict[str, JsonValue]:
    """Return by which name a person is counted, for each of their names without regard to case."""
    return {known.lower(): name for name, person in table.root.items() for known in (name, *person.aliases)}
